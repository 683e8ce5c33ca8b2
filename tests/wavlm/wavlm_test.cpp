// WavLM: base and large against transformers, values and gradients; chunks, batches, threads, devices, memory, errors.
// Witnesses: transformers' WavLMModel in float64 (oracle.h), and the same computation done another way.

#include <doctest/doctest.h>

#include <cstring>
#include <numeric>

#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "models/checkpoint/checkpoint.h"
#include "tensor/allocator.h"
#include "tensor/thread_pool.h"
#include "tests/devices.h"
#include "tests/support/temp_folder.h"
#include "tests/wavlm/oracle.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

bool same_bits(const Tensor& a, const Tensor& b) {
    const Tensor x = a.to_contiguous().to(Device::cpu), y = b.to_contiguous().to(Device::cpu);
    return x.shape() == y.shape() && std::memcmp(x.raw(), y.raw(), x.bytes()) == 0;
}

double difference(const Tensor& a, const Tensor& b) {
    const std::vector<double> x = a.to_contiguous().to(Device::cpu).values(),
                              y = b.to_contiguous().to(Device::cpu).values();
    REQUIRE(x.size() == y.size());
    double worst = 0, scale = 1e-3;
    for (const double v : y) scale = std::max(scale, std::abs(v));
    for (size_t i = 0; i < x.size(); ++i)
        if (const double error = std::abs(x[i] - y[i]) / scale; !(error <= worst)) worst = error;  // NaN stays
    return worst;
}

Tensor borders_of(const std::vector<int64_t>& lengths) {
    return kernels::make_borders(lengths);
}

/// The oracle's encoder as it comes back from a file.
class Stored {
public:
    explicit Stored(bool large) : config_(oracle_config(large)) {
        const WavlmEncoder encoder = oracle_encoder(large);
        std::vector<TensorToStore> tensors;
        for (const Parameter& p : encoder.parameters())
            tensors.push_back({p.name,
                               DType::f32,
                               {p.tensor.shape().begin(), p.tensor.shape().end()},
                               {static_cast<const std::byte*>(p.tensor.raw()), p.tensor.bytes()}});
        write_safetensors(folder_ / "wavlm.safetensors", tensors);
    }
    WavlmEncoder frozen(DType panels = DType::f32) const {
        const auto checkpoint = open_checkpoint(folder_ / "wavlm.safetensors");
        const Weights weights(*checkpoint);
        WavlmEncoder e = WavlmEncoder::load(weights, config_, panels);
        weights.finish();
        return e;
    }
    WavlmEncoder trainable() const {
        const auto checkpoint = open_checkpoint(folder_ / "wavlm.safetensors");
        const Weights weights(*checkpoint);
        WavlmEncoder e = WavlmEncoder::load_trainable(weights, config_);
        weights.finish();
        return e;
    }

private:
    TempFolder folder_;
    WavlmConfig config_;
};

void expect_hidden(const Tensor& hidden, const double (&expected)[3][4]) {
    REQUIRE(hidden.shape().str() == Shape({3, 37, 24}).str());
    for (int64_t i = 0; i < 3; ++i) {
        CAPTURE(i);
        const std::vector<double> h = hidden.select(0, i).to_contiguous().values();
        const double actual[] = {
            std::accumulate(h.begin(), h.end(), 0.0, [](double sum, double v) { return sum + std::abs(v); }), h[0],
            h[17 * 24 + 5], h.back()};
        for (size_t k = 0; k < 4; ++k)
            CHECK(actual[k] == doctest::Approx(expected[i][k]).epsilon(k == 0 ? 1e-5 : 1e-4));
    }
}

void expect_gradients(const WavlmEncoder& encoder, std::span<const OracleGradient> expected) {
    const Tensor samples = tone(kOracleSamples), borders = borders_of({kOracleSamples});
    const Tensor y =
        encoder.encode(encoder.project(encoder.features(samples, borders)), encoder.frame_borders(borders));
    Tensor dy = Tensor::empty(y.shape());
    for (int64_t i = 0; i < dy.numel(); ++i)
        dy.mutable_data<float>()[i] = static_cast<float>(std::cos(static_cast<double>(i)));
    backward(y, dy);
    for (const OracleGradient& e : expected) {
        CAPTURE(e.name);
        const auto p = std::find_if(encoder.parameters().begin(), encoder.parameters().end(),
                                    [&](const Parameter& q) { return q.name == e.name; });
        REQUIRE(p != encoder.parameters().end());
        REQUIRE(grad(p->tensor).defined());
        double squares = 0, sum = 0, k = 0;
        for (const double g : grad(p->tensor).values()) {
            squares += g * g;
            sum += g * std::cos(++k);
        }
        CHECK(std::sqrt(squares) == doctest::Approx(e.length).epsilon(1e-4));
        CHECK(std::abs(sum - e.sum) <= 2e-4 * e.length);
    }
    for (const Parameter& p : encoder.parameters())
        CHECK_MESSAGE(grad(p.tensor).defined() == (p.name != "masked_spec_embed"), p.name);
}

}  // namespace

TEST_CASE("wavlm: base and large agree with transformers, trainable and frozen") {
    for (const bool large : {false, true}) {
        CAPTURE(large);
        const auto& expected = large ? kHiddenLarge : kHiddenBase;
        const Tensor samples = tone(kOracleSamples), borders = borders_of({kOracleSamples});
        const Stored stored(large);
        expect_hidden(oracle_encoder(large).forward(samples, borders), expected);
        expect_hidden(stored.trainable().forward(samples, borders), expected);
        expect_hidden(stored.frozen().forward(samples, borders), expected);
        // 8 bits of precision in every product, through 9 layers of which some amplify
        CHECK(difference(stored.frozen(DType::bf16).forward(samples, borders).select(0, 2),
                         stored.frozen().forward(samples, borders).select(0, 2)) < 0.1);
    }
}

TEST_CASE("wavlm: gradients of all parameters agree with transformers") {
    expect_gradients(oracle_encoder(false), kGradientsBase);
    expect_gradients(oracle_encoder(true), kGradientsLarge);
}

TEST_CASE("wavlm: a clip has the same bits alone and in a batch, with 1 thread and with 3") {
    const int before = num_threads();
    const std::vector<int64_t> lengths{400, 12000, 719, 50021, 16001};
    const int64_t total = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
    const Tensor samples = tone(total), borders = borders_of(lengths);
    for (const bool large : {false, true}) {
        const Stored stored(large);
        for (const WavlmEncoder& encoder : {stored.frozen(), stored.frozen(DType::bf16), stored.trainable()}) {
            set_num_threads(3);
            const Tensor all = encoder.forward(samples, borders), frames = encoder.frame_borders(borders);
            CHECK(frames.values() == std::vector<double>{0, 1, 38, 39, 195, 244});
            set_num_threads(1);
            int64_t at = 0;
            for (size_t i = 0; i < lengths.size(); ++i) {
                CAPTURE(i);
                const Tensor alone = encoder.forward(samples.slice(0, at, at + lengths[i]), borders_of({lengths[i]}));
                const int64_t* f = frames.data<int64_t>();
                CHECK(same_bits(alone, all.slice(1, f[i], f[i + 1])));
                at += lengths[i];
            }
        }
    }
    set_num_threads(before);
}

TEST_CASE("wavlm: the front end gives the same bits in chunks and whole") {
    for (const bool large : {false, true}) {
        const WavlmEncoder encoder = Stored(large).frozen();
        for (const int64_t samples : {400, 719, 128 * 320 + 79, 128 * 320 + 80, 128 * 320 + 400, 300 * 320 + 123}) {
            CAPTURE(samples);
            const Tensor x = tone(samples), borders = borders_of({samples});
            const Observer whole = [](const std::string&, const Tensor&) {};
            const Tensor features = encoder.features(x, borders);
            CHECK(features.dim(0) == encoder.config().frames(samples));
            CHECK(same_bits(features, encoder.features(x, borders, &whole)));
        }
    }
}

TEST_CASE("wavlm: memory of the front end does not grow with the clip, that of the layers not with its square") {
    const WavlmEncoder encoder = Stored(false).frozen();
    const auto peak = [&](int64_t seconds) {
        const Tensor x = tone(seconds * 16000), borders = borders_of({seconds * 16000});
        memory::reset_peaks();
        const size_t before = memory::total().peak;
        encoder.forward(x, borders);
        return memory::total().peak - before;
    };
    const size_t of_20 = peak(20), of_80 = peak(80);
    CHECK(of_20 >= 3 * 999 * 24 * sizeof(float));            // the result is counted, so the account works
    CHECK(of_80 < 4 * of_20);                                // a share does not grow
    CHECK(of_80 < size_t{80} * 3200 * 8 * sizeof(float));    // the first convolution alone, whole
    CHECK(of_80 < size_t{3999} * 3999 * sizeof(float) / 8);  // the scores of one head are 64 MB
}

TEST_CASE("wavlm: silence and a constant offset stay finite") {
    const WavlmEncoder encoder = Stored(false).frozen();
    for (const double value : {0.0, 0.1, 1.0}) {
        for (const double v : encoder.forward(Tensor::full({8000}, value), borders_of({8000})).values())
            REQUIRE(std::isfinite(v));
    }
}

TEST_CASE("device: WavLM gives what it gives on the cpu, and gradients") {
    const Tensor samples = tone(9000), borders = borders_of({3000, 0 + 6000});
    for (const bool large : {false, true}) {
        const Stored stored(large);
        const auto gradients = [&](const WavlmEncoder& e) {
            const Tensor y = e.encode(e.project(e.features(samples, borders)), e.frame_borders(borders));
            backward(y, Tensor::full(y.shape(), 0.3).to(y.device()));
            std::vector<Tensor> result;
            for (const Parameter& p : e.parameters())
                if (grad(p.tensor).defined()) result.push_back(grad(p.tensor).to(Device::cpu));
            return result;
        };
        const Tensor here = stored.frozen().forward(samples, borders);
        const std::vector<Tensor> expected = gradients(stored.trainable());
        for (const Device device : test_devices()) {
            const DeviceScope scope(device);
            const WavlmEncoder there = stored.frozen();
            CHECK(there.device() == device);
            CHECK(difference(there.forward(samples, borders), here) < 1e-5);
            const std::vector<Tensor> actual = gradients(stored.trainable());
            REQUIRE(actual.size() == expected.size());
            for (size_t i = 0; i < actual.size(); ++i) {
                CAPTURE(i);
                // k_proj.bias has a gradient of 0, of which rounding leaves something
                double largest = 0;
                for (const double v : expected[i].values()) largest = std::max(largest, std::abs(v));
                if (largest > 1e-3) CHECK(difference(actual[i], expected[i]) < 2e-4);
            }
        }
    }
}

TEST_CASE("wavlm: fingerprints tell encoders apart") {
    const Stored base(false), large(true);
    CHECK(base.frozen().fingerprint() == base.frozen().fingerprint());
    CHECK(base.frozen().fingerprint() != base.frozen(DType::bf16).fingerprint());
    CHECK(base.frozen().fingerprint() != large.frozen().fingerprint());
    CHECK(base.frozen().fingerprint() == base.trainable().frozen().fingerprint());
    CHECK(large.frozen(DType::bf16).fingerprint() == large.trainable().frozen(DType::bf16).fingerprint());
    CHECK(WavlmEncoder(oracle_config(false), 1).fingerprint() != WavlmEncoder(oracle_config(false), 2).fingerprint());
}

TEST_CASE("wavlm: sizes and relative positions") {
    const WavlmConfig c;
    CHECK(c.window() == 400);
    CHECK(c.hop() == 320);
    CHECK(c.frames(399) == 0);
    CHECK(c.frames(400) == 1);
    CHECK(c.frames(34560) == 107);
    CHECK(c.frames(487360) == 1522);
    CHECK(WavlmConfig::large().head_dim() == 64);
    CHECK(relative_position_bucket(0, 320, 800) == 0);
    CHECK(relative_position_bucket(-79, 320, 800) == 79);
    CHECK(relative_position_bucket(1, 320, 800) == 161);
    CHECK(relative_position_bucket(800, 320, 800) == 319);
    CHECK(relative_position_bucket(-100000, 320, 800) == 159);
}

TEST_CASE("wavlm: what does not fit is refused by name") {
    const auto message = [](auto&& call) -> std::string {
        try {
            call();
        } catch (const Error& e) {
            return e.what();
        }
        return "";
    };
    const WavlmEncoder encoder = Stored(false).frozen();
    CHECK(message([&] {
              encoder.forward(tone(1399), borders_of({1000, 399}));
          }).find("clip 1 has 399 samples") != std::string::npos);
    CHECK(message([&] {
              encoder.encode(Tensor::zeros({3, 24}), borders_of({3}), 3);
          }).find("layer 3") != std::string::npos);
    const auto config = [&](const char* text) {
        return message([&] { wavlm_config(nlohmann::json::parse(text), "config.json"); });
    };
    CHECK(config(R"({"hidden_size": 768, "num_hidden_layers": 12})").empty());
    CHECK(config(R"({"num_hidden_layers": 12})").find("hidden_size") != std::string::npos);
    CHECK(config(R"({"hidden_size": 770, "num_hidden_layers": 12})").find("does not divide") != std::string::npos);
    CHECK(config(R"({"hidden_size": "a", "num_hidden_layers": 12})").find("hidden_size") != std::string::npos);
    CHECK(config(R"({"hidden_size": 768, "num_hidden_layers": 12, "hidden_act": "relu"})").find("hidden_act") !=
          std::string::npos);
    CHECK(config(R"({"hidden_size": 768, "num_hidden_layers": 12, "model_type": "hubert"})").find("model_type") !=
          std::string::npos);
}
