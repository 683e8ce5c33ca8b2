// The connectors of the comparison systems. Witnesses: transformers' Blip2QFormerModel with torch's unfold, LayerNorm and
// AvgPool1d in float64 (tests/connector/oracle.h; values and gradients), token counts of the papers, windows by hand; the
// CPU for devices; the same clips one by one for batches.

#include <doctest/doctest.h>

#include <map>

#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "models/adapter/speech_bridge.h"
#include "models/connector/windows.h"
#include "tensor/philox.h"
#include "tensor/thread_pool.h"
#include "tests/connector/oracle.h"
#include "tests/devices.h"
#include "tests/support/tiny_model.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

Tensor borders_of_lengths(std::vector<int64_t> lengths) {
    return kernels::make_borders(lengths);
}

Tensor noise(int64_t rows, int64_t channels, uint64_t seed) {
    const Philox rng(seed, "connector test", 0);
    Tensor x = Tensor::empty({rows, channels});
    for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<float>()[i] = rng.normal(static_cast<uint64_t>(i));
    return x;
}

void expect_near(const std::vector<double>& actual, const std::vector<double>& expected, double tolerance) {
    REQUIRE(actual.size() == expected.size());
    double largest = 0;
    for (double e : expected) largest = std::max(largest, std::abs(e));
    for (size_t i = 0; i < actual.size(); ++i) {
        CAPTURE(i);
        CHECK(std::abs(actual[i] - expected[i]) <= tolerance * largest);
    }
}

const QFormerConfig kOneQuery{.in = 10, .window = 4, .queries = 1, .dim = 24, .heads = 3, .ffn = 40, .out = 5};
const QFormerConfig kTwoEncoders{
    .in = 10, .acoustic_in = 6, .window = 4, .queries = 2, .dim = 24, .heads = 3, .ffn = 40, .out = 5};

/// With the formula's values, from a file. What BERT has besides is in the file, too: it must make no difference.
QFormer oracle_qformer(const QFormerConfig& config) {
    const TempFolder folder;
    Parameters like;
    QFormer(config, 1).append_parameters(like);
    std::vector<std::pair<std::string, int64_t>> more;
    for (int64_t i = 0; i < config.layers; ++i) {
        const std::string layer = fmt::format("speech_Qformer.bert.encoder.layer.{}.", i);
        more.emplace_back(layer + "crossattention.self.key.bias", config.dim);
        more.emplace_back(layer + "attention.self.key.bias", config.dim);
        if (config.queries > 1) continue;
        more.emplace_back(layer + "attention.self.key.weight", config.dim * config.dim);
        more.emplace_back(layer + "attention.self.query.weight", config.dim * config.dim);
        more.emplace_back(layer + "attention.self.query.bias", config.dim);
    }
    const auto file = open_checkpoint(oracle_file(folder, like, more));
    const Weights weights(*file);
    QFormer q = QFormer::load(weights, config);
    weights.finish();
    return q;
}

PooledConnector oracle_pooled(const PooledConfig& config) {
    const TempFolder folder;
    Parameters like;
    PooledConnector(config, 1).append_parameters(like);
    const auto file = open_checkpoint(oracle_file(folder, like));
    const Weights weights(*file);
    PooledConnector c = PooledConnector::load(weights, config);
    weights.finish();
    return c;
}

/// Bridges of a few thousand parameters.
BridgeConfig bridge_with(const std::string& kind) {
    BridgeConfig config;
    config.llm_dim = 32;
    config.output_norm = 0.5;
    if (kind == "qformer")
        config.qformer = QFormerConfig{.in = 24, .window = 5, .dim = 24, .heads = 3, .ffn = 40, .out = 32};
    else if (kind == "qformer, two encoders, three queries")
        config.qformer = QFormerConfig{
            .in = 24, .acoustic_in = 12, .window = 5, .queries = 3, .dim = 24, .heads = 3, .ffn = 40, .out = 32};
    else
        config.pooled = PooledConfig{.in = 24, .frames = 2, .out = 32};
    config.acoustic_layers = 3;
    return config;
}
const std::vector<std::string> kKinds = {"qformer", "qformer, two encoders, three queries", "pooled"};

struct Heard {
    std::vector<std::string> rows;  ///< of each clip
    std::vector<std::string> gradients;
};

/// Clips through a bridge in batches of `each`; gradients of all of them together.
Heard hear(const SpeechBridge& bridge, bool acoustic, const std::vector<int64_t>& lengths, size_t each) {
    for (const Parameter& p : bridge.parameters()) zero_grad(p.tensor);
    Heard heard;
    for (size_t first = 0; first < lengths.size(); first += each) {
        const size_t last = std::min(first + each, lengths.size());
        std::vector<Tensor> clips, hidden;
        std::vector<int64_t> n, n2;
        for (size_t i = first; i < last; ++i) {
            n.push_back(lengths[i]);
            n2.push_back(lengths[i] + (i % 2 ? 2 : -1));
            clips.push_back(noise(n.back(), 24, i));
            hidden.push_back(noise(3 * n2.back(), 12, 100 + i).reshape({3, n2.back(), 12}));
        }
        // [T, C] clips, or [layers, T, C] hidden states, end to end along T
        const auto end_to_end = [&](const std::vector<Tensor>& parts, int64_t layers) {
            const int64_t channels = parts[0].shape().last();
            std::vector<float> all;
            for (int64_t layer = 0; layer < layers; ++layer)
                for (const Tensor& t : parts) {
                    const int64_t each_layer = t.numel() / layers;
                    all.insert(all.end(), t.data<float>() + layer * each_layer,
                               t.data<float>() + (layer + 1) * each_layer);
                }
            const int64_t rows = std::ssize(all) / layers / channels;
            return Tensor::from(all, layers == 1 ? Shape{rows, channels} : Shape{layers, rows, channels})
                .to(model_device());
        };
        Tensor borders = borders_of_lengths(n);
        const Tensor y = bridge.forward(end_to_end(clips, 1), borders, acoustic ? end_to_end(hidden, 3) : Tensor(),
                                        acoustic ? borders_of_lengths(n2) : Tensor());
        const auto b = kernels::borders_of("test", borders, y.dim(0));
        const Tensor on_cpu = y.detach().to(Device::cpu);
        for (size_t i = 0; i + 1 < b.size(); ++i) {
            if (!acoustic) CHECK(b[i + 1] - b[i] == bridge.rows(n[i]));
            heard.rows.push_back(bytes_of(on_cpu.slice(0, b[i], b[i + 1])));
        }
        Tensor cotangent = Tensor::empty(y.shape());
        for (int64_t r = 0, clip = 0; r < y.dim(0); ++r) {  // that of a row depends on its clip alone
            while (r >= b[static_cast<size_t>(clip) + 1]) ++clip;
            for (int64_t c = 0; c < y.dim(1); ++c)
                cotangent.mutable_data<float>()[r * y.dim(1) + c] = static_cast<float>(std::cos(
                    double(r - b[static_cast<size_t>(clip)]) + 0.3 * double(c) + double(first) + double(clip)));
        }
        backward(y, cotangent.to(y.device()));
    }
    for (const Parameter& p : bridge.parameters())
        heard.gradients.push_back(bytes_of(grad(p.tensor).detach().to(Device::cpu)));
    return heard;
}

std::vector<double> numbers(const std::string& bytes) {
    std::vector<double> result;
    for (size_t i = 0; i < bytes.size(); i += sizeof(float)) {
        float f = 0;
        std::memcpy(&f, bytes.data() + i, sizeof f);
        result.push_back(f);
    }
    return result;
}

const std::vector<int64_t> kLengths = {40, 3, 17, 6, 91};

}  // namespace

TEST_CASE("windows: as many as the papers say, and none for no frames") {
    CHECK(window_count(1500, 17) == 88);  // SALMONN: 88 tokens for 30 s
    CHECK(window_count(1500, 2) == 750);  // Qwen-Audio: 25 a second
    CHECK(window_count(0, 17) == 0);
    CHECK(window_count(1, 17) == 1);
    CHECK(window_count(25, 17) == 1);
    CHECK(window_count(26, 17) == 2);
    CHECK(window_count(1499, 2) == 750);
    for (int64_t t = 0; t < 9; ++t) CHECK(window_count(t, 1) == t);
    const SpeechBridge salmonn(BridgeConfig{.llm_dim = 576, .qformer = QFormerConfig{.ffn = 8, .layers = 1}}, 1);
    CHECK(salmonn.rows(1500) == 88);
    const SpeechBridge qwen(BridgeConfig{.llm_dim = 576, .pooled = PooledConfig{}}, 1);
    CHECK(qwen.rows(1500) == 750);
    CHECK(SpeechBridge().rows(1500) == 375);
}

TEST_CASE("windows: sequences of 5, 0, 4, 1 and 11 frames in windows of 4") {
    const Windows w = cut_windows(borders_of_lengths({5, 0, 4, 1, 11}), 4);
    CHECK(w.owners.values() == std::vector<double>{0, 1, 1, 2, 3, 6});
    CHECK(w.borders.values() == std::vector<double>{0, 4, 8, 9, 13, 17, 20});
    REQUIRE(w.frames.defined());
    CHECK(w.frames.values() ==
          std::vector<double>{0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20});
    CHECK(!cut_windows(borders_of_lengths({8, 6}), 4).frames.defined());
    CHECK_THROWS_AS(cut_windows(borders_of_lengths({8}), 0), ShapeError);
}

TEST_CASE("qformer: the values of a BLIP-2 Q-Former in float64") {
    SUBCASE("one query a window, 13 frames: the last is in no window") {
        Tensor borders = borders_of_lengths({13});
        const Tensor y = oracle_qformer(kOneQuery).forward(oracle_features(13, 10, 0.1), borders);
        CHECK(borders.values() == std::vector<double>{0, 3});
        CHECK(y.shape() == Shape{3, 5});
        expect_near(
            y.values(),
            {0.489477881, -3.26246198, -0.779427548, -0.0306217358, 1.65283327, -2.70681264, 1.27655799, -1.11495243,
             -0.0236299679, 0.862458033, -1.26745853, 0.387225878, -0.313389328, -0.28753224, 3.15070283},
            1e-5);
    }
    SUBCASE("two queries, two encoders of 9 and 8 frames") {
        Tensor borders = borders_of_lengths({9});
        const Tensor y =
            oracle_qformer(kTwoEncoders)
                .forward(oracle_features(9, 10, 0.1), borders, oracle_features(8, 6, 0.9), borders_of_lengths({8}));
        CHECK(borders.values() == std::vector<double>{0, 4});
        expect_near(y.values(),
                    {-3.63323252,  1.14855059,  -1.5457097,   0.235588499, -0.666344911, -3.88845587,  1.47779547,
                     -1.15418473,  0.421503819, -0.216534132, -3.02232482, -0.466421232, -0.683706644, -0.117040713,
                     -0.233201498, -2.62740885, -0.889279712, 0.880821477, 0.0579965859, 1.1846116},
                    1e-5);
    }
}

TEST_CASE("qformer: every gradient agrees with torch's in float64") {
    const std::string kBert = "speech_Qformer.bert.", kLayer = kBert + "encoder.layer.0.";
    const std::map<std::string, double> expected = {
        {kBert + "embeddings.LayerNorm.weight", -0.344402093},
        {kBert + "embeddings.LayerNorm.bias", 4.23964244},
        {kLayer + "attention.self.query.weight", 0.862761861},
        {kLayer + "attention.self.query.bias", -0.243472247},
        {kLayer + "attention.self.key.weight", 0.269902746},
        {kLayer + "attention.self.value.weight", -0.208995902},
        {kLayer + "attention.self.value.bias", 4.47795576},
        {kLayer + "attention.output.dense.weight", -8.02674173},
        {kLayer + "attention.output.dense.bias", 2.79945055},
        {kLayer + "attention.output.LayerNorm.weight", -1.83981499},
        {kLayer + "attention.output.LayerNorm.bias", 5.67693942},
        {kLayer + "crossattention.self.query.weight", -16.7484368},
        {kLayer + "crossattention.self.query.bias", -0.205717084},
        {kLayer + "crossattention.self.key.weight", 3.19728908},
        {kLayer + "crossattention.self.value.weight", 9.10345043},
        {kLayer + "crossattention.self.value.bias", -1.6635035},
        {kLayer + "crossattention.output.dense.weight", 7.88535348},
        {kLayer + "crossattention.output.dense.bias", 1.40734097},
        {kLayer + "crossattention.output.LayerNorm.weight", 7.46023775},
        {kLayer + "crossattention.output.LayerNorm.bias", 2.55279378},
        {kLayer + "intermediate_query.dense.weight", -8.19151306},
        {kLayer + "intermediate_query.dense.bias", 1.78757769},
        {kLayer + "output_query.dense.weight", -3.75224089},
        {kLayer + "output_query.dense.bias", 0.568917402},
        {kLayer + "output_query.LayerNorm.weight", 2.70684927},
        {kLayer + "output_query.LayerNorm.bias", -0.075172008},
        {"semantic", 2.46072038},
        {"acoustic", -1.58997664},
        {"ln_speech.weight", 3.96891754},
        {"ln_speech.bias", 0.26660319},
        {"ln_audio.weight", 1.00645197},
        {"ln_audio.bias", 1.2525958},
        {"speech_query_tokens", -3.78021726},
        {"speech_llama_proj.weight", 1.75882083},
        {"speech_llama_proj.bias", 1.39841411},
    };
    QFormerConfig config = kTwoEncoders;
    config.layers = 1;
    const QFormer qformer = oracle_qformer(config);
    Tensor x = oracle_features(9, 10, 0.1), x2 = oracle_features(8, 6, 0.9), borders = borders_of_lengths({9});
    set_requires_grad(x);
    set_requires_grad(x2);
    const Tensor y = qformer.forward(x, borders, x2, borders_of_lengths({8}));
    backward(y, oracle_cotangent(y.shape()));
    Parameters parameters;
    qformer.append_parameters(parameters);
    parameters.push_back({"semantic", x, ""});
    parameters.push_back({"acoustic", x2, ""});
    CHECK(parameters.size() == expected.size());
    for (const Parameter& p : parameters) {
        CAPTURE(p.name);
        REQUIRE(expected.contains(p.name));
        CHECK(std::abs(probe(grad(p.tensor)) - expected.at(p.name)) <= 1e-4 * (1 + std::abs(expected.at(p.name))));
    }
}

TEST_CASE("pooled: values and gradients of torch's AvgPool1d, LayerNorm and Linear in float64") {
    const PooledConnector connector = oracle_pooled({.in = 6, .frames = 2, .out = 4});
    Tensor x = oracle_features(9, 6, 0.1), borders = borders_of_lengths({9});
    set_requires_grad(x);
    const Tensor y = connector.forward(x, borders);
    CHECK(borders.values() == std::vector<double>{0, 5});
    expect_near(y.values(),
                {0.401441402,  -0.346919063, 0.261474066,  0.658577485,  -0.0971009686, -1.02069823,  1.02336834,
                 -0.223166786, 0.0876344382, 0.803569191,  -0.155974295, -0.742656928,  -0.178959932, 0.297947582,
                 -0.408665848, 1.15468267,   -0.277255457, -0.463368021, 1.00363939,    -1.00796503},
                1e-5);
    backward(y, oracle_cotangent(y.shape()));
    const std::map<std::string, double> expected = {{"semantic", 1.55271552},
                                                    {"ln_post.weight", 3.04289063},
                                                    {"ln_post.bias", -0.0337532962},
                                                    {"proj.weight", 38.59701},
                                                    {"proj.bias", 0.953423394}};
    Parameters parameters;
    connector.append_parameters(parameters);
    parameters.push_back({"semantic", x, ""});
    CHECK(parameters.size() == expected.size());
    for (const Parameter& p : parameters) {
        CAPTURE(p.name);
        REQUIRE(expected.contains(p.name));
        CHECK(std::abs(probe(grad(p.tensor)) - expected.at(p.name)) <= 1e-4 * (1 + std::abs(expected.at(p.name))));
    }
}

TEST_CASE("connectors: a batch of mixed lengths equals its clips one by one, bit for bit, for any number of threads") {
    const int before = num_threads();
    for (const std::string& kind : kKinds) {
        CAPTURE(kind);
        const SpeechBridge bridge(bridge_with(kind), 3);
        const bool acoustic = kind.find("two encoders") != std::string::npos;
        set_num_threads(1);
        const Heard alone = hear(bridge, acoustic, kLengths, 1);
        for (int threads : {1, 3})
            for (size_t each : {size_t{2}, kLengths.size()}) {
                set_num_threads(threads);
                const Heard together = hear(bridge, acoustic, kLengths, each);
                CHECK(together.rows == alone.rows);
                CHECK(together.gradients == alone.gradients);
            }
    }
    set_num_threads(before);
}

TEST_CASE("connectors: a clip's chunks are cut in windows one by one, with WavLM beside them the clip as a whole") {
    const NoGrad no_grad;
    const Tensor x = noise(23, 24, 1), hidden = noise(63, 12, 2).reshape({3, 21, 12}),
                 clips = borders_of_lengths({2, 1});
    const std::vector<int64_t> first{10, 7}, second{6};
    const std::map<std::string, std::vector<double>> expected = {
        {kKinds[0], {0, 3, 4}},    // windows of 5: 2 and 1, 1
        {kKinds[1], {0, 9, 12}},   // 16 and 5 frames: 3 and 1, three queries in each
        {kKinds[2], {0, 9, 12}}};  // pairs: 5 and 4, 3
    for (const std::string& kind : kKinds) {
        CAPTURE(kind);
        const SpeechBridge bridge(bridge_with(kind), 3);
        const bool both = kind == kKinds[1];
        const Tensor acoustic = both ? hidden : Tensor(),
                     acoustic_borders = both ? borders_of_lengths({16, 5}) : Tensor();
        Tensor borders = borders_of_lengths({10, 7, 6}), same = borders_of_lengths({10, 7, 6});
        if (both) same = borders_of_lengths({17, 6});
        const Tensor y = bridge.forward(x, borders, acoustic, acoustic_borders, nullptr, clips);
        CHECK(bytes_of(y) == bytes_of(bridge.forward(x, same, acoustic, acoustic_borders)));
        CHECK(borders.values() == expected.at(kind));
        CHECK(static_cast<double>(y.dim(0)) == expected.at(kind)[2]);
        CHECK(static_cast<double>(bridge.rows(first, both ? 16 : 0)) == expected.at(kind)[1]);
        CHECK(static_cast<double>(bridge.rows(second, both ? 5 : 0)) == expected.at(kind)[2] - expected.at(kind)[1]);
    }
}

TEST_CASE("connectors: devices give the values and gradients of the CPU, and the same bits again") {
    for (const std::string& kind : kKinds) {
        CAPTURE(kind);
        const bool acoustic = kind.find("two encoders") != std::string::npos;
        const Heard cpu = hear(SpeechBridge(bridge_with(kind), 3), acoustic, {12, 3, 9}, 3);
        for (const Device device : test_devices()) {
            const DeviceScope scope(device);
            const SpeechBridge bridge(bridge_with(kind), 3);
            const Heard there = hear(bridge, acoustic, {12, 3, 9}, 3), again = hear(bridge, acoustic, {12, 3, 9}, 3);
            CHECK(there.rows == again.rows);
            CHECK(there.gradients == again.gradients);
            REQUIRE(there.gradients.size() == cpu.gradients.size());
            for (size_t i = 0; i < cpu.rows.size(); ++i)
                expect_near(numbers(there.rows[i]), numbers(cpu.rows[i]), 1e-5);
            for (size_t i = 0; i < cpu.gradients.size(); ++i) {
                CAPTURE(bridge.parameters()[i].name);
                expect_near(numbers(there.gradients[i]), numbers(cpu.gradients[i]), 1e-4);
            }
        }
    }
}

TEST_CASE("connectors: what does not fit is an error that says so") {
    CHECK_THROWS_WITH_AS(QFormer({.dim = 24, .heads = 5}, 1), doctest::Contains("5 heads"), ShapeError);
    CHECK_THROWS_WITH_AS(PooledConnector({.frames = 0}, 1), doctest::Contains("the mean of 0 frames"), ShapeError);
    Tensor borders = borders_of_lengths({6});
    const Tensor x = noise(6, 24, 1), hidden = noise(18, 12, 2).reshape({3, 6, 12});
    CHECK_THROWS_WITH_AS(SpeechBridge(bridge_with(kKinds[1]), 3).forward(x, borders),
                         doctest::Contains("no hidden states"), ShapeError);
    for (const char* kind : {"qformer", "pooled"})
        CHECK_THROWS_WITH_AS(SpeechBridge(bridge_with(kind), 3).forward(x, borders, hidden, borders),
                             doctest::Contains("hears Whisper alone"), ShapeError);
    CHECK_THROWS_WITH_AS(join_frames(x, borders, x, borders_of_lengths({3, 3})), doctest::Contains("2 of the other"),
                         ShapeError);
    clear_tape();
}
