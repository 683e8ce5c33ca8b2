// Both encoders through the public path: System, make_example, make_batch, the bridge. Witness: the token counts of the
// released code (by its formulas, for these lengths), each clip alone, the features without the cache, the CPU.

#include <doctest/doctest.h>

#include <fstream>

#include "autograd/tape.h"
#include "data/tokenizer/bytes.h"
#include "models/wavlm/random.h"
#include "models/whisper/random.h"
#include "tensor/thread_pool.h"
#include "tests/devices.h"
#include "tests/support/tiny_model.h"
#include "tests/wavllm/tiny_system.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

constexpr const char* kPrompt = "What is it?";

Preset dual_preset(const std::string& padding) {
    Preset p;
    p.model.wavlm = "tiny";
    p.model.chat_template = "llama2";
    p.model.encoder_padding = padding;
    p.adapter = {.mid = 16, .acoustic_mid = 8, .dim = 12, .bottleneck = 6, .out = 10};
    p.lora = {.rank = 2, .alpha = 2};
    p.prompt_adapter.hidden = 8;
    return p;
}

/// Adds normal values to all of them, on any device.
void shake(const Parameters& parameters, float size) {
    for (const Parameter& p : parameters) {
        const Philox rng(23, p.name, 0);
        Tensor values = p.tensor.detach().to(Device::cpu).clone(), t = p.tensor;
        for (int64_t i = 0; i < values.numel(); ++i)
            values.mutable_data<float>()[i] += size * rng.normal(static_cast<uint64_t>(i));
        t.assign(values);
    }
}

System dual_system(const Preset& preset) {
    LlamaConfig llama = tiny_llama_config();
    llama.vocab = 300;
    llama.max_positions = 4096;
    WavlmConfig wavlm;
    wavlm.dim = 24;
    wavlm.layers = 2;
    wavlm.heads = 3;
    wavlm.ffn = 40;
    wavlm.conv_dim.assign(7, 8);
    wavlm.position_kernel = 10;
    wavlm.position_groups = 4;
    wavlm.buckets = 16;
    wavlm.max_distance = 20;
    const WhisperConfig whisper{.dim = 16, .encoder_layers = 1, .heads = 2, .encoder_ffn = 32};
    System s = build_system(
        preset, std::make_shared<const WhisperEncoder>(random_whisper_encoder(whisper, 1)),
        std::make_shared<const Llama>(random_llama(llama, 2)), std::make_shared<const wavllm::ByteTokenizer>(300),
        preset.model.wavlm.empty() ? nullptr : std::make_shared<const WavlmEncoder>(random_wavlm_encoder(wavlm, 3)));
    shake(s.model->lora().parameters(), 0.1f);
    shake(s.model->prompt_adapter().parameters(), 0.3f);
    return s;
}

std::vector<float> noise(int64_t samples, uint64_t seed = 1) {
    std::vector<float> x(static_cast<size_t>(samples));
    const Philox rng(seed, "noise", 0);
    for (size_t i = 0; i < x.size(); ++i) x[i] = 0.1f * rng.normal(i);
    return x;
}

/// Lengths of every kind: one chunk, two, text alone, the shortest that WavLM takes.
std::vector<SpeechExample> mixed_examples(const System& s) {
    std::vector<SpeechExample> examples;
    for (const int64_t n : {34560, 520000, 0, 20011, 400}) {
        examples.push_back(make_example(s, fmt::format("{} samples", n), noise(n, static_cast<uint64_t>(n)),
                                        n == 34560 ? "Say it." : kPrompt, "so it is"));
        examples.back().key = static_cast<int64_t>(examples.size());
    }
    return examples;
}

/// What the model makes of each example of a batch, as bytes: rows of speech, r, losses.
std::vector<std::string> results(const Wavllm& model, std::span<const SpeechExample* const> part) {
    const NoGrad no_grad;
    const SpeechBatch batch = make_batch(part, true, model.bridge());
    Tensor borders;
    const Tensor speech = model.speech(batch, borders), r = model.lora_run(batch.plan).scale.r;
    const Tensor losses = model.loss(batch, {}).row_losses;
    std::vector<std::string> found;
    int64_t at = 0;
    for (size_t i = 0; i < part.size(); ++i) {
        const int64_t* b = batch.plan.target_borders.data<int64_t>() + i;
        const int64_t end = at + batch.speech_rows[i];
        found.push_back(bytes_of(speech.slice(0, at, end).clone()) +
                        bytes_of(r.select(0, static_cast<int64_t>(i)).clone()) +
                        bytes_of(losses.slice(0, b[0], b[1]).clone()));
        at = end;
    }
    CHECK(at == speech.dim(0));
    return found;
}

void expect_gradients(const System& s, std::span<const SpeechExample> examples) {
    const auto all = pointers_to(examples);
    backward(s.model->loss(make_batch(all, true, s.model->bridge()), {}).loss);
    for (const Parameter& p : s.model->parameters()) {
        CAPTURE(p.name);
        REQUIRE(grad(p.tensor).defined());
        double sum = 0;
        for (const double g : grad(p.tensor).values()) sum += std::abs(g);
        if (p.zero_updates != Parameter::kAlways) CHECK(sum > 0);
        zero_grad(p.tensor);
    }
    clear_tape();
}

std::string acoustic_of(const SpeechExample& e) {
    const Shape s = e.acoustic_shape();
    std::vector<float> features(static_cast<size_t>(e.feature_rows() * e.feature_channels())),
        acoustic(static_cast<size_t>(s.numel()));
    e.copy_features(features.data(), acoustic.data(), s[1] * s[2]);
    return {reinterpret_cast<const char*>(acoustic.data()), acoustic.size() * sizeof(float)};
}

}  // namespace

TEST_CASE("speech tokens of both encoders are as many as the released code makes") {
    const NoGrad no_grad;
    const std::pair<int64_t, int64_t> counts[] = {
        {16000, 13}, {34560, 27}, {166960, 131}, {480000, 375}, {783200, 612}};
    for (const char* padding : {"30s", "tight"}) {
        const System s = dual_system(dual_preset(padding));
        for (const auto& [samples, tokens] : counts) {
            CAPTURE(samples);
            CAPTURE(padding);
            const SpeechExample e = make_example(s, "", noise(samples), kPrompt);
            const SpeechExample* one[] = {&e};
            const SpeechBatch batch = make_batch(one, false);
            Tensor borders;
            CHECK(s.model->speech(batch, borders).dim(0) == tokens);
            CHECK(batch.speech_rows == std::vector{tokens});
            CHECK(borders.values() == std::vector<double>{0, static_cast<double>(tokens)});
            CHECK(s.model->inputs(batch).x.dim(0) == tokens + std::ssize(e.ids.left) + std::ssize(e.ids.right));
        }
    }
}

TEST_CASE(
    "both encoders: a batch of mixed lengths equals one by one, r included, and clips encoded together those alone") {
    const System s = dual_system(dual_preset("30s"));
    const auto examples = mixed_examples(s);
    CHECK(examples[1].chunk_rows.size() == 2);
    CHECK(examples[2].speech_rows() == 0);
    CHECK(examples[4].speech_rows() == 1);
    const auto all = pointers(examples);
    const std::vector<std::string> together = results(*s.model, all);
    const int before = num_threads();
    for (size_t i = 0; i < all.size(); ++i) {
        CAPTURE(examples[i].id);
        set_num_threads(i % 2 == 0 ? 1 : 3);
        CHECK(results(*s.model, std::span(all).subspan(i, 1)) == std::vector{together[i]});
    }
    set_num_threads(before);
    CHECK(together[0] != together[3]);

    const std::vector<float> a = noise(34560, 34560), b = noise(520000, 520000);
    const std::span<const float> clips[] = {b, a};
    const std::vector<EncodedClip> encoded = encode_clips(s, clips);
    CHECK(bytes_of(encoded[0].acoustic) == bytes_of(examples[1].acoustic));
    CHECK(bytes_of(encoded[1].acoustic) == bytes_of(examples[0].acoustic));
    CHECK(bytes_of(encoded[0].features) == bytes_of(examples[1].features));
    CHECK(encoded[1].acoustic.shape() == Shape{3, 107, 24});
}

TEST_CASE("both encoders: every parameter gets a gradient") {
    const System s = dual_system(dual_preset("tight"));
    expect_gradients(s, mixed_examples(s));
}

TEST_CASE(
    "connectors of other systems, on Whisper and on both encoders: one by one as in a batch, and every gradient") {
    struct Kind {
        std::string name;
        bool both;
        int64_t rows;  // of 520000 samples: 1500 and 125 frames of Whisper, 1624 of WavLM
    };
    for (const Kind& kind : {Kind{"qformer", true, 2 * 96}, {"qformer", false, 2 * (88 + 7)}, {"pooled", false, 813}}) {
        CAPTURE(kind.name);
        CAPTURE(kind.both);
        Preset p = dual_preset("tight");
        if (!kind.both) p.model.wavlm.clear();
        p.connector.kind = kind.name;
        p.connector.queries = 2;
        p.connector.dim = 12;
        p.connector.heads = 3;
        p.connector.ffn = 16;
        const System s = dual_system(p);
        const auto examples = mixed_examples(s);
        CHECK(examples[1].speech_rows(s.model->bridge()) == kind.rows);
        CHECK(examples[2].speech_rows(s.model->bridge()) == 0);
        const auto all = pointers(examples);
        const std::vector<std::string> together = results(*s.model, all);
        for (size_t i = 0; i < all.size(); ++i)
            CHECK(results(*s.model, std::span(all).subspan(i, 1)) == std::vector{together[i]});
        expect_gradients(s, examples);
    }
}

TEST_CASE("without WavLM by its preset value alone; a WavLM that the preset does not name is refused") {
    Preset p = dual_preset("tight");
    const System both = dual_system(p);
    p.model.wavlm.clear();
    const System one = dual_system(p);
    const auto names = [](const System& s) {
        std::string all;
        for (const Parameter& parameter : s.model->parameters()) all += parameter.name + "\n";
        return all;
    };
    CHECK(names(both).find("wavlm_encoder.output_weights") != std::string::npos);
    CHECK(names(both).find("wavlm_audio_proj.weight") != std::string::npos);
    CHECK(names(one).find("wavlm") == std::string::npos);
    CHECK(names(one).find("\naudio_proj.weight") != std::string::npos);
    const SpeechExample e = make_example(one, "", noise(16000), kPrompt, "so");
    CHECK(!e.acoustic.defined());
    CHECK_NOTHROW(results(*one.model, std::vector{&e}));
    CHECK_THROWS_WITH_AS(results(*both.model, std::vector{&e}), doctest::Contains("WavLM branch"), ShapeError);
    CHECK_THROWS_WITH_AS(build_system(p, both.encoder, both.llama, both.tokenizer, both.wavlm),
                         doctest::Contains("model.wavlm is \"\", but a WavLM"), UsageError);
    CHECK_THROWS_WITH_AS(make_example(both, "", noise(399), kPrompt), doctest::Contains("WavLM needs 400"), UsageError);
}

TEST_CASE("WavLM's hidden states through the cache: the same bits, and their own fingerprint") {
    const TempFolder folder;
    const System s = dual_system(dual_preset("tight"));
    Preset without = dual_preset("tight");
    without.model.wavlm.clear();
    CHECK(feature_fingerprint(s) != feature_fingerprint(dual_system(without)));
    const auto manifest = chirps(folder, 5);
    const FeatureCache cache(folder / "features", feature_fingerprint(s));
    EncodeSummary first, second;
    const auto plain = load(s, manifest, nullptr), put = load(s, manifest, &cache, &first),
               found = load(s, manifest, &cache, &second);
    CHECK(first.from_cache == 0);
    CHECK(second.from_cache == 5);
    CHECK(same(plain, put));
    CHECK(same(plain, found));
    int64_t bytes = 0;
    for (size_t i = 0; i < plain.size(); ++i) {
        CHECK(plain[i].acoustic_shape() == found[i].acoustic_shape());
        CHECK(plain[i].acoustic_shape()[0] == 3);
        CHECK(acoustic_of(plain[i]) == acoustic_of(found[i]));
        bytes += 2 * (plain[i].features.numel() + plain[i].acoustic.numel());
    }
    CHECK(second.cache_bytes == bytes);
    const SpeechBatch a = make_batch(pointers(plain), true), b = make_batch(pointers(found), true);
    CHECK(bytes_of(a.acoustic) == bytes_of(b.acoustic));
    CHECK(a.acoustic_borders.values() == b.acoustic_borders.values());
    CHECK(results(*s.model, pointers(plain)) == results(*s.model, pointers(found)));

    // a changed size
    std::fstream file(found[0].cached->file, std::ios::in | std::ios::out | std::ios::binary);
    const int64_t huge = int64_t{1} << 40;
    file.seekp(112);
    file.write(reinterpret_cast<const char*>(&huge), sizeof huge);
    file.close();
    CHECK_THROWS_WITH_AS(acoustic_of(found[0]), doctest::Contains("it was removed"), FileError);
}

TEST_CASE("both encoders: a row too short for WavLM is named") {
    const TempFolder folder;
    write_wav16(folder / "brief.wav", noise(300));
    const auto manifest =
        folder.write("brief.tsv", "id\taudio\tprompt\ttgt_text\twith_speech\nbrief\tbrief.wav\tWhat?\tnothing\ttrue\n");
    CHECK_THROWS_WITH_AS(load(dual_system(dual_preset("tight")), manifest, nullptr),
                         doctest::Contains("row \"brief\": 300 samples are too few"), FileError);
    CHECK_THROWS_WITH_AS(make_example(dual_system(dual_preset("tight")), "brief.wav", noise(300), "What?"),
                         doctest::Contains("brief.wav: a clip of 300 samples is too short"), UsageError);
}

TEST_CASE("both encoders on devices: features within a digit of bf16, losses and gradients within 1e-5 of the CPU") {
    const Preset preset = dual_preset("tight");
    const System cpu = dual_system(preset);
    std::vector<SpeechExample> examples{make_example(cpu, "a", noise(16000), kPrompt, "so it is"),
                                        make_example(cpu, "b", noise(9000, 2), "Say it.", "no")};
    examples[0].chunk_rows = {30, 20};  // as if Whisper had heard it in two chunks
    const SpeechBatch batch = make_batch(pointers(examples), true);
    const auto train = [&](const System& s) {
        std::vector<double> numbers;
        const Tensor loss = s.model->loss(batch, {}).loss;
        numbers.push_back(loss.item());
        backward(loss);
        for (const Parameter& p : s.model->parameters()) {
            double sum = 0;
            for (const double g : grad(p.tensor).values()) sum += g * g;
            numbers.push_back(std::sqrt(sum));
            zero_grad(p.tensor);
        }
        clear_tape();
        return numbers;
    };
    const std::vector<double> expected = train(cpu);
    for (const Device device : test_devices()) {
        CAPTURE(name(device));
        const DeviceScope scope(device);
        const System there = dual_system(preset);
        const SpeechExample e = make_example(there, "b", noise(9000, 2), "Say it.", "no");
        const std::vector<double> near = examples[1].acoustic.to(DType::f32).values(),
                                  found = e.acoustic.to(DType::f32).values();
        REQUIRE(near.size() == found.size());
        double worst = 0;
        for (size_t i = 0; i < near.size(); ++i) {
            const double off = std::abs(near[i] - found[i]) / (std::abs(near[i]) + 0.01);
            if (!(off <= worst)) worst = off;
        }
        CHECK(worst <= 1.0 / 128);
        const std::vector<double> numbers = train(there);
        REQUIRE(numbers.size() == expected.size());
        for (size_t i = 0; i < numbers.size(); ++i)
            CHECK(numbers[i] == doctest::Approx(expected[i]).epsilon(1e-5).scale(1e-2));
    }
}
