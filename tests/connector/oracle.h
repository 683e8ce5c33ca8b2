#pragma once
// Weights and features by formula, so that another program can have the same, and how the constants of
// connector_test.cpp were made of them: with transformers 4.46.3 (Blip2QFormerModel) and torch 2.5.1 in float64.

#include <cmath>

#include "models/checkpoint/checkpoint.h"
#include "models/parameter.h"
#include "tests/support/temp_folder.h"

namespace wavllm::tests {

/// The value of element i of a parameter.
inline float oracle_value(std::string_view name, int64_t i) {
    double offset = static_cast<double>(name.size());
    for (const char c : name) offset += c;
    const auto x = static_cast<double>(i);
    const double v = 0.4 * std::sin(1.3 * x + 0.7 * offset + 0.013 * x * x);
    const bool norm = name.find("LayerNorm.weight") != std::string_view::npos || name == "ln_speech.weight" ||
                      name == "ln_audio.weight" || name == "ln_post.weight";
    return static_cast<float>(norm ? 1 + 0.5 * v : v);
}

inline Tensor oracle_features(int64_t rows, int64_t channels, double phase) {
    std::vector<float> x;
    for (int64_t i = 0; i < rows * channels; ++i) {
        const auto t = static_cast<double>(i);
        x.push_back(static_cast<float>(2 * std::sin(0.37 * t + phase) + std::cos(0.7 * t + 0.011 * t * t)));
    }
    return Tensor::from(x, {rows, channels});
}

/// A safetensors file with these parameters' names and the formula's values. `more`: names with a number of elements.
inline std::filesystem::path oracle_file(const TempFolder& folder, const Parameters& like,
                                         const std::vector<std::pair<std::string, int64_t>>& more = {}) {
    std::vector<std::vector<float>> values;
    std::vector<TensorToStore> stored;
    const auto add = [&](const std::string& name, std::vector<int64_t> shape, int64_t n) {
        std::vector<float>& v = values.emplace_back();
        for (int64_t i = 0; i < n; ++i) v.push_back(oracle_value(name, i));
        stored.push_back({name, DType::f32, std::move(shape), std::as_bytes(std::span(v))});
    };
    values.reserve(like.size() + more.size());
    for (const Parameter& p : like) {
        std::vector<int64_t> shape;
        if (p.name == "speech_query_tokens") shape.push_back(1);  // as SALMONN's files have it
        for (int i = 0; i < p.tensor.rank(); ++i) shape.push_back(p.tensor.dim(i));
        add(p.name, shape, p.tensor.numel());
    }
    for (const auto& [name, n] : more) add(name, {n}, n);
    const std::filesystem::path file = folder / "oracle.safetensors";
    write_safetensors(file, stored);
    return file;
}

/// A number that most errors in a gradient change: sum of g[i] sin(0.9 i + 0.5).
inline double probe(const Tensor& gradient) {
    const std::vector<double> g = gradient.to(Device::cpu).values();
    double sum = 0;
    for (size_t i = 0; i < g.size(); ++i) sum += g[i] * std::sin(0.9 * static_cast<double>(i) + 0.5);
    return sum;
}

/// The gradient of the result that goes in: cos(i).
inline Tensor oracle_cotangent(const Shape& shape) {
    Tensor c = Tensor::empty(shape);
    for (int64_t i = 0; i < c.numel(); ++i) c.mutable_data<float>()[i] = static_cast<float>(std::cos(double(i)));
    return c;
}

}  // namespace wavllm::tests
