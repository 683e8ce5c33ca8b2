// LLaMAs as GGUF files. Witnesses: the source's own values and the bits of frozen weights quantised at load; what the
// package gguf 0.19 (of llama.cpp's authors) reads out of the same files, and what llama.cpp computes with them.

#include <doctest/doctest.h>

#include <cstring>

#include "autograd/tape.h"
#include "data/json.h"
#include "data/sha256.h"
#include "data/tokenizer/sentencepiece_model.h"
#include "kernels/common/check.h"
#include "models/checkpoint/gguf_tokenizer.h"
#include "models/checkpoint/readers.h"
#include "models/convert/config_json.h"
#include "models/convert/gguf.h"
#include "models/llama/llama.h"
#include "tensor/thread_pool.h"
#include "tests/checkpoint/llama_folder.h"
#include "tests/checkpoint/small_files.h"
#include "tests/program/program.h"
#include "tests/support/shared.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

std::unique_ptr<Checkpoint> to_gguf(const std::filesystem::path& from, const std::filesystem::path& to,
                                    std::optional<DType> dtype = {}) {
    const auto source = open_with_config(from);
    const auto [heads, kv_heads] = heads_of(*source);
    const ConvertOptions options{.naming = LlamaNaming::gguf, .dtype = dtype, .heads = heads, .kv_heads = kv_heads};
    const Plan plan = plan_conversion(*source, options);
    write_gguf_file(to, gguf_metadata(*source, options, plan), streamed(*source, plan), {});
    return open_checkpoint(to);
}

std::vector<double> logits(const Checkpoint& checkpoint, DType panels, const std::vector<int32_t>& ids) {
    const NoGrad no_grad;
    const Weights weights(checkpoint);
    const Llama llama = Llama::load(weights, llama_config(checkpoint), panels);
    weights.finish();
    const int64_t rows[] = {std::ssize(ids)};
    LlamaPass pass;
    pass.borders = kernels::make_borders(rows);
    pass.positions = LlamaPass::positions_for(pass.borders);
    return llama.logits(llama.forward(llama.embed(Tensor::from(ids, {rows[0]})), pass)).values();
}

const std::vector<int32_t> kIds{68, 104, 256, 7, 258, 40, 111};

double worst(const std::vector<double>& a, const std::vector<double>& b) {
    REQUIRE(a.size() == b.size());
    double most = 0;
    for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
    return most;
}

std::string hash_of(const std::filesystem::path& file) {
    const std::string text = read_all(file);
    return sha256_bytes(std::as_bytes(std::span(text)));
}

constexpr DType kBlocks[] = {DType::q8_0, DType::q4_1, DType::q4_0, DType::int8};

}  // namespace

TEST_CASE("gguf: a Hugging Face LLaMA in f32, its metadata, and back") {
    TempFolder folder;
    for (const bool tied : {false, true}) {
        const auto hf = folder / (tied ? "tied" : "untied");
        write_llama_folder(hf, block_llama_config(), tied);
        const auto gguf = to_gguf(hf, folder / "f32.gguf");
        const auto source = open_checkpoint(hf);
        CHECK(gguf->tensors().size() == source->tensors().size());
        CHECK_FALSE(!(worst(logits(*gguf, DType::f32, kIds), logits(*source, DType::f32, kIds)) < 2e-5));
        // and back to the very bytes
        const ConvertOptions back{.naming = LlamaNaming::hugging_face, .heads = 4, .kv_heads = 2};
        const Plan plan = plan_conversion(*gguf, back);
        write_model_folder(folder / (tied ? "tied2" : "untied2"), streamed(*gguf, plan), config_json(*gguf, back), 0,
                           {});
        const auto again = open_checkpoint(folder / (tied ? "tied2" : "untied2"));
        for (const StoredTensor& t : source->tensors()) {
            INFO(t.name);
            const StoredTensor& other = again->at(t.name);
            REQUIRE(other.bytes.size() == t.bytes.size());
            CHECK(std::memcmp(other.bytes.data(), t.bytes.data(), t.bytes.size()) == 0);
        }
        CHECK(again->metadata()["config"]["tie_word_embeddings"] == tied);
        CHECK(again->metadata()["config"]["rms_norm_eps"] == 1e-5);
    }
    const auto gguf = open_checkpoint(folder / "f32.gguf");
    const auto& m = gguf->metadata();
    CHECK(m["general.architecture"] == "llama");
    CHECK(m["general.name"] == "tiny-llama");
    CHECK(m["general.file_type"] == 0);
    CHECK(!m.contains("general.quantization_version"));
    CHECK(m["llama.attention.head_count_kv"] == 2);
    CHECK(m["llama.rope.dimension_count"] == 16);
    CHECK(m["llama.vocab_size"] == 272);
    CHECK(m["tokenizer.ggml.pre"] == "gpt-2");
    CHECK(m["tokenizer.ggml.tokens"].size() == 272);
    CHECK(m["tokenizer.ggml.tokens"][271] == "[PAD271]");
    CHECK(m["tokenizer.ggml.token_type"][68] == 1);
    CHECK(m["tokenizer.ggml.token_type"][260] == 3);
    CHECK(m["tokenizer.ggml.token_type"][262] == 4);
    CHECK(m["tokenizer.ggml.token_type"][263] == 5);
    CHECK(m["tokenizer.ggml.merges"].size() == 3);
    CHECK(m["tokenizer.ggml.bos_token_id"] == 260);      // tokenizer_config.json
    CHECK(m["tokenizer.ggml.unknown_token_id"] == 259);  // the same, as an object
    CHECK(m["tokenizer.ggml.eos_token_id"] == 261);      // config.json, the first of two
    CHECK(m["tokenizer.ggml.add_bos_token"] == false);
    CHECK(m["tokenizer.chat_template"] == "{{ messages }}");
    const auto tokenizer = tokenizer_from_gguf(*gguf);
    CHECK(tokenizer->encode("D the<|im_end|>", true) == std::vector<int32_t>{68, 258, 261});
    CHECK(tokenizer->eos() == 261);
}

TEST_CASE("gguf: the golden LLaMAs, whose logits transformers computed in float64") {
    TempFolder folder;
    const nlohmann::json sizes = read_json_file(shared("golden/case.json")).at("hf_configs").at("hf_llama");
    for (const char* kind : {"untied", "tied"}) {
        CAPTURE(kind);
        const auto weights = open_checkpoint(shared(fmt::format("golden/hf_llama_{}_weights.safetensors", kind)));
        nlohmann::json config = sizes;
        config["tie_word_embeddings"] = kind == std::string("tied");
        const Plan plan = plan_conversion(*weights, {});
        write_model_folder(folder / kind, streamed(*weights, plan), config, 0, {});
        folder.write(std::string(kind) + "/tokenizer.json",
                     R"({"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},
                         "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}})");
        const auto gguf = to_gguf(folder / kind, folder / "x.gguf");
        CHECK(gguf->at("token_embd.weight").dtype == DType::f32);  // f64 in the source
        CHECK(gguf->metadata()["tokenizer.ggml.bos_token_id"] == 1);
        const auto golden = open_checkpoint(shared(fmt::format("golden/hf_llama_{}.safetensors", kind)));
        const std::vector<double> ids = to_tensor(golden->at("ids")).values();
        const std::vector<double> expected = to_tensor(golden->at("logits")).values();
        const std::vector<double> ours = logits(*gguf, DType::f32, {ids.begin(), ids.begin() + 13});
        CHECK_FALSE(!(worst(ours, {expected.begin(), expected.begin() + 13 * 160}) < 1e-5));
        CHECK(message_of<UsageError>([&] { to_gguf(folder / kind, folder / "y.gguf", DType::q8_0); }) ==
              "convert: rows of tensor \"model.layers.0.mlp.down_proj.weight\" have 88 elements, but q8_0 stores whole "
              "blocks of 32: say --dtype bf16, f16 or f32");
    }
}

TEST_CASE("gguf: blocks on disk compute the bits of blocks made at load") {
    TempFolder folder;
    for (const bool tied : {false, true}) {
        write_llama_folder(folder / "hf", block_llama_config(), tied);
        const auto f32 = to_gguf(folder / "hf", folder / "f32.gguf");
        for (const DType dtype : kBlocks) {
            CAPTURE(name(dtype));
            CAPTURE(tied);
            const auto blocks = to_gguf(folder / "hf", folder / "blocks.gguf", dtype);
            const DType stored = dtype == DType::int8 ? DType::q8_0 : dtype;
            CHECK(blocks->at("blk.1.ffn_down.weight").dtype == stored);
            CHECK(blocks->at("blk.1.attn_q.weight").dtype == stored);
            CHECK(blocks->at("token_embd.weight").dtype == DType::bf16);
            CHECK(blocks->at("blk.0.attn_norm.weight").dtype == DType::f32);
            CHECK((blocks->find("output.weight") == nullptr) == tied);
            if (!tied) CHECK(blocks->at("output.weight").dtype == DType::q8_0);
            CHECK(blocks->metadata()["general.file_type"] == (stored == DType::q8_0   ? 7
                                                              : stored == DType::q4_1 ? 3
                                                                                      : 2));
            CHECK(blocks->metadata()["general.quantization_version"] == 2);
            // rows of q and k stand in another order than in the folder, so it is its own f32 file that has the same sums
            const auto made = logits(*f32, dtype, kIds);
            CHECK(logits(*blocks, stored, kIds) == made);
            CHECK_FALSE(!(worst(logits(*open_checkpoint(folder / "hf"), dtype, kIds), made) < 0.05));
            // from the f32 GGUF, from a file of torch.save with its config beside it, on one thread: the same file
            const std::string whole = read_all(folder / "blocks.gguf");
            to_gguf(folder / "f32.gguf", folder / "again.gguf", dtype);
            for (const StoredTensor& t : blocks->tensors()) {
                const auto again = open_checkpoint(folder / "again.gguf");
                REQUIRE(again->at(t.name).bytes.size() == t.bytes.size());
                CHECK(std::memcmp(again->at(t.name).bytes.data(), t.bytes.data(), t.bytes.size()) == 0);
            }
            const auto source = open_checkpoint(folder / "hf");
            const Plan plan = plan_conversion(*source, {});
            write_model_file(folder / "hf/weights.bin", streamed(*source, plan), {});
            const int threads = num_threads();
            set_num_threads(1);
            to_gguf(folder / "hf/weights.bin", folder / "torch.gguf", dtype);
            set_num_threads(threads);
            CHECK(read_all(folder / "torch.gguf") == whole);
        }
        // in parts
        const auto source = open_checkpoint(folder / "hf");
        const Plan plan = plan_conversion(*source, {});
        std::filesystem::remove_all(folder / "parts");
        write_model_folder(folder / "parts", streamed(*source, plan), source->metadata()["config"], 100'000, {});
        copy_side_files(folder / "hf", folder / "parts");
        CHECK(!std::filesystem::exists(folder / "parts/model.safetensors"));
        to_gguf(folder / "parts", folder / "parts.gguf", DType::q4_0);
        to_gguf(folder / "hf", folder / "whole.gguf", DType::q4_0);
        CHECK(read_all(folder / "parts.gguf") == read_all(folder / "whole.gguf"));
    }
}

TEST_CASE("gguf: files of known bytes, which gguf's own reader and llama.cpp have read") {
    // Every tensor of these files was dequantised by the package gguf 0.19 to the values that are read here, bit for bit.
    TempFolder folder;
    write_llama_folder(folder / "hf", block_llama_config(), false);
    for (const auto& [dtype, hash] :
         {std::pair(DType::f32, "d22ef20847c735cdb12d18322d8172189468d64a77c3d260fb745827e468e22a"),
          {DType::q8_0, "a83d9bf435b3cf2bcf23ccc1c206e6a792116b1cea6bf99b9e2f2d07cf0b073c"},
          {DType::q4_1, "ae310a41bda4155325e8437a584699ab5680a6e8753e8d37bea35c8030cb756b"},
          {DType::q4_0, "050429090866c2716fff47778ace638876f6a0e652cec23208592c74711249b7"},
          {DType::int8, "1e1331e60b2299058b6b07cbf1d527b6722c4b22fac60e12403afabee05d6e8d"}}) {
        CAPTURE(name(dtype));
        to_gguf(folder / "hf", folder / "x.gguf", dtype);
        CHECK(hash_of(folder / "x.gguf") == hash);
    }
    // llama.cpp (as in llama-cpp-python 0.3.16, f32 cache) on the f32 file: the first logits after kIds
    const auto f32 = to_gguf(folder / "hf", folder / "x.gguf", DType::f32);
    const std::vector<double> all = logits(*f32, DType::f32, kIds);
    CHECK_FALSE(!(worst({all.end() - 272, all.end() - 264}, {0.6523984, -1.719679, 0.9939073, -0.06285256, 1.037097,
                                                             -0.210034, -0.2413534, 0.5860825}) < 2e-5));
}

TEST_CASE("gguf: int8 has one scale a row; f16 and bf16 are for all matrices") {
    TempFolder folder;
    write_llama_folder(folder / "hf", block_llama_config(), false);
    const auto int8 = to_gguf(folder / "hf", folder / "int8.gguf", DType::int8);
    const StoredTensor& down = int8->at("blk.0.ffn_down.weight");
    for (size_t row = 0; row < 64; ++row) {
        uint16_t scales[3];
        for (size_t b = 0; b < 3; ++b) std::memcpy(&scales[b], down.bytes.data() + (row * 3 + b) * 34, 2);
        CHECK(scales[0] == scales[1]);
        CHECK(scales[0] == scales[2]);
    }
    for (const DType dtype : {DType::f16, DType::bf16}) {
        const auto half = to_gguf(folder / "hf", folder / "half.gguf", dtype);
        for (const char* matrix : {"token_embd.weight", "output.weight", "blk.1.ffn_gate.weight"})
            CHECK(half->at(matrix).dtype == dtype);
        CHECK(half->at("output_norm.weight").dtype == DType::f32);
        CHECK(half->metadata()["general.file_type"] == (dtype == DType::f16 ? 1 : 32));
    }
}

TEST_CASE("gguf: LLaMA-2's SentencePiece vocabulary, out of a released checkpoint's LLaMA") {
    TempFolder folder;
    const std::string from = shared("golden/final.pt").string(),
                      spm = shared("data/tokenizer/llama2.tokenizer.model").string(),
                      to = (folder / "llama.gguf").string();
    const ProgramResult r =
        run_program({"convert", from, to, "--part", "llama", "--heads", "3", "--tokenizer", spm, "--dtype", "f16"});
    INFO(r.err);
    REQUIRE(r.code == 0);
    CHECK(r.out.find("23 f16, 7 f32") != std::string::npos);
    const auto gguf = open_checkpoint(to);
    CHECK(llama_config(*gguf).norm_eps == 1e-6f);
    CHECK(llama_config(*gguf).heads == 3);
    CHECK(llama_config(*gguf).max_positions == 4096);
    const auto& m = gguf->metadata();
    CHECK(m["tokenizer.ggml.model"] == "llama");
    CHECK(m["tokenizer.ggml.bos_token_id"] == 1);
    CHECK(m["tokenizer.ggml.token_type"][0] == 2);
    CHECK(m["tokenizer.ggml.token_type"][3] == 6);
    const auto tokenizer = tokenizer_from_gguf(*gguf);
    const nlohmann::json golden = read_json_file(shared("golden/real/tokenizers.json"));
    for (size_t i = 0; i < golden["strings"].size(); ++i)
        CHECK(tokenizer->encode(golden["strings"][i].get<std::string>()) ==
              golden["llama2"][i].get<std::vector<int32_t>>());
    CHECK(tokenizer->bos() == 1);
    CHECK(tokenizer->eos() == 2);
    CHECK(tokenizer->is_special(0));
    // taken apart and put together again it is the same model
    const SentencePieceModel parts = parse_sentencepiece_model(spm, read_sentencepiece_file(spm));
    CHECK(parts.bpe);
    CHECK(parts.byte_fallback);
    CHECK(parts.pieces.size() == 32000);
    const SentencePieceModel again = parse_sentencepiece_model("again", sentencepiece_model_bytes(parts));
    CHECK(again.pieces == parts.pieces);
    CHECK(again.scores == parts.scores);
    CHECK(again.types == parts.types);
    // damage ends in an error
    const std::string bytes = read_sentencepiece_file(spm).substr(0, 3000);
    for (size_t length = 1; length < bytes.size(); length += 7) {
        std::string damaged = bytes.substr(0, length);
        damaged.back() = static_cast<char>(0xFF);
        CHECK_THROWS_AS(parse_sentencepiece_model("damaged", damaged), FileError);
    }
    SentencePieceModel bad = parts;
    bad.scores[5] = NAN;
    CHECK_THROWS_AS(make_sentencepiece(bad), FileError);
    bad = parts;
    bad.types.pop_back();
    CHECK_THROWS_AS(make_sentencepiece(bad), FileError);
}

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

TEST_CASE("gguf: metadata of another file are kept as they are, with their types") {
    TempFolder folder;
    const auto path = folder.write("small.gguf", small_gguf());
    const auto from = open_checkpoint(path);
    // not a LLaMA: it is named
    CHECK(message_of<FileError>([&] { to_gguf(path, folder / "x.gguf"); }).find("architecture") != std::string::npos);
    write_llama_folder(folder / "hf", block_llama_config(), true);
    to_gguf(folder / "hf", folder / "a.gguf", DType::q8_0);
    to_gguf(folder / "a.gguf", folder / "b.gguf");
    CHECK(read_all(folder / "a.gguf") == read_all(folder / "b.gguf"));
    // an array of arrays, an i32 that is not negative, a u64: JSON would not tell these from others
    const auto a = open_checkpoint(folder / "a.gguf");
    const ConvertOptions options{.naming = LlamaNaming::gguf, .dtype = DType::q8_0};
    const Plan plan = plan_conversion(*a, options);
    GgufMetadata more = gguf_metadata(*a, options, plan);
    const auto put = [&](const char* key, const Bytes& bytes) {
        more.put_stored(key, std::as_bytes(std::span(bytes.text)));
    };
    put("x.nested", Bytes().put<uint32_t>(9).put<uint32_t>(9).put<uint64_t>(1).put<uint32_t>(5).put<uint64_t>(0));
    put("x.i32", Bytes().put<uint32_t>(5).put<int32_t>(7));
    put("x.u64", Bytes().put<uint32_t>(10).put<uint64_t>(7));
    write_gguf_file(folder / "more.gguf", more, streamed(*a, plan), {});
    to_gguf(folder / "more.gguf", folder / "again.gguf");
    CHECK(open_checkpoint(folder / "again.gguf")->metadata()["x.u64"] == 7);
    CHECK(read_all(folder / "more.gguf") == read_all(folder / "again.gguf"));
    // quantised again: the type changes and nothing else does, and the vocabulary of another file where it is named
    const auto q4 = to_gguf(folder / "more.gguf", folder / "q4.gguf", DType::q4_0);
    CHECK(q4->metadata()["general.file_type"] == 2);
    for (const auto& [key, value] : q4->metadata().items())
        if (key != "general.file_type") CHECK(open_checkpoint(folder / "more.gguf")->metadata()[key] == value);
    const auto named = gguf_metadata(*a, options, plan, folder / "q4.gguf");
    CHECK(named.pairs().size() == gguf_metadata(*a, options, plan).pairs().size());
    CHECK(named.has("tokenizer.ggml.tokens"));
}

TEST_CASE("gguf: a large file is never held while it is quantised") {
    TempFolder folder;
    // 410 MB of zeros that take no room on disk
    const int64_t rows = 100'000, columns = 1024, bytes = rows * columns * 4;
    const std::string header =
        fmt::format(R"({{"layers.0.attention.wq.weight":{{"dtype":"F32","shape":[{},{}],"data_offsets":[0,{}]}}}})",
                    rows, columns, bytes);
    const auto path = folder.write("sparse.safetensors", safetensors_of(header, ""));
    std::filesystem::resize_file(path, 8 + header.size() + static_cast<uint64_t>(bytes));
    // of the process's whole life otherwise, and other tests may have held more
    std::ofstream("/proc/self/clear_refs") << 5;
    const auto peak = [] {
        std::ifstream status("/proc/self/status");
        for (std::string line; std::getline(status, line);)
            if (line.starts_with("VmHWM:")) return int64_t{std::stoll(line.substr(6))} << 10;
        return int64_t{-1};
    };
    const int64_t before = peak();
    REQUIRE(before > 0);
    {
        const std::vector<char> held(size_t{150} << 20, 'x');  // what it measures
        CHECK(held[held.size() / 2] == 'x');
        CHECK(peak() - before > (int64_t{100} << 20));
    }
    std::ofstream("/proc/self/clear_refs") << 5;
    const auto checkpoint = open_checkpoint(path);
    for (const DType dtype : {DType::q8_0, DType::int8}) {
        const Plan plan = plan_conversion(*checkpoint, {.naming = LlamaNaming::gguf, .dtype = dtype});
        CHECK(plan.tensors[0].name == "blk.0.attn_q.weight");
        write_gguf_file(folder / "out.gguf", {}, streamed(*checkpoint, plan), {});
        CHECK(std::filesystem::file_size(folder / "out.gguf") > 108'800'000);
    }
    CHECK(peak() - before < (int64_t{100} << 20));
}
