#include "wavllm/verify/golden_folder.h"

#include <algorithm>
#include <cmath>

#include "data/json.h"
#include "models/weights.h"
#include "tensor/model_dtype.h"
#include "wavllm/verify/torch_files.h"

namespace wavllm::verify {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr double kLeastTolerance = 1e-5;
constexpr double kReferenceErrors = 10;  // times the float32 error of the reference itself
// In the reference mode: float32's last digit, its epsilon. The golden values are those of a float64 run, rounded to
// float32, which is by at most 2^-24 of the tensor's largest value; as much again, since case.json has that value in few
// digits, and some log-probabilities too.
constexpr double kFloat32LastDigit = 0x1p-23;
constexpr double kRoundingOfDouble = 0x1p-29;  // against that of float32

bool in_f64() {
    return model_dtype() == DType::f64;
}

struct Rule {
    const char *file, *name;  // what the two begin with
};

constexpr Rule kInputs[] = {
    {"tables", "rotary_positions"},    {"hf_llama_", "ids"},      {"llama_namings", "ids"},
    {"hf_whisper.", "input_features"}, {"hf_wavlm.", "waveform"},
};

Tensor tensor_of(const StoredTensor& s) {
    PurposeScope scope(Purpose::data);
    return to_tensor(s);
}

bool integers(const Tensor& t) {
    return !info(t.dtype()).floating;
}

void expect_file(Comparison& c, const fs::path& path, const json& facts) {
    const auto checkpoint = open_checkpoint(path);
    const std::string file = path.filename().string();
    for (const auto& [name, fact] : facts.items())
        if (!checkpoint->find(name)) throw FileError("{}: tensor \"{}\" of case.json is missing", path.string(), name);
    for (const StoredTensor& s : checkpoint->tensors()) {
        Expected e{.file = file, .name = s.name, .value = tensor_of(s)};
        const auto fact = facts.find(s.name);
        if (fact != facts.end()) {
            if (fact->at("shape").get<std::vector<int64_t>>() != s.shape)
                throw FileError("{}: tensor \"{}\" is {}, but case.json says {}", path.string(), s.name,
                                e.value.shape().str(), fact->at("shape").dump());
            e.what = fact->value("what", "");
            const double largest = fact->value("max_abs", 0.0);
            e.scale = largest > 0 ? largest : 1;
            const double error = fact->value("f32_diff", 0.0);
            if (!integers(e.value) && largest > 0 && largest < error) {  // zero but for rounding: compared as it is
                e.scale = 1;
                e.tolerance = kReferenceErrors * error * (in_f64() ? kRoundingOfDouble : 1);
            } else if (!integers(e.value)) {
                e.tolerance = in_f64() ? kFloat32LastDigit
                                       : std::max(kLeastTolerance, kReferenceErrors * fact->value("f32_rel", 0.0));
            }
        }
        c.expect(std::move(e));
    }
}

/// Beams as tensors: see beams_tensor in the header.
void expect_beams(Comparison& c, const std::string& name, const json& value) {
    const std::string file = "case.json";
    std::vector<int64_t> ids;
    std::vector<double> sums;
    double largest = 0;
    for (const json& step : value.at("alive"))
        for (const json& beam : step) {
            ids.insert(ids.end(), {beam.at(0).get<int64_t>(), beam.at(1).get<int64_t>()});
            sums.push_back(beam.at(2).get<double>());
            largest = std::max(largest, std::abs(beam.at(2).get<double>()));
        }
    const auto n = static_cast<int64_t>(sums.size());
    c.expect({.file = file,
              .name = name + ".hypotheses",
              .value = beams_tensor(value.at("hypotheses").get<std::vector<std::vector<int64_t>>>())});
    c.expect(
        {.file = file, .name = name + ".steps", .value = ids_tensor(std::vector{value.at("steps").get<int64_t>()})});
    if (n == 0) return;  // stored for one length penalty only
    c.expect({.file = file, .name = name + ".alive", .what = "parent and token", .value = ids_tensor(ids)});
    c.expect({.file = file,
              .name = name + ".alive_log_probs",
              .value = Tensor::from(sums, {n}).to(model_dtype()),
              .scale = largest,
              .tolerance = in_f64() ? kFloat32LastDigit : kLeastTolerance});
}

void expect_decoding(Comparison& c, const json& decoding) {
    const std::string file = "case.json";
    for (const auto& [sample, stages] : decoding.items())
        for (const auto& [stage, results] : stages.items())
            for (const auto& [key, value] : results.items()) {
                const std::string name = fmt::format("decoding.{}.{}.{}", sample, stage, key);
                if (key == "greedy_log_probs" || key.starts_with("smallest")) continue;  // in decode_*; about the case
                if (key.starts_with("beam")) {
                    expect_beams(c, name, value);
                    continue;
                }
                Expected e{.file = file, .name = name};
                if (key == "text") e.value = text_tensor(value.get<std::string>());
                if (key.starts_with("greedy")) e.value = ids_tensor(value.get<std::vector<int64_t>>());
                c.expect(std::move(e));
            }
}

void expect_case(Comparison& c, const json& facts) {
    for (const auto& [section, values] : facts.items()) {
        if (section == "decoding") expect_decoding(c, values);
        if (!section.starts_with("hf_llama")) continue;
        for (const auto& [key, value] : values.items()) {
            const std::string name = fmt::format("{}.{}", section, key);
            if (key.starts_with("greedy")) {
                c.expect({.file = "case.json", .name = name, .value = ids_tensor(value.get<std::vector<int64_t>>())});
            } else if (value.is_array()) {
                c.expect({.file = "case.json",
                          .name = name,
                          .value = beams_tensor(value.get<std::vector<std::vector<int64_t>>>())});
            }
        }
    }
}

void expect_tokens(Comparison& c, const fs::path& path) {
    const json tokens = read_json_file(path);
    const auto ids = [&](const std::string& name, const json& value, const std::string& what = "") {
        c.expect({.file = "tokens.json",
                  .name = name,
                  .what = what,
                  .value = ids_tensor(value.get<std::vector<int64_t>>())});
    };
    ids("left", tokens.at("left"));
    for (size_t i = 0; i < tokens.at("rows").size(); ++i) {
        const json& row = tokens["rows"][i];
        for (const char* key : {"right", "target_ids", "prompt_adapter"})
            ids(fmt::format("rows[{}].{}", i, key), row.at(key));
    }
    for (size_t i = 0; i < tokens.at("decode").size(); ++i)
        c.expect({.file = "tokens.json",
                  .name = fmt::format("decode[{}].text", i),
                  .value = text_tensor(tokens["decode"][i].at("text").get<std::string>())});
}

}  // namespace

Tensor ids_tensor(const std::vector<int64_t>& ids) {
    return Tensor::from(ids, {static_cast<int64_t>(ids.size())});
}

Tensor ids_tensor(const std::vector<int32_t>& ids) {
    return ids_tensor(std::vector<int64_t>(ids.begin(), ids.end()));
}

Tensor beams_tensor(const std::vector<std::vector<int64_t>>& texts) {
    std::vector<int64_t> ids;
    for (const auto& text : texts) {
        ids.insert(ids.end(), text.begin(), text.end());
        ids.push_back(-1);
    }
    return ids_tensor(ids);
}

Tensor text_tensor(const std::string& text) {
    return Tensor::from(std::vector<uint8_t>(text.begin(), text.end()), {static_cast<int64_t>(text.size())});
}

void expect_tiny(Comparison& c, const fs::path& folder, const json& description) {
    const json& files = description.at("tensors");
    if (!files.is_object() || files.empty())
        throw FileError("{}: \"tensors\" should be an object of files", (folder / "case.json").string());
    std::vector<fs::path> others;
    for (const auto& entry : fs::directory_iterator(folder))
        if (!files.contains(entry.path().filename().string())) others.push_back(entry.path());
    std::sort(others.begin(), others.end());

    for (const auto& [file, facts] : files.items()) expect_file(c, folder / file, facts);
    expect_case(c, description.at("facts"));
    expect_tokens(c, folder / "tokens.json");
    for (const fs::path& path : others) {
        const std::string name = path.filename().string();
        const bool weights = name == "model.safetensors" || name.find("_weights") != std::string::npos;
        if (path.extension() == ".safetensors" && !weights && !name.starts_with("torch_variants"))
            expect_file(c, path, json::object());  // no rule in case.json: these fail
    }
    expect_torch_files(c, folder);
    for (const auto& [file, name] : c.names()) {
        const auto matches = [&, f = file, n = name](const Rule& r) {
            return f.starts_with(r.file) && n.starts_with(r.name);
        };
        for (const Rule& r : kInputs)
            if (matches(r)) c.input(file, name);
    }
}

}  // namespace wavllm::verify
