#include "models/wavlm/config.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/error.h"

namespace wavllm {

int64_t WavlmConfig::frames(int64_t samples) const {
    int64_t n = samples;
    for (size_t i = 0; i < conv_kernel.size(); ++i)
        n = n < conv_kernel[i] ? 0 : (n - conv_kernel[i]) / conv_stride[i] + 1;
    return n;
}

int64_t WavlmConfig::window() const {
    int64_t n = 1;
    for (size_t i = conv_kernel.size(); i-- > 0;) n = (n - 1) * conv_stride[i] + conv_kernel[i];
    return n;
}

int64_t WavlmConfig::hop() const {
    return std::accumulate(conv_stride.begin(), conv_stride.end(), int64_t{1}, std::multiplies<>());
}

void WavlmConfig::check() const {
    const auto in_range = [](const char* name, int64_t v, int64_t least, int64_t most = int64_t{1} << 20) {
        if (v < least || v > most) throw UsageError("wavlm: {} = {} is out of range ({} to {})", name, v, least, most);
    };
    in_range("dim", dim, 1);
    in_range("layers", layers, 1, 1000);
    in_range("heads", heads, 1);
    in_range("ffn", ffn, 1);
    in_range("number of convolutions", static_cast<int64_t>(conv_dim.size()), 1, 16);
    if (conv_kernel.size() != conv_dim.size() || conv_stride.size() != conv_dim.size())
        throw UsageError("wavlm: conv_dim has {} values, conv_kernel {} and conv_stride {}; they must be as many",
                         conv_dim.size(), conv_kernel.size(), conv_stride.size());
    int64_t hop = 1;
    for (size_t i = 0; i < conv_dim.size(); ++i) {
        in_range("conv_dim", conv_dim[i], 1);
        in_range("conv_kernel", conv_kernel[i], 1, 1000);
        in_range("conv_stride", conv_stride[i], 1, 100);
        in_range("product of conv_stride", hop *= conv_stride[i], 1);
    }
    in_range("position_kernel", position_kernel, 1, 10000);
    in_range("position_groups", position_groups, 1);
    in_range("buckets", buckets, 4);
    in_range("max_distance", max_distance, buckets / 4 + 1);
    if (dim % heads != 0) throw UsageError("wavlm: dim {} does not divide into {} heads", dim, heads);
    if (dim % position_groups != 0)
        throw UsageError("wavlm: dim {} does not divide into {} position_groups", dim, position_groups);
    if (!(norm_eps > 0)) throw UsageError("wavlm: norm_eps = {} must be positive", norm_eps);
}

WavlmConfig WavlmConfig::large() {
    WavlmConfig c;
    c.dim = 1024;
    c.layers = 24;
    c.heads = 16;
    c.ffn = 4096;
    c.conv_layer_norm = c.pre_norm = true;
    return c;
}

WavlmConfig WavlmConfig::micro() {
    WavlmConfig c;
    c.dim = 128;
    c.layers = 4;
    c.heads = 4;
    c.ffn = 512;
    c.conv_dim.assign(7, 64);
    return c;
}

WavlmConfig WavlmConfig::small() {
    WavlmConfig c;
    c.dim = 256;
    c.layers = 6;
    c.heads = 4;
    c.ffn = 1024;
    c.conv_dim.assign(7, 128);
    return c;
}

nlohmann::ordered_json config_json(const WavlmConfig& c) {
    return {{"architectures", {"WavLMModel"}},
            {"model_type", "wavlm"},
            {"hidden_size", c.dim},
            {"num_hidden_layers", c.layers},
            {"num_attention_heads", c.heads},
            {"intermediate_size", c.ffn},
            {"hidden_act", "gelu"},
            {"conv_dim", c.conv_dim},
            {"conv_kernel", c.conv_kernel},
            {"conv_stride", c.conv_stride},
            {"conv_bias", c.conv_bias},
            {"feat_extract_norm", c.conv_layer_norm ? "layer" : "group"},
            {"num_feat_extract_layers", c.conv_dim.size()},
            {"do_stable_layer_norm", c.pre_norm},
            {"num_conv_pos_embeddings", c.position_kernel},
            {"num_conv_pos_embedding_groups", c.position_groups},
            {"num_buckets", c.buckets},
            {"max_bucket_distance", c.max_distance},
            {"layer_norm_eps", std::stod(fmt::format("{}", c.norm_eps))}};  // 1e-05, not the float's 9.99e-06
}

WavlmConfig wavlm_config(const nlohmann::json& values, const std::string& file) {
    const auto get = [&](const char* key, auto& value) {
        const auto it = values.find(key);
        if (it == values.end()) return;
        try {
            it->get_to(value);
        } catch (const nlohmann::json::exception&) {
            throw FileError("{}: its \"{}\" is {}, which is no such value", file, key, it->dump());
        }
    };
    // What would compute something else. Absent keys have their default, which is that of WavLM-base.
    const auto expect = [&](const char* key, const nlohmann::json& supported) {
        if (const auto it = values.find(key); it != values.end() && *it != supported)
            throw FileError("{}: its \"{}\" is {}, but only {} is supported", file, key, it->dump(), supported.dump());
    };
    for (const char* key : {"hidden_size", "num_hidden_layers"})
        if (!values.contains(key)) throw FileError("{}: it has no \"{}\"; is it a WavLM's?", file, key);
    expect("model_type", "wavlm");
    expect("hidden_act", "gelu");
    expect("feat_extract_activation", "gelu");
    expect("add_adapter", false);
    WavlmConfig c;
    std::string conv_norm = "group";
    get("hidden_size", c.dim);
    get("num_hidden_layers", c.layers);
    get("num_attention_heads", c.heads);
    get("intermediate_size", c.ffn);
    get("conv_dim", c.conv_dim);
    get("conv_kernel", c.conv_kernel);
    get("conv_stride", c.conv_stride);
    get("conv_bias", c.conv_bias);
    get("feat_extract_norm", conv_norm);
    get("num_conv_pos_embeddings", c.position_kernel);
    get("num_conv_pos_embedding_groups", c.position_groups);
    get("num_buckets", c.buckets);
    get("max_bucket_distance", c.max_distance);
    get("do_stable_layer_norm", c.pre_norm);
    get("layer_norm_eps", c.norm_eps);
    if (conv_norm != "group" && conv_norm != "layer")
        throw FileError("{}: its \"feat_extract_norm\" is \"{}\", but only \"group\" and \"layer\" are supported", file,
                        conv_norm);
    c.conv_layer_norm = conv_norm == "layer";
    c.check();
    return c;
}

WavlmConfig wavlm_config(const Checkpoint& checkpoint) {
    const auto it = checkpoint.metadata().find("config");
    if (it == checkpoint.metadata().end())
        throw FileError("{}: no config.json beside the weights; give the folder that holds both",
                        checkpoint.path().string());
    return wavlm_config(*it, checkpoint.path().string());
}

int64_t relative_position_bucket(int64_t distance, int64_t buckets, int64_t max_distance) {
    const int64_t half = buckets / 2, exact = half / 2, side = distance > 0 ? half : 0, n = std::abs(distance);
    if (n < exact) return side + n;
    // In f32, as the published models were trained: where the logarithm meets a whole number, rounding decides.
    const auto f = [](auto v) { return static_cast<float>(v); };
    const float part = std::log(f(n) / f(exact)) /
                       f(std::log(static_cast<double>(max_distance) / static_cast<double>(exact))) * f(half - exact);
    return side + std::min(static_cast<int64_t>(f(exact) + part), half - 1);
}

}  // namespace wavllm
