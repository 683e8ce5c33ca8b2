// What cannot become a GGUF file, and GGUF files that are refused: each in a line that says what can be done instead.

#include <doctest/doctest.h>

#include "data/json.h"
#include "tests/checkpoint/gguf_writing.h"
#include "tests/checkpoint/llama_folder.h"
#include "tests/checkpoint/small_files.h"
#include "tests/support/shared.h"

using namespace wavllm;
using namespace wavllm::tests;

TEST_CASE("gguf: what cannot become one says what can be done instead") {
    TempFolder folder;
    const std::string out = (folder / "x.gguf").string();
    const auto refused = [&](const std::vector<std::string>& words, const char* part) {
        const ProgramResult r = run_program(words);
        CAPTURE(r.err);
        CHECK(r.code != 0);
        CHECK(r.error_lines() == 1);
        CHECK(r.err.find(part) != std::string::npos);
        CHECK(!std::filesystem::exists(out));
    };
    const std::string whisper = shared("golden/hf_whisper_weights.safetensors").string(),
                      wavlm = shared("golden/hf_wavlm_weights_g_v.safetensors").string(),
                      final_pt = shared("golden/final.pt").string();
    refused({"convert", whisper, out, "--dtype", "q8_0"}, "--frozen q8_0");
    refused({"convert", wavlm, out, "--dtype", "q4_1"}, "Other models");
    refused({"convert", whisper, (folder / "x.safetensors").string(), "--dtype", "q8_0"}, "end in .gguf");
    refused({"convert", final_pt, out, "--dtype", "q8_0"}, "--part llama");
    refused({"convert", final_pt, out, "--part", "adapter"}, "only --part llama");
    refused({"convert", final_pt, out, "--part", "llama"}, "--heads");
    refused({"convert", final_pt, out, "--part", "llama", "--heads", "3", "--dtype", "q8_0"}, "whole blocks of 32");
    // the tensors' own tests
    const auto hf = folder / "hf";
    write_llama_folder(hf, block_llama_config(), true);
    refused({"convert", hf.string(), out, "--dtype", "f64"}, "f32 at most");
    refused({"convert", hf.string(), out, "--naming", "hf"}, "has its own");
    refused({"convert", hf.string(), out, "--shard-gb", "1"}, "is a file");
    refused({"convert", hf.string(), (folder / "y").string(), "--tokenizer", "z"}, "FILE.gguf");
    const auto error = [&] { return message_of<FileError>([&] { to_gguf(hf, out, DType::q8_0); }); };
    std::filesystem::remove(hf / "tokenizer.json");
    CHECK(error().find("--tokenizer") != std::string::npos);
    LlamaConfig c = block_llama_config();
    c.vocab = 200;
    write_llama_folder(hf, c, true);
    CHECK(error().find("263 tokens, but the model's embedding 200 rows") != std::string::npos);
    // a layer that is not there, and one too many
    for (const auto& [layers, part] : {std::pair(3, "\"blk.2.attn_norm.weight\""), {1, "layer"}}) {
        write_llama_folder(hf, block_llama_config(), true);
        nlohmann::json config = read_json_file(hf / "config.json");
        config["num_hidden_layers"] = layers;
        folder.write("hf/config.json", config.dump());
        CHECK(error().find(part) != std::string::npos);
    }
    // layers 0, 1 and 3 of a LLaMA of two
    LlamaConfig four = block_llama_config();
    four.layers = 4;
    write_llama_folder(hf, four, true);
    nlohmann::json two = read_json_file(hf / "config.json");
    two["num_hidden_layers"] = 2;
    folder.write("hf/config.json", two.dump());
    const auto source = open_with_config(hf);
    const ConvertOptions options{.naming = LlamaNaming::gguf, .heads = 4, .kv_heads = 2};
    Plan plan = plan_conversion(*source, options);
    std::erase_if(plan.tensors, [](const PlannedTensor& t) { return t.name.starts_with("blk.2."); });
    CHECK(message_of<FileError>([&] { gguf_metadata(*source, options, plan); }).find("of a layer that") !=
          std::string::npos);
    // a value that no block can hold
    write_llama_folder(hf, block_llama_config(), true);
    std::string weights = read_all(hf / "model.safetensors");
    const float infinity = INFINITY;
    std::memcpy(weights.data() + weights.size() - 4, &infinity, 4);
    folder.write("hf/model.safetensors", weights);
    CHECK(message_of<UsageError>([&] { to_gguf(hf, out, DType::q8_0); }).find("down_proj") != std::string::npos);
    CHECK(!std::filesystem::exists(out));
    // a name that llama.cpp would cut
    const StreamedTensor long_name{std::string(64, 'n'), DType::f32, {0}, [](const auto&) {}};
    CHECK(message_of<FileError>([&] { write_gguf_streamed(out, {}, std::span(&long_name, 1)); }).find("63") !=
          std::string::npos);
}

TEST_CASE("gguf: heads are the file's own; flags that say others are refused, and a pair that does not go together") {
    TempFolder folder;
    const std::string hf = folder / "hf", meta = folder / "meta.safetensors";
    write_llama_folder(hf, block_llama_config(), true);
    const auto convert = [&](std::vector<std::string> more) {
        more.insert(more.begin(), {"convert", hf, folder / "x.gguf"});
        return run_program(more);
    };
    ProgramResult r = convert({"--heads", "4"});
    REQUIRE_MESSAGE(r.code == 0, r.err);
    to_gguf(hf, folder / "right.gguf");
    CHECK(read_all(folder / "x.gguf") == read_all(folder / "right.gguf"));
    r = convert({"--heads", "8"});
    CHECK(r.code != 0);
    CHECK_MESSAGE(r.err.find("says 4") != std::string::npos, r.err);
    CHECK(convert({"--kv-heads", "4"}).err.find("says 2") != std::string::npos);
    // no config.json: all four heads cannot be those of k
    const std::string weights = hf + "/model.safetensors";
    r = run_program({"convert", weights, meta, "--naming", "meta", "--heads", "4"});
    CHECK(r.code != 0);
    CHECK_MESSAGE(r.err.find("--kv-heads") != std::string::npos, r.err);
    CHECK(run_program({"convert", weights, meta, "--naming", "meta", "--heads", "4", "--kv-heads", "2"}).code == 0);
    // flags without a meaning
    CHECK(convert({"--base", hf}).err.find("--base") != std::string::npos);
    CHECK(run_program({"convert", hf, folder / "y", "--peft", "--dtype", "f16"}).err.find("--dtype") !=
          std::string::npos);
    // as many key-value heads as heads, where config.json does not say (LLaMA-1)
    nlohmann::json config = read_json_file(hf + "/config.json");
    config.erase("num_key_value_heads");
    folder.write("hf/config.json", config.dump());
    CHECK(heads_of(*open_checkpoint(hf)) == std::pair<int64_t, int64_t>(4, 4));
    config["model_type"] = "wavlm";
    folder.write("hf/config.json", config.dump());
    CHECK(heads_of(*open_checkpoint(hf)) == std::pair<int64_t, int64_t>(0, 0));
}

TEST_CASE("llama: sizes and rotations that are not Llama's are refused, with the file's name") {
    TempFolder folder;
    write_llama_folder(folder / "hf", block_llama_config(), true);
    const nlohmann::json good = read_json_file(folder / "hf/config.json");
    for (const auto& [key, value] : std::vector<std::pair<const char*, nlohmann::json>>{{"num_attention_heads", 0.5},
                                                                                        {"num_attention_heads", 0},
                                                                                        {"hidden_size", 1e300},
                                                                                        {"rms_norm_eps", -1},
                                                                                        {"vocab_size", UINT64_MAX},
                                                                                        {"num_hidden_layers", -3}}) {
        CAPTURE(key);
        nlohmann::json bad = good;
        bad["head_dim"] = 16;
        bad[key] = value;
        folder.write("hf/config.json", bad.dump());
        const std::string says = message_of<FileError>([&] { llama_config(*open_checkpoint(folder / "hf")); });
        CHECK(says.find(key) != std::string::npos);
        CHECK(says.find("should be a") != std::string::npos);
    }
    folder.write("hf/config.json", good.dump());
    const auto a = to_gguf(folder / "hf", folder / "a.gguf");
    const Plan plan = plan_conversion(*a, {.naming = LlamaNaming::gguf});
    const auto with = [&](const char* key, const Bytes& value, std::optional<float> factor = {},
                          const char* left_out = "") {
        GgufMetadata m;
        for (const auto& [name, stored] : dynamic_cast<const LoadedCheckpoint&>(*a).key_values)
            if (name != key && name != left_out) m.put_stored(name, stored);
        if (*key != '\0') m.put_stored(key, std::as_bytes(std::span(value.text)));
        auto tensors = streamed(*a, plan);
        if (left_out == std::string_view("embedding")) {
            std::erase_if(tensors, [](const auto& t) { return t.name == "token_embd.weight"; });
            tensors.push_back(
                {"token_embd.weight", DType::f32, {}, [](const auto& write) { write(std::vector<std::byte>(4)); }});
        }
        if (factor)
            tensors.push_back({"rope_freqs.weight", DType::f32, {8}, [&](const auto& write) {
                                   const std::vector<float> factors{1, 1, 1, 1, 1, 1, 1, *factor};
                                   write(std::as_bytes(std::span(factors)));
                               }});
        write_gguf_file(folder / "b.gguf", m, tensors, {});
        const auto b = open_checkpoint(folder / "b.gguf");
        try {
            llama_config(*b);
        } catch (const FileError& e) {
            CHECK(std::string(e.what()).find("b.gguf") != std::string::npos);
            return std::string(e.what());
        }
        return std::string("accepted");
    };
    const auto u32 = [](uint32_t v) { return Bytes().put<uint32_t>(4).put<uint32_t>(v); };
    const auto text = [](const char* v) { return Bytes().put<uint32_t>(8).gguf_string(v); };
    CHECK(with("", {}) == "accepted");
    CHECK(with("", {}, 1.0f) == "accepted");
    CHECK(with("", {}, 8.0f).find("rope_freqs.weight") != std::string::npos);
    CHECK(with("llama.rope.scaling.type", text("none")) == "accepted");
    CHECK(with("llama.rope.scaling.type", text("yarn")).find("yarn") != std::string::npos);
    CHECK(with("llama.rope.scaling.factor", u32(4)).find("scaling.factor") != std::string::npos);
    CHECK(with("llama.rope.dimension_count", u32(8)).find("dimension_count") != std::string::npos);
    CHECK(with("llama.attention.key_length", u32(32)).find("key_length") != std::string::npos);
    CHECK(with("general.architecture", u32(1)).find("architecture") != std::string::npos);
    CHECK(with("llama.block_count", Bytes().put<uint32_t>(6).put<float>(NAN)).find("block_count") != std::string::npos);
    CHECK(with("", {}, {}, "embedding").find("should be a matrix") != std::string::npos);
}
