// Files of torch.save. Witness: torch itself, which wrote the files of golden/torch_variants* and their values as
// safetensors, and the released checkpoint's values as safetensors.

#include <doctest/doctest.h>

#include <cstring>

#include "models/checkpoint/checkpoint.h"
#include "models/weights.h"
#include "tests/checkpoint/torch_files.h"
#include "tests/support/shared.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

std::vector<double> numbers(const StoredTensor& t) {
    std::vector<double> result;
    const auto read = [&]<class T>(T) {
        for (size_t i = 0; i < t.bytes.size(); i += sizeof(T)) {
            T v;
            std::memcpy(&v, t.bytes.data() + i, sizeof(T));
            result.push_back(static_cast<double>(v));
        }
    };
    switch (t.dtype) {
        case DType::f64: read(double{}); break;
        case DType::i32: read(int32_t{}); break;
        case DType::i64: read(int64_t{}); break;
        case DType::u8: read(uint8_t{}); break;
        default: result = to_tensor(t).values();
    }
    return result;
}

/// safetensors' own reader here knows neither I16 nor BOOL: what torch wrote as these two is read by hand.
nlohmann::json header_of(const std::string& file) {
    uint64_t length = 0;
    std::memcpy(&length, file.data(), 8);
    return nlohmann::json::parse(file.substr(8, length));
}
std::vector<double> expected_numbers(const std::string& file, const nlohmann::json& facts) {
    uint64_t length = 0;
    std::memcpy(&length, file.data(), 8);
    const auto offsets = facts.at("data_offsets").get<std::vector<size_t>>();
    const std::string_view bytes = std::string_view(file).substr(8 + length + offsets[0], offsets[1] - offsets[0]);
    const std::string type = facts.at("dtype");
    std::vector<double> result;
    const auto read = [&]<class T>(T, auto convert) {
        for (size_t i = 0; i < bytes.size(); i += sizeof(T)) {
            T v;
            std::memcpy(&v, bytes.data() + i, sizeof(T));
            result.push_back(static_cast<double>(convert(v)));
        }
    };
    const auto same = [](auto v) { return v; };
    const auto real = [](auto v) { return to_f32(v); };
    if (type == "F64") read(double{}, same);
    if (type == "F32") read(float{}, same);
    if (type == "F16") read(f16{}, real);
    if (type == "BF16") read(bf16{}, real);
    if (type == "I64") read(int64_t{}, same);
    if (type == "I32") read(int32_t{}, same);
    if (type == "I16") read(int16_t{}, same);
    if (type == "U8" || type == "BOOL") read(uint8_t{}, same);
    return result;
}

void check_variants(const std::string& name) {
    const std::string expected = read_all(shared("golden/torch_variants.safetensors"));
    const auto checkpoint = open_checkpoint(shared("golden/" + name));
    CHECK(checkpoint->format() == "torch");
    CHECK(checkpoint->metadata().at("tensors_under") == "model");
    CHECK(checkpoint->refused().empty());
    size_t compared = 0;
    const nlohmann::json header = header_of(expected);
    for (const auto& [tensor, facts] : header.items()) {
        if (tensor == "__metadata__") continue;
        INFO(tensor);
        const StoredTensor& t = checkpoint->at(tensor);
        CHECK(t.shape == facts.at("shape").get<std::vector<int64_t>>());
        CHECK(numbers(t) == expected_numbers(expected, facts));
        ++compared;
    }
    CHECK(compared == 19);
    CHECK(checkpoint->tensors().size() == compared);
}

}  // namespace

TEST_CASE("torch files: types, views, shared storages, both layouts, foreign objects") {
    for (const char* name : {"torch_variants.pt", "torch_variants_legacy.pt", "torch_variants_foreign.pt"}) {
        INFO(name);
        check_variants(name);
    }
    const auto plain = open_checkpoint(shared("golden/torch_variants.pt"));
    CHECK(plain->metadata().at("layout") == "zip");
    CHECK(!plain->metadata().contains("foreign"));
    const nlohmann::json& nested = plain->metadata().at("content").at("nested");
    CHECK(nested.at("unicode") == "Grüße 你好");
    CHECK(nested.at("list") == nlohmann::json::parse(R"([1, 2.5, "text", "None", true, -1, 1099511627776])"));
    CHECK(nested.at("tuple") == nlohmann::json::parse("[1, [2, 3]]"));
    // a view of a whole storage is no copy of it
    CHECK(plain->at("row_slice").bytes.data() == plain->at("f32").bytes.data() + 64);

    const nlohmann::json foreign = open_checkpoint(shared("golden/torch_variants_foreign.pt"))->metadata();
    CHECK(foreign.at("foreign") == nlohmann::json::parse(R"({"argparse.Namespace": 1, "numpy.dtype": 1,
        "numpy._core.multiarray.scalar": 1})"));
    CHECK(foreign.at("content").at("args").at("(argparse.Namespace)").at("state").at("arch") == "speechllm_model");
}

TEST_CASE("torch files: the released checkpoint has the tensors of its safetensors twin, in both dtypes") {
    const auto expected = open_checkpoint(shared("golden/model.safetensors"));
    for (const auto& [name, dtype] : {std::pair("final.pt", DType::f32), std::pair("final_f16.pt", DType::f16)}) {
        INFO(name);
        const auto checkpoint = open_checkpoint(shared(std::string("golden/") + name));
        CHECK(checkpoint->tensors().size() == expected->tensors().size());
        size_t differ = 0, missing = 0;
        for (const StoredTensor& t : expected->tensors()) {
            std::string other = t.name;
            // the two namings of a weight norm
            for (const auto& [parametrized, old] : {std::pair("parametrizations.weight.original0", "weight_g"),
                                                    std::pair("parametrizations.weight.original1", "weight_v")})
                if (const size_t at = other.find(parametrized); at != std::string::npos)
                    other.replace(at, std::string_view(parametrized).size(), old);
            const StoredTensor* found = checkpoint->find(other);
            if (found == nullptr || found->dtype != dtype || found->shape != t.shape)
                ++missing;
            else
                differ += to_tensor(*found).values() != to_tensor(t).values() ? 1 : 0;
        }
        CHECK(missing == 0);
        CHECK(differ == 0);
        const nlohmann::json& content = checkpoint->metadata().at("content");
        CHECK(content.at("cfg").at("task").at("lora_r") == 32);
        CHECK(content.at("extra_state").at("val_loss") == 1.25);
    }
}

TEST_CASE("torch files: what needs foreign code is refused by name, the rest is read") {
    TempFolder folder;
    PickleText p;
    p.op('}').op('(');
    p.text("good").tensor("0", 6, 0, {2, 3}, {3, 1});
    p.text("quantised").tensor("0", 6, 0, {2, 3}, {3, 1}, "FloatStorage", "_rebuild_qtensor");
    p.text("complex").tensor("0", 3, 0, {3}, {1}, "ComplexFloatStorage");
    p.text("strange").global("some_lib.tensors", "Fancy").op('(').tensor("0", 6, 0, {6}, {1}).op('t').op('R');
    p.text("module").global("torch.nn.modules.linear", "Linear").op(')').op('\x81').op('}').text("weight");
    p.tensor("0", 6, 0, {6}, {1}).op('s').op('b');
    p.text("options").global("argparse", "Namespace").op(')').op('\x81').op('}').text("lr").integer(3).op('s').op('b');
    p.op('u');
    const auto c = open_checkpoint(folder.write("a.pt", torch_archive(p.end())));
    CHECK(c->tensors().size() == 1);
    CHECK(numbers(c->at("good")) == std::vector<double>{0, 1, 2, 3, 4, 5});
    std::vector<std::string> refused;
    for (const auto& [name, why] : c->refused()) refused.push_back(name);
    CHECK(refused == std::vector<std::string>{"complex", "module.weight", "quantised", "strange", "strange.0"});
    CHECK(message_of<FileError>([&] { c->at("quantised"); }) ==
          (folder / "a.pt").string() +
              ": tensor \"quantised\" cannot be read: it needs torch._utils._rebuild_qtensor, " +
              "which is foreign code: nothing is ever called");
    CHECK(message_of<FileError>([&] { c->find("complex"); }).find("ComplexFloatStorage") != std::string::npos);
    CHECK(message_of<FileError>([&] { c->find("strange"); }).find("some_lib.tensors.Fancy") != std::string::npos);
    CHECK(c->find("options") == nullptr);
    CHECK(c->metadata().at("content").at("options").at("(argparse.Namespace)").at("state").at("lr") == 3);
    CHECK(c->metadata().at("foreign").size() == 5);
}

TEST_CASE("torch files: other keys than model, and tensors elsewhere") {
    TempFolder folder;
    PickleText p;
    p.op('}').op('(').text("dims").op('}').text("n_mels").integer(80).op('s');
    p.text("model_state_dict").op('}').text("w").tensor("0", 6, 0, {6}, {1}).op('s');
    p.text("optimizer").op('}').integer(0).tensor("0", 6, 0, {6}, {1}).op('s').op('u');
    const auto c = open_checkpoint(folder.write("a.pt", torch_archive(p.end())));
    CHECK(c->tensors().size() == 1);
    CHECK(c->find("w") != nullptr);
    CHECK(c->metadata().at("tensors_under") == "model_state_dict");
    CHECK(c->metadata().at("other_tensors") == 1);
    CHECK(c->metadata().at("content").at("dims").at("n_mels") == 80);
    // nested dictionaries give dotted names
    PickleText nested;
    nested.op('}').text("a").op('}').text("b").tensor("0", 6, 3, {3}, {1}).op('s').op('s');
    const auto n = open_checkpoint(folder.write("b.pt", torch_archive(nested.end())));
    CHECK(numbers(n->at("a.b")) == std::vector<double>{3, 4, 5});
}
