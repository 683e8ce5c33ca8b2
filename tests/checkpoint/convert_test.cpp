// wavllm convert. Witnesses: one LLaMA in both namings (golden, made with Meta's and Hugging Face's code), the
// same tensors read back, and dtype conversions worked out by hand.

#include "models/convert/convert.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <chrono>
#include <cstring>

#include "autograd/tape.h"
#include "models/checkpoint/identity.h"
#include "models/checkpoint/released.h"
#include "models/convert/config_json.h"
#include "models/llama/llama.h"
#include "models/whisper/whisper.h"
#include "tests/checkpoint/torch_files.h"
#include "tests/program/program.h"
#include "tests/support/shared.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

std::string file_of(const char* name) {
    return shared(std::string("golden/") + name).string();
}

std::unique_ptr<Checkpoint> converted(const Checkpoint& from, const ConvertOptions& options,
                                      const std::filesystem::path& to) {
    const Plan plan = plan_conversion(from, options);
    write_model_file(to, streamed(from, plan), {});
    return open_checkpoint(to);
}

/// Whether both have the same names, types, shapes and bytes.
void check_same(const Checkpoint& a, const Checkpoint& b) {
    CHECK(a.tensors().size() == b.tensors().size());
    for (const StoredTensor& t : a.tensors()) {
        INFO(t.name);
        const StoredTensor& other = b.at(t.name);
        CHECK(other.dtype == t.dtype);
        CHECK(other.shape == t.shape);
        REQUIRE(other.bytes.size() == t.bytes.size());
        CHECK(std::memcmp(other.bytes.data(), t.bytes.data(), t.bytes.size()) == 0);
    }
}

std::string floats_file(const std::string& dtype, const std::string& data, size_t n) {
    return safetensors_of(
        fmt::format(R"({{"w":{{"dtype":"{}","shape":[{}],"data_offsets":[0,{}]}}}})", dtype, n, data.size()), data);
}

int64_t peak_memory() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return int64_t{usage.ru_maxrss} * 1024;
}

/// A safetensors file of one f32 matrix of zeros that takes no room on disk.
std::filesystem::path sparse_file(const TempFolder& folder, int64_t rows, int64_t columns) {
    const int64_t bytes = rows * columns * 4;
    const std::string header =
        fmt::format(R"({{"layers.0.attention.wq.weight":{{"dtype":"F32","shape":[{},{}],"data_offsets":[0,{}]}}}})",
                    rows, columns, bytes);
    const auto path = folder.write("sparse.safetensors", safetensors_of(header, ""));
    std::filesystem::resize_file(path, 8 + header.size() + static_cast<uint64_t>(bytes));
    return path;
}

}  // namespace

TEST_CASE("convert: LLaMA between Meta's and Hugging Face's naming, rows of q and k reordered") {
    TempFolder folder;
    const auto meta = open_checkpoint(file_of("llama_meta_naming_weights.safetensors"));
    const auto hf = open_checkpoint(file_of("llama_hf_naming_weights.safetensors"));
    check_same(*meta,
               *converted(*hf, {.naming = LlamaNaming::meta, .heads = 4, .kv_heads = 4}, folder / "m.safetensors"));
    check_same(*hf, *converted(*meta, {.naming = LlamaNaming::hugging_face, .heads = 4, .kv_heads = 4},
                               folder / "h.safetensors"));
    // what is in the naming already stays as it is
    check_same(*hf, *converted(*hf, {.naming = LlamaNaming::hugging_face}, folder / "s.safetensors"));
    CHECK(message_of<UsageError>([&] { plan_conversion(*hf, {.naming = LlamaNaming::meta}); }).find("--heads") !=
          std::string::npos);
    CHECK(message_of<UsageError>([&] {
              plan_conversion(*hf, {.naming = LlamaNaming::meta, .heads = 5, .kv_heads = 5});
          }).find("does not divide") != std::string::npos);
    const auto whisper = open_checkpoint(file_of("hf_whisper_weights.safetensors"));
    CHECK(message_of<UsageError>([&] {
              plan_conversion(*whisper, {.naming = LlamaNaming::meta, .heads = 4, .kv_heads = 4});
          }).find("none of its") != std::string::npos);
}

TEST_CASE("convert: grouped key-value heads, tied output, there and back") {
    NoGrad no_grad;
    TempFolder folder;
    for (const char* name : {"hf_llama_untied_weights.safetensors", "hf_llama_tied_weights.safetensors"}) {
        INFO(name);
        const auto hf = open_checkpoint(file_of(name));
        const auto meta =
            converted(*hf, {.naming = LlamaNaming::meta, .heads = 4, .kv_heads = 2}, folder / "m.safetensors");
        check_same(*hf, *converted(*meta, {.naming = LlamaNaming::hugging_face, .heads = 4, .kv_heads = 2},
                                   folder / "h.safetensors"));
        // both compute the same model
        LlamaConfig c;
        c.dim = 32;
        c.layers = c.kv_heads = 2;
        c.heads = 4;
        c.ffn = 88;
        c.vocab = 160;
        c.rope_theta = 100000;
        const Tensor ids = Tensor::from(std::vector<int32_t>{1, 17, 42, 99, 5}, {5});
        LlamaPass pass;
        pass.borders = Tensor::from(std::vector<int64_t>{0, 5}, {2});
        pass.positions = LlamaPass::positions_for(pass.borders);
        std::vector<std::vector<double>> logits;
        for (const auto& [checkpoint, layout] :
             {std::pair(hf.get(), RopeLayout::half_split), std::pair(meta.get(), RopeLayout::interleaved)}) {
            c.rope_layout = layout;
            const Weights weights(*checkpoint);
            const Llama llama = Llama::load(weights, c);
            weights.finish();
            logits.push_back(llama.logits(llama.forward(llama.embed(ids), pass)).values());
        }
        double worst = 0;
        for (size_t i = 0; i < logits[0].size(); ++i) worst = std::max(worst, std::abs(logits[0][i] - logits[1][i]));
        CHECK_FALSE(!(worst < 1e-4));  // the sums run in another order
    }
}

TEST_CASE("convert: dtypes, and what f16 cannot hold") {
    TempFolder folder;
    const std::vector<float> values{0.1f, -65504.0f, 1e-8f, 3.0f};
    Bytes raw;
    for (const float v : values) raw.put<float>(v);
    const auto from = open_checkpoint(folder.write("f32.safetensors", floats_file("F32", raw.text, 4)));
    const auto half = converted(*from, {.dtype = DType::f16}, folder / "f16.safetensors");
    CHECK(to_tensor(half->at("w")).values() == std::vector<double>{0.0999755859375, -65504, 0, 3});
    const auto brain = converted(*from, {.dtype = DType::bf16}, folder / "bf16.safetensors");
    CHECK(to_tensor(brain->at("w")).values()[0] == 0.10009765625);
    const auto back = converted(*brain, {.dtype = DType::f32}, folder / "back.safetensors");
    CHECK(to_tensor(back->at("w")).values() == to_tensor(brain->at("w")).values());
    const auto wide = converted(*from, {.dtype = DType::f64}, folder / "f64.safetensors");
    CHECK(wide->at("w").dtype == DType::f64);
    CHECK(to_tensor(wide->at("w")).values() == to_tensor(from->at("w")).values());
    check_same(*from, *converted(*wide, {.dtype = DType::f32}, folder / "again.safetensors"));

    const auto large =
        open_checkpoint(folder.write("l.safetensors", floats_file("F32", Bytes().put<float>(1e6f).text, 1)));
    CHECK(message_of<FileError>([&] {
              converted(*large, {.dtype = DType::f16}, folder / "x.safetensors");
          }).find("\"w\" has the value 1000000") != std::string::npos);
    CHECK(!std::filesystem::exists(folder / "x.safetensors"));
    // whole numbers stay what they are
    const auto whole =
        open_checkpoint(folder.write("i.safetensors", floats_file("I64", Bytes().put<int64_t>(-5).text, 1)));
    check_same(*whole, *converted(*whole, {.dtype = DType::f16}, folder / "i2.safetensors"));
    // a block format needs a dtype
    const auto gguf = open_checkpoint(folder.write("g.gguf", small_gguf()));
    CHECK(message_of<UsageError>([&] { plan_conversion(*gguf, {}); }).find("--dtype") != std::string::npos);
    const auto plain = converted(*gguf, {.dtype = DType::f32}, folder / "g.safetensors");
    CHECK(to_tensor(plain->at("b")).values()[31] == 31);
}

TEST_CASE("convert: folders in parts are read as one file, safetensors and PyTorch's") {
    TempFolder folder;
    const auto from = open_checkpoint(file_of("hf_whisper_weights.safetensors"));
    const Plan plan = plan_conversion(*from, {});
    write_model_folder(folder / "parts", streamed(*from, plan), {{"model_type", "whisper"}}, 100'000, {});
    CHECK(std::filesystem::exists(folder / "parts/model.safetensors.index.json"));
    CHECK(!std::filesystem::exists(folder / "parts/model.safetensors"));
    const auto parts = open_checkpoint(folder / "parts");
    check_same(*from, *parts);
    CHECK(parts->metadata().at("config").at("model_type") == "whisper");
    CHECK(weights_identity(*from) == weights_identity(*parts));
    CHECK(message_of<UsageError>([&] {
              write_model_folder(folder / "parts", streamed(*from, plan), nullptr, 0, {});
          }).find("already") != std::string::npos);

    const auto part = [](const std::string& name) {
        return torch_archive(PickleText().op('}').text(name).tensor("0", 6, 0, {2, 3}, {3, 1}).op('s').end());
    };
    folder.write("bin/pytorch_model-00001-of-00002.bin", part("a"));
    folder.write("bin/pytorch_model-00002-of-00002.bin", part("b"));
    folder.write(
        "bin/pytorch_model.bin.index.json",
        R"({"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}})");
    const auto bin = open_checkpoint(folder / "bin");
    CHECK(bin->format() == "torch");
    CHECK(to_tensor(bin->at("b")).values() == std::vector<double>{0, 1, 2, 3, 4, 5});
    folder.write("mixed/a.bin", part("a"));
    folder.write("mixed/b.safetensors", floats_file("F32", Bytes().put<float>(1).text, 1));
    folder.write("mixed/model.safetensors.index.json", R"({"weight_map": {"a": "a.bin", "w": "b.safetensors"}})");
    CHECK(message_of<FileError>([&] { open_checkpoint(folder / "mixed"); }).find("should all be") != std::string::npos);
    folder.write("one/pytorch_model.bin", part("w"));
    CHECK(open_checkpoint(folder / "one")->find("w") != nullptr);
}

TEST_CASE("convert: parts of a released checkpoint stand alone") {
    TempFolder folder;
    const auto released = open_checkpoint(file_of("final.pt"));
    folder.write("beside/config.json", R"({"llm_heads": 3})");
    const std::string source = folder / "beside/final.pt";
    std::filesystem::create_symlink(std::filesystem::absolute(file_of("final.pt")), source);
    const auto run = [&](const std::string& part, const std::vector<std::string>& more) {
        std::vector<std::string> words{"convert", source, (folder / part).string(), "--part", part};
        words.insert(words.end(), more.begin(), more.end());
        const ProgramResult r = run_program(words);
        INFO(r.err);
        REQUIRE(r.code == 0);
        return open_checkpoint(folder / part);
    };
    const auto whisper = run("whisper", {"--heads", "4"});
    const WhisperConfig config = whisper_config(*whisper);
    CHECK(Whisper::load_encoder(*whisper, config).fingerprint() ==
          WhisperEncoder::load(Weights(*released).under(kReleasedWhisper), config).fingerprint());

    const auto llama = run("llama", {"--naming", "hf", "--heads", "3"});
    const LlamaConfig k = llama_config(*llama);
    CHECK(k.rope_layout == RopeLayout::half_split);
    CHECK(k.norm_eps == 1e-6);
    const Weights weights(*llama);
    Llama::load(weights, k);
    weights.finish();

    // WavLM has the names of Hugging Face's own
    const auto wavlm = run("wavlm", {});
    const auto own = open_checkpoint(file_of("hf_wavlm_weights_g_v.safetensors"));
    for (const StoredTensor& t : own->tensors()) CHECK_MESSAGE(wavlm->find(t.name) != nullptr, t.name);

    const auto adapter = run("adapter", {"--dtype", "f16"});
    for (const char* key : {"preset", "base"})  // without them train.from refuses it
        CHECK_MESSAGE(adapter->metadata().at("__metadata__").contains(key), key);
    CHECK(adapter->find("layers.2.attention.wo_lora_B") != nullptr);
    CHECK(adapter->find("scale_fc_1.weight") != nullptr);
    CHECK(adapter->find("wavlm_audio_proj.weight") != nullptr);
    CHECK(adapter->find("audio_proj.weight") == nullptr);
    CHECK(adapter->find("wavlm_encoder.output_weights") != nullptr);
    CHECK(adapter->at("scale_fc_2.bias").dtype == DType::f16);
    const size_t unused = 3;
    CHECK(whisper->tensors().size() + llama->tensors().size() + wavlm->tensors().size() + adapter->tensors().size() +
              unused - 1 ==  // WavLM's mask embedding goes with WavLM
          released->tensors().size());

    // which heads it has is not in the file
    for (const auto& [part, way_out] : {std::pair("whisper", "--heads"), {"adapter", "llm_heads"}}) {
        const ProgramResult r = run_program({"convert", file_of("final.pt"), (folder / "x").string(), "--part", part});
        CAPTURE(r.err);
        CHECK(r.code != 0);
        CHECK(r.err.find(way_out) != std::string::npos);
        CHECK(r.error_lines() == 1);
        CHECK(!std::filesystem::exists(folder / "x"));
    }
}

TEST_CASE("convert: a released checkpoint is written as torch.save does, and read back") {
    TempFolder folder;
    const auto from = open_checkpoint(file_of("final_f16.pt"));
    const auto safe = converted(*from, {}, folder / "a.safetensors");
    const auto again = converted(*safe, {}, folder / "b.pt");
    CHECK(again->format() == "torch");
    CHECK(again->metadata().at("tensors_under") == "model");
    check_same(*from, *again);
    CHECK(check_released(*again).whole());
    // the same bytes each time, and data where torch can map them
    converted(*safe, {}, folder / "c.pt");
    CHECK(read_all(folder / "b.pt") == read_all(folder / "c.pt"));
    const std::string whole = read_all(folder / "b.pt");
    for (const StoredTensor& t : again->tensors()) {
        const std::string_view bytes(reinterpret_cast<const char*>(t.bytes.data()), t.bytes.size());
        if (bytes.size() > 1000) CHECK(whole.find(bytes) % 64 == 0);
    }
}

TEST_CASE("Whisper's config of every size is read from a Hugging Face folder") {
    struct Size {
        const char* name;
        int64_t d, layers, decoder, heads, mels, vocab;
    };
    // config.json of openai/whisper-*
    for (const Size& s : {Size{"tiny", 384, 4, 4, 6, 80, 51865}, Size{"base", 512, 6, 6, 8, 80, 51865},
                          Size{"small", 768, 12, 12, 12, 80, 51865}, Size{"medium", 1024, 24, 24, 16, 80, 51865},
                          Size{"large-v2", 1280, 32, 32, 20, 80, 51865}, Size{"large-v3", 1280, 32, 32, 20, 128, 51866},
                          Size{"large-v3-turbo", 1280, 32, 4, 20, 128, 51866}}) {
        INFO(s.name);
        TempFolder folder;
        folder.write("model.safetensors", small_safetensors());
        folder.write("config.json", nlohmann::json{{"d_model", s.d},
                                                   {"encoder_layers", s.layers},
                                                   {"decoder_layers", s.decoder},
                                                   {"encoder_attention_heads", s.heads},
                                                   {"decoder_attention_heads", s.heads},
                                                   {"encoder_ffn_dim", 4 * s.d},
                                                   {"decoder_ffn_dim", 4 * s.d},
                                                   {"num_mel_bins", s.mels},
                                                   {"max_source_positions", 1500},
                                                   {"max_target_positions", 448},
                                                   {"vocab_size", s.vocab}}
                                        .dump());
        const WhisperConfig k = whisper_config(*open_checkpoint(folder.path()));
        CHECK(k.dim == s.d);
        CHECK(k.decoder_layers == s.decoder);
        CHECK(k.mels == s.mels);
        CHECK(k.head_dim() == 64);
        CHECK(k.multilingual());
    }
}

TEST_CASE("a file of 15 GB opens at once, and is never held while it is converted") {
    TempFolder folder;
    const auto path = sparse_file(folder, 1'000'000, 3750);
    CHECK(std::filesystem::file_size(path) > 15'000'000'000);
    const int64_t before = peak_memory();
    const auto begin = std::chrono::steady_clock::now();
    const auto checkpoint = open_checkpoint(path);
    weights_identity(*checkpoint);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    CHECK(checkpoint->at("layers.0.attention.wq.weight").bytes.size() == 15'000'000'000);
    CHECK(peak_memory() - before < (int64_t{20} << 20));

    // 400 MB, of which a conversion holds a few: with its rows in order, and reordered
    const auto smaller = open_checkpoint(sparse_file(folder, 100'000, 1000));
    for (const LlamaNaming naming : {LlamaNaming::as_is, LlamaNaming::hugging_face}) {
        const Plan plan =
            plan_conversion(*smaller, {.naming = naming, .dtype = DType::bf16, .heads = 1000, .kv_heads = 1000});
        uint64_t written = 0;
        streamed(*smaller, plan)[0].bytes([&](std::span<const std::byte> piece) { written += piece.size(); });
        CHECK(written == 200'000'000);
    }
    MESSAGE("15 GB opened in " << seconds << " s; peak grew by " << (peak_memory() - before) / 1e6 << " MB");
    CHECK(peak_memory() - before < (int64_t{120} << 20));
}
