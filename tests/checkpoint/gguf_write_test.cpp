// LLaMAs as GGUF files. Witnesses: the source's own values and the bits of frozen weights quantised at load; what the
// package gguf 0.19 (of llama.cpp's authors) reads out of the same files, and what llama.cpp computes with them.

#include <doctest/doctest.h>

#include <cstring>

#include "data/json.h"
#include "data/tokenizer/bpe.h"
#include "data/tokenizer/sentencepiece.h"
#include "data/tokenizer/sentencepiece_model.h"
#include "models/checkpoint/gguf_tokenizer.h"
#include "tensor/thread_pool.h"
#include "tests/checkpoint/gguf_writing.h"
#include "tests/checkpoint/llama_folder.h"
#include "tests/checkpoint/small_files.h"
#include "tests/support/shared.h"

using namespace wavllm;
using namespace wavllm::tests;

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

// Witness: the tokenizer.json that the GGUF was made from.
TEST_CASE("gguf: to a Hugging Face folder with its tokenizer") {
    TempFolder folder;
    write_llama_folder(folder / "hf", block_llama_config(), false);
    to_gguf(folder / "hf", folder / "f32.gguf");
    const std::string out = (folder / "out").string();
    const ProgramResult r = run_program({"convert", (folder / "f32.gguf").string(), out, "--naming", "hf"});
    INFO(r.err);
    REQUIRE(r.code == 0);
    CHECK(r.out.find("tokenizer.json") != std::string::npos);
    const BpeVocabulary first = hf_bpe_vocabulary("first", read_all(folder / "hf/tokenizer.json")),
                        again = hf_bpe_vocabulary("again", read_all(folder / "out/tokenizer.json"));
    for (size_t id = 0; id < first.tokens.size(); ++id) {
        CHECK(again.tokens[id] == first.tokens[id]);
        CHECK(again.special[id] == first.special[id]);
    }
    CHECK(again.tokens.size() == 272);  // filled up to the rows of the embedding
    CHECK(again.merges == first.merges);
    CHECK(again.split == first.split);
    const auto config = read_json_file(folder / "out/tokenizer_config.json");
    CHECK(config["bos_token"] == "<|im_start|>");
    CHECK(config["eos_token"] == "<|im_end|>");
    CHECK(config["unk_token"] == "<|endoftext|>");
    CHECK(config["chat_template"] == "{{ messages }}");
    CHECK(config["added_tokens_decoder"]["262"]["special"] == false);
    CHECK(config["added_tokens_decoder"]["260"]["special"] == true);
    const ProgramResult chat = run_program({"chat", "--model", out, "--prompt", "the", "--max-tokens", "3"});
    CHECK_MESSAGE(chat.code == 0, chat.err);
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
    // and in Hugging Face's folder
    const std::string hf = (folder / "hf").string();
    const ProgramResult back = run_program({"convert", to, hf, "--naming", "hf"});
    INFO(back.err);
    REQUIRE(back.code == 0);
    const auto written = open_sentencepiece(folder / "hf/tokenizer.model");
    for (size_t i = 0; i < golden["strings"].size(); ++i)
        CHECK(written->encode(golden["strings"][i].get<std::string>()) ==
              golden["llama2"][i].get<std::vector<int32_t>>());
    CHECK(written->bos() == 1);
    CHECK(written->eos() == 2);
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
