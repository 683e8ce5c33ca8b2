// verify must be able to fail. Witness: copies of golden files with one thing changed by hand.

#include <cmath>
#include <cstring>
#include <limits>

#include "models/checkpoint/checkpoint.h"
#include "tests/golden/support.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;
using verify::Status;
namespace fs = std::filesystem;

namespace {

/// A golden folder of links, but for one file.
class ChangedGolden {
public:
    explicit ChangedGolden(const std::string& file) : file_(folder_ / file) {
        for (const auto& entry : fs::directory_iterator(shared("golden"))) {
            const fs::path to = folder_ / entry.path().filename().string();
            if (to == file_) {
                fs::copy_file(entry.path(), to);
                fs::permissions(to, fs::perms::owner_write, fs::perm_options::add);
            } else {
                fs::create_symlink(fs::canonical(entry.path()), to);
            }
        }
    }
    const fs::path& path() const {
        return folder_.path();
    }
    const fs::path& file() const {
        return file_;
    }
    /// Replaces one value of a tensor.
    template <class T>
    void change(const std::string& tensor, size_t index, T (*to)(T)) const {
        std::string bytes = read_all(file_);
        uint64_t header = 0;
        std::memcpy(&header, bytes.data(), sizeof header);
        const auto json = nlohmann::json::parse(bytes.substr(8, header));
        char* at = bytes.data() + 8 + header + json[tensor]["data_offsets"][0].get<size_t>() + index * sizeof(T);
        T value;
        std::memcpy(&value, at, sizeof value);
        value = to(value);
        std::memcpy(at, &value, sizeof value);
        folder_.write(file_.filename().string(), bytes);
    }

private:
    TempFolder folder_;
    fs::path file_;
};

/// The names of the lines that failed.
std::vector<std::string> failed(const verify::Report& report) {
    std::vector<std::string> names;
    for (const verify::Line& l : report.lines)
        if (l.status == Status::failed) names.push_back(l.name);
    return names;
}

}  // namespace

TEST_CASE("verify: one changed value fails its tensor and no other") {
    const ChangedGolden golden("hf_llama_untied.safetensors");
    golden.change<float>("hidden1", 17, [](float v) { return v + 1e-3f; });
    const verify::Report report = verify_only(golden.path(), "hf_llama_untied");
    CHECK(failed(report) == std::vector<std::string>{"hidden1"});
    CHECK_FALSE(report.passed());
    CHECK(verify::text_of(report).find("FAIL  hf_llama_untied.safetensors  hidden1  2.3e-04 / 1.0e-05") !=
          std::string::npos);
}

TEST_CASE("verify: NaN fails, on either side") {
    const ChangedGolden golden("llama_namings.safetensors");
    golden.change<float>("logits", 3, [](float) { return std::numeric_limits<float>::quiet_NaN(); });
    CHECK(failed(verify_only(golden.path(), "llama_namings")) == std::vector<std::string>{"logits"});

    const Tensor good = Tensor::full({3}, 1), bad = Tensor::full({3}, std::nan(""));
    CHECK(std::isnan(verify::worst_error({.value = good, .tolerance = 1}, {.value = bad})));
    CHECK(std::isnan(verify::worst_error({.value = bad, .tolerance = 1}, {.value = good})));
    CHECK(std::isnan(verify::worst_error({.value = bad, .tolerance = 1}, {.value = bad})));
    // nothing that counts is no agreement
    CHECK(std::isnan(verify::worst_error({.value = good, .tolerance = 1}, {good, "", {false, false, false}})));
}

TEST_CASE("verify: one wrong id fails") {
    const ChangedGolden golden("llama_a.safetensors");
    golden.change<int64_t>("target_ids", 0, [](int64_t id) { return id + 1; });
    CHECK(failed(verify_only(golden.path(), "llama_a.")) == std::vector<std::string>{"target_ids"});
}

TEST_CASE("verify: a changed gradient, parameter and loss fail") {
    const ChangedGolden golden("train_stage1.safetensors");
    golden.change<float>("grad/wavlm_audio_proj.bias", 0, [](float v) { return v * 1.001f + 1e-3f; });
    golden.change<float>("after_step1/audio_encoder.projector.weight", 5, [](float v) { return v + 1e-4f; });
    golden.change<float>("losses", 5, [](float v) { return v * 1.0001f; });
    CHECK(failed(verify_only(golden.path(), "train_stage1")).size() == 3);
}

TEST_CASE("verify: a tensor without a rule fails") {
    const ChangedGolden golden("tables.safetensors");
    const float one = 1;
    const TensorToStore unknown{"surprise", DType::f32, {1}, std::as_bytes(std::span(&one, 1))};
    write_safetensors(golden.path() / "unheard_of.safetensors", std::span(&unknown, 1));
    const verify::Report report = verify_only(golden.path(), "unheard_of");
    CHECK(failed(report) == std::vector<std::string>{"surprise"});
    CHECK(report.lines[0].note == "no rule says how to compute it");
}

TEST_CASE("verify: whisper.conv1 is left out only where it holds the values of wavlm.conv1") {
    const ChangedGolden golden("audio_a.safetensors");
    golden.change<float>("whisper.conv1", 0, [](float v) { return v + 1; });
    CHECK(failed(verify_only(golden.path(), "audio_a.safetensors whisper.conv1")) ==
          std::vector<std::string>{"whisper.conv1"});
}

TEST_CASE("verify: what waits for a part not built yet counts neither way, and comparing nothing is no success") {
    verify::Comparison c;
    for (const char* name : {"a", "b", "c", "d", "e"}) {
        c.expect({.file = "x", .name = name, .value = Tensor::zeros({1})});
        c.not_built("x", name, "a part to come");
    }
    const verify::Report waiting = c.report();
    CHECK(waiting.count(Status::not_built) == 5);
    CHECK_FALSE(waiting.passed());
    CHECK_FALSE(verify_only(shared("golden"), "no such tensor").passed());
    CHECK(verify::text_of(waiting).find("0 passed, 0 failed, 5 not built yet") != std::string::npos);
}

TEST_CASE("verify: a missing, foreign or damaged golden folder is one clear error") {
    const TempFolder empty;
    const auto message = [](const fs::path& golden) { return message_of<FileError>([&] { verify_only(golden, ""); }); };
    CHECK(message(empty / "nowhere").find("no such folder") != std::string::npos);
    CHECK(message(empty.path()).find("no golden values here") != std::string::npos);
    empty.write("case.json", "{\"tensors\": 3}");
    CHECK(message(empty.path()).find("case.json") != std::string::npos);

    const ChangedGolden golden("tables.safetensors");
    fs::resize_file(golden.file(), 1000);
    CHECK(message(golden.path()).find("tables.safetensors") != std::string::npos);
    fs::remove(golden.file());
    CHECK(message(golden.path()).find("tables.safetensors") != std::string::npos);
}

TEST_CASE("verify: several ways to one value are one line with the worst error") {
    verify::Comparison c;
    c.expect({.file = "f", .name = "x", .value = Tensor::full({2}, 2), .scale = 2, .tolerance = 0.1});
    c.computed("f", "x", Tensor::full({2}, 2.1), "near");
    c.computed("f", "x", Tensor::full({2}, 3), "far");
    const verify::Line line = c.report().lines.at(0);
    CHECK(line.status == Status::failed);
    CHECK(line.error == doctest::Approx(0.5));
    CHECK(verify::text_of(line).find("near; far") != std::string::npos);
    CHECK(c.report().lines.size() == 1);
}
