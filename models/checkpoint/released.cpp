#include "models/checkpoint/released.h"

#include <algorithm>
#include <map>
#include <set>

#include "tensor/error.h"

namespace wavllm {

namespace {

using Shape64 = std::vector<int64_t>;

constexpr const char* kPositions = "encoder.pos_conv_embed.conv.";

struct PartName {
    const char *name, *trained;
};
constexpr PartName kWhisper{"Whisper encoder", "frozen"}, kSemantic{"semantic adapter", "stage 1"},
    kWavlm{"WavLM encoder", "frozen"}, kAcoustic{"acoustic adapter", "stage 1"}, kJoint{"joint projection", "stage 1"},
    kLlama{"LLaMA", "frozen"}, kLora{"LoRA", "stage 1"}, kPrompt{"prompt adapter", "stage 2"},
    kWithout{"projection without WavLM", "unused"}, kMask{"WavLM's mask embedding", "unused"};
constexpr PartName kParts[] = {kWhisper, kSemantic, kWavlm, kAcoustic, kJoint, kLlama, kLora, kPrompt, kWithout, kMask};

class Sizes {
public:
    explicit Sizes(const Checkpoint& c) : c_(c) {}

    int64_t of(const std::string& name, size_t dimension, size_t rank) const {
        const StoredTensor& t = c_.at(name);
        if (t.shape.size() != rank)
            throw FileError("{}: tensor \"{}\" has {} dimensions, but in the released layout it has {}",
                            c_.path().string(), name, t.shape.size(), rank);
        return t.shape[dimension];
    }
    /// How many of prefix0suffix, prefix1suffix, ... there are without a gap.
    int64_t layers(const std::string& prefix, const std::string& suffix) const {
        int64_t n = 0;
        while (c_.find(fmt::format("{}{}{}", prefix, n, suffix)) != nullptr) ++n;
        return n;
    }
    ReleasedSizes::Adapter adapter(const std::string& branch) const {
        return {of(branch + "subsample.conv_layers.0.weight", 1, 3),
                of(branch + "subsample.conv_layers.0.weight", 0, 3), of(branch + "adapter.down_layer.weight", 1, 2),
                of(branch + "adapter.down_layer.weight", 0, 2), of(branch + "projector.weight", 0, 2)};
    }

private:
    const Checkpoint& c_;
};

class Layout {
public:
    explicit Layout(const ReleasedSizes& sizes) : s_(sizes) {}

    std::vector<ReleasedTensor> tensors() {
        whisper();
        adapter(kSemantic, "audio_encoder.", s_.semantic);
        wavlm();
        adapter(kAcoustic, "wavlm_encoder.", s_.acoustic);
        add(kAcoustic, "wavlm_encoder.output_weights", {s_.wavlm_layers + 1});
        linear(kJoint, "wavlm_audio_proj.", s_.dim, s_.semantic.out + s_.acoustic.out);
        if (s_.audio_proj) linear(kWithout, "audio_proj.", s_.dim, s_.semantic.out);
        llama();
        return std::move(list_);
    }

private:
    void add(const PartName& part, const std::string& name, Shape64 shape) {
        list_.push_back({name, part.name, std::move(shape)});
    }
    void linear(const PartName& part, const std::string& name, int64_t out, int64_t in) {
        add(part, name + "weight", {out, in});
        add(part, name + "bias", {out});
    }
    void norm(const PartName& part, const std::string& name, int64_t dim) {
        add(part, name + "weight", {dim});
        add(part, name + "bias", {dim});
    }

    void whisper() {
        const std::string p = kReleasedWhisper;
        const int64_t d = s_.whisper_dim;
        add(kWhisper, p + "conv1.weight", {d, s_.mels, 3});
        add(kWhisper, p + "conv1.bias", {d});
        add(kWhisper, p + "conv2.weight", {d, d, 3});
        add(kWhisper, p + "conv2.bias", {d});
        add(kWhisper, p + "embed_positions.weight", {s_.positions, d});
        for (int64_t i = 0; i < s_.whisper_layers; ++i) {
            const std::string l = fmt::format("{}layers.{}.", p, i);
            add(kWhisper, l + "self_attn.k_proj.weight", {d, d});  // softmax does not see a bias of the keys
            for (const char* name : {"self_attn.q_proj.", "self_attn.v_proj.", "self_attn.out_proj."})
                linear(kWhisper, l + name, d, d);
            norm(kWhisper, l + "self_attn_layer_norm.", d);
            linear(kWhisper, l + "fc1.", s_.whisper_ffn, d);
            linear(kWhisper, l + "fc2.", d, s_.whisper_ffn);
            norm(kWhisper, l + "final_layer_norm.", d);
        }
        norm(kWhisper, p + "layer_norm.", d);
    }

    void adapter(const PartName& part, const std::string& branch, const ReleasedSizes::Adapter& a) {
        // each convolution is followed by a GLU, which halves its channels
        add(part, branch + "subsample.conv_layers.0.weight", {a.mid, a.in, 3});
        add(part, branch + "subsample.conv_layers.0.bias", {a.mid});
        add(part, branch + "subsample.conv_layers.1.weight", {2 * a.dim, a.mid / 2, 3});
        add(part, branch + "subsample.conv_layers.1.bias", {2 * a.dim});
        linear(part, branch + "adapter.down_layer.", a.bottleneck, a.dim);
        linear(part, branch + "adapter.up_layer.", a.dim, a.bottleneck);
        norm(part, branch + "adapter.layer_norm.", a.dim);
        linear(part, branch + "projector.", a.out, a.dim);
    }

    void wavlm() {
        const std::string p = kReleasedWavlm;
        const int64_t d = s_.wavlm_dim, head = d / std::max<int64_t>(s_.wavlm_heads, 1);
        if (s_.masked_spec_embed) add(kMask, p + "masked_spec_embed", {d});
        int64_t channels = 1;
        for (size_t i = 0; i < s_.convolutions.size(); ++i) {
            const auto [out, taps] = s_.convolutions[i];
            const std::string conv = fmt::format("{}feature_extractor.conv_layers.{}.", p, i);
            add(kWavlm, conv + "conv.weight", {out, channels, taps});
            if (i == 0) norm(kWavlm, conv + "layer_norm.", out);  // WavLM-base: a norm after the first only
            channels = out;
        }
        norm(kWavlm, p + "feature_projection.layer_norm.", channels);
        linear(kWavlm, p + "feature_projection.projection.", d, channels);
        const char *g = "weight_g", *v = "weight_v";
        if (s_.parametrized) g = "parametrizations.weight.original0", v = "parametrizations.weight.original1";
        add(kWavlm, p + kPositions + g, {1, 1, s_.position_taps});
        add(kWavlm, p + kPositions + v, {d, d / std::max<int64_t>(s_.position_groups, 1), s_.position_taps});
        add(kWavlm, p + kPositions + "bias", {d});
        norm(kWavlm, p + "encoder.layer_norm.", d);
        for (int64_t i = 0; i < s_.wavlm_layers; ++i) {
            const std::string l = fmt::format("{}encoder.layers.{}.", p, i);
            for (const char* name : {"k_proj.", "q_proj.", "v_proj.", "out_proj."})
                linear(kWavlm, l + "attention." + name, d, d);
            add(kWavlm, l + "attention.gru_rel_pos_const", {1, s_.wavlm_heads, 1, 1});
            linear(kWavlm, l + "attention.gru_rel_pos_linear.", 8, head);
            if (i == 0) add(kWavlm, l + "attention.rel_attn_embed.weight", {s_.buckets, s_.wavlm_heads});
            norm(kWavlm, l + "layer_norm.", d);
            linear(kWavlm, l + "feed_forward.intermediate_dense.", s_.wavlm_ffn, d);
            linear(kWavlm, l + "feed_forward.output_dense.", d, s_.wavlm_ffn);
            norm(kWavlm, l + "final_layer_norm.", d);
        }
    }

    void llama() {
        const std::string p = kReleasedLlama;
        const int64_t d = s_.dim;
        add(kLlama, p + "tok_embeddings.weight", {s_.vocab, d});
        for (int64_t i = 0; i < s_.layers; ++i) {
            const std::string l = fmt::format("{}layers.{}.", p, i);
            for (const char* name : {"wq", "wk", "wv", "wo"}) {
                const std::string projection = l + "attention." + name;
                add(kLlama, projection + ".weight", {d, d});
                add(kLora, projection + "_lora_A", {d, s_.lora_rank});
                add(kLora, projection + "_lora_B", {s_.lora_rank, d});
            }
            add(kLlama, l + "feed_forward.w1.weight", {s_.ffn, d});
            add(kLlama, l + "feed_forward.w2.weight", {d, s_.ffn});
            add(kLlama, l + "feed_forward.w3.weight", {s_.ffn, d});
            add(kLlama, l + "attention_norm.weight", {d});
            add(kLlama, l + "ffn_norm.weight", {d});
        }
        add(kLlama, p + "norm.weight", {d});
        add(kLlama, p + "output.weight", {s_.vocab, d});
        if (s_.prompt_bottleneck == 0) return;
        linear(kPrompt, p + "scale_fc_1.", s_.prompt_bottleneck, d);
        linear(kPrompt, p + "scale_fc_2.", d, s_.prompt_bottleneck);
        linear(kPrompt, p + "scale_weight_attention.", 1, d);
    }

    const ReleasedSizes& s_;
    std::vector<ReleasedTensor> list_;
};

}  // namespace

bool is_released(const Checkpoint& c) {
    return c.find(std::string(kReleasedLlama) + "tok_embeddings.weight") != nullptr &&
           c.find(std::string(kReleasedWhisper) + "conv1.weight") != nullptr;
}

ReleasedSizes released_sizes(const Checkpoint& c) {
    const Sizes s(c);
    const std::string whisper = kReleasedWhisper, wavlm = kReleasedWavlm, llama = kReleasedLlama;
    ReleasedSizes k;
    k.whisper_dim = s.of(whisper + "conv1.weight", 0, 3);
    k.mels = s.of(whisper + "conv1.weight", 1, 3);
    k.positions = s.of(whisper + "embed_positions.weight", 0, 2);
    k.whisper_layers = s.layers(whisper + "layers.", ".fc1.weight");
    k.whisper_ffn = s.of(whisper + "layers.0.fc1.weight", 0, 2);
    k.wavlm_dim = s.of(wavlm + "feature_projection.projection.weight", 0, 2);
    k.wavlm_layers = s.layers(wavlm + "encoder.layers.", ".layer_norm.weight");
    k.wavlm_ffn = s.of(wavlm + "encoder.layers.0.feed_forward.intermediate_dense.weight", 0, 2);
    k.buckets = s.of(wavlm + "encoder.layers.0.attention.rel_attn_embed.weight", 0, 2);
    k.wavlm_heads = s.of(wavlm + "encoder.layers.0.attention.rel_attn_embed.weight", 1, 2);
    const int64_t convolutions = s.layers(wavlm + "feature_extractor.conv_layers.", ".conv.weight");
    for (int64_t i = 0; i < convolutions; ++i) {
        const std::string name = fmt::format("{}feature_extractor.conv_layers.{}.conv.weight", wavlm, i);
        k.convolutions.emplace_back(s.of(name, 0, 3), s.of(name, 2, 3));
    }
    k.parametrized = c.find(wavlm + kPositions + "parametrizations.weight.original1") != nullptr;
    const std::string v = wavlm + kPositions + (k.parametrized ? "parametrizations.weight.original1" : "weight_v");
    k.position_taps = s.of(v, 2, 3);
    k.position_groups = k.wavlm_dim / std::max<int64_t>(s.of(v, 1, 3), 1);
    k.semantic = s.adapter("audio_encoder.");
    k.acoustic = s.adapter("wavlm_encoder.");
    k.dim = s.of(llama + "tok_embeddings.weight", 1, 2);
    k.vocab = s.of(llama + "tok_embeddings.weight", 0, 2);
    k.layers = s.layers(llama + "layers.", ".attention_norm.weight");
    k.ffn = s.of(llama + "layers.0.feed_forward.w1.weight", 0, 2);
    k.lora_rank = s.of(llama + "layers.0.attention.wq_lora_A", 1, 2);
    if (c.find(llama + "scale_fc_1.weight") != nullptr) k.prompt_bottleneck = s.of(llama + "scale_fc_1.weight", 0, 2);
    k.masked_spec_embed = c.find(wavlm + "masked_spec_embed") != nullptr;
    k.audio_proj = c.find("audio_proj.weight") != nullptr;
    return k;
}

bool is_trained(const ReleasedTensor& tensor) {
    return std::any_of(std::begin(kParts), std::end(kParts), [&](const PartName& p) {
        return p.name == tensor.part && std::string_view(p.trained).starts_with("stage");
    });
}

std::string ReleasedReport::problems() const {
    std::string text;
    for (const auto& [what, names] :
         {std::pair("missing", &missing), {"left over", &left_over}, {"of another shape", &misshapen}}) {
        if (names->empty()) continue;
        const std::span<const std::string> some(names->data(), std::min<size_t>(names->size(), 4));
        text += fmt::format("{}{} {}: {}{}", text.empty() ? "" : "; ", names->size(), what, fmt::join(some, ", "),
                            names->size() > some.size() ? ", ..." : "");
    }
    return text;
}

std::vector<ReleasedTensor> released_tensors(const ReleasedSizes& sizes) {
    return Layout(sizes).tensors();
}

ReleasedReport check_released(const Checkpoint& checkpoint) {
    ReleasedReport report{.sizes = released_sizes(checkpoint)};
    std::map<std::string, ReleasedPart> parts;
    for (const PartName& p : kParts) parts[p.name] = {p.name, p.trained};
    std::set<std::string_view> known;
    const std::vector<ReleasedTensor> expected = released_tensors(report.sizes);
    for (const ReleasedTensor& t : expected) {
        known.insert(t.name);
        const StoredTensor* found = checkpoint.refused().contains(t.name) ? nullptr : checkpoint.find(t.name);
        if (found == nullptr) {
            report.missing.push_back(t.name);
            continue;
        }
        if (found->shape != t.shape)
            report.misshapen.push_back(fmt::format("{} is [{}], but the other sizes make it [{}]", t.name,
                                                   fmt::join(found->shape, ", "), fmt::join(t.shape, ", ")));
        ReleasedPart& part = parts[t.part];
        ++part.tensors;
        int64_t parameters = 1;
        for (const int64_t d : found->shape) parameters *= d;
        part.parameters += parameters;
        if (part.trained == "unused") report.unused.push_back(t.name);
    }
    for (const StoredTensor& t : checkpoint.tensors())
        if (!known.contains(t.name)) report.left_over.push_back(t.name);
    for (const PartName& p : kParts)
        if (parts[p.name].tensors > 0) report.parts.push_back(parts[p.name]);
    return report;
}

}  // namespace wavllm
