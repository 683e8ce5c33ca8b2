#include "wavllm/support/random_system.h"

#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "data/tokenizer/bytes.h"
#include "data/tokenizer/sentencepiece.h"
#include "models/known_sizes.h"
#include "models/llama/random.h"
#include "models/wavlm/random.h"
#include "models/whisper/random.h"
#include "tensor/allocator.h"
#include "train/trainer.h"
#include "wavllm/support/home.h"

namespace wavllm {

namespace {

double millions(int64_t n) {
    return static_cast<double>(n) / 1e6;
}

/// The paper's own model, whatever this run has of it: adapters, joint projection and LoRA of wavllm-7b.
struct PaperCount {
    int64_t semantic, acoustic, joint, lora, unused, prompt_adapter;

    PaperCount() {
        const auto affine = [](int64_t in, int64_t out) { return in * out + out; };
        // two convolutions of 3 taps with GLU, bottleneck with its norm, projector
        const auto adapter = [&](int64_t in, int64_t mid, int64_t dim, int64_t bottleneck, int64_t out) {
            return affine(3 * in, mid) + affine(3 * mid / 2, 2 * dim) + affine(dim, bottleneck) +
                   affine(bottleneck, dim) + 2 * dim + affine(dim, out);
        };
        constexpr int64_t d = 4096, rank = 32, layers = 32, half = 2048;
        semantic = adapter(1280, 1280, 1024, 512, half);
        acoustic = adapter(768, 512, 1024, 512, half) + 13;
        joint = affine(2 * half, d);
        lora = layers * 4 * 2 * d * rank;
        unused = affine(half, d);
        prompt_adapter = affine(d, 1024) + affine(1024, d) + affine(d, 1);
    }
    int64_t live() const {
        return semantic + acoustic + joint + lora;
    }
};

}  // namespace

System load_random_system(const Preset& preset) {
    const DType panels = frozen_dtype(preset.model.frozen_dtype);
    const auto seed = static_cast<uint64_t>(preset.train.seed);
    auto encoder = std::make_shared<const WhisperEncoder>(
        random_whisper_encoder(known_whisper_encoder(preset.model.whisper), seed, panels));
    LlamaConfig config = known_llama(preset.model.llm);
    if (preset.model.norm_eps > 0) config.norm_eps = preset.model.norm_eps;
    auto llama = std::make_shared<const Llama>(random_llama(config, seed, /*tied=*/false, panels));
    std::shared_ptr<const Tokenizer> tokenizer;
    if (preset.model.tokenizer.empty())
        tokenizer = std::make_shared<const ByteTokenizer>(static_cast<int32_t>(llama->config().vocab));
    else
        tokenizer = open_sentencepiece(home_folder() / preset.model.tokenizer);
    if (tokenizer->vocab_size() > llama->config().vocab)
        throw UsageError("model.tokenizer {}: {} tokens, but the language model has {}", preset.model.tokenizer,
                         tokenizer->vocab_size(), llama->config().vocab);
    std::shared_ptr<const WavlmEncoder> wavlm;
    if (!preset.model.wavlm.empty())
        wavlm =
            std::make_shared<const WavlmEncoder>(random_wavlm_encoder(known_wavlm(preset.model.wavlm), seed, panels));
    return build_system(preset, std::move(encoder), std::move(llama), std::move(tokenizer), std::move(wavlm));
}

std::string parameter_summary(const System& system) {
    const int64_t encoder = parameters_of_encoder(system.encoder->config()),
                  llm = parameters_of(system.llama->config());
    int64_t trained = 0;
    std::string groups, held;
    std::map<std::string, int64_t> by_group;
    for (const Parameter& p : system.model->parameters()) by_group[std::string(p.group)] += p.tensor.numel();
    const GroupSettings at_the_end = group_settings(system.preset, system.preset.total_steps());
    for (const auto& [group, n] : by_group) {
        const auto g = std::find(kParameterGroups.begin(), kParameterGroups.end(), group) - kParameterGroups.begin();
        const bool moves = at_the_end[static_cast<size_t>(g)].updates > 0;
        std::string& list = moves ? groups : held;
        list += fmt::format("{}{} {}", list.empty() ? "" : ", ", group, n);
        if (moves) trained += n;
    }
    if (!held.empty()) groups += "; held as they are: " + held;
    std::string text = fmt::format(
        "frozen:  {:.2f} M speech encoder, {}{:.2f} M language model\n"
        "trained: {} ({})\n",
        millions(encoder),
        system.wavlm
            ? fmt::format("{:.2f} M acoustic encoder, ", millions(parameters_of_encoder(system.wavlm->config())))
            : "",
        millions(llm), trained, groups);
    if (system.preset.model.whisper != "whisper-large-v2" || system.preset.model.llm != "llama-2-7b-chat") return text;
    const PaperCount p;
    const int64_t wavlm = parameters_of_encoder(known_wavlm("wavlm-base")), counted = p.live() + p.unused,
                  all = encoder + wavlm + llm + counted;
    text += fmt::format(
        "the paper's 7.55 B, 76.6 M of them trainable: {} in all, with WavLM-base ({:.2f} M), of which trainable\n"
        "  {} = semantic adapter {} + acoustic adapter {} + joint projection {} + LoRA {} + {} that never run:\n"
        "  the projection of a model without WavLM; {:.2f} M are live. Its second stage adds {} (prompt adapter).\n",
        all, millions(wavlm), counted, p.semantic, p.acoustic, p.joint, p.lora, p.unused, millions(p.live()),
        p.prompt_adapter);
    return text;
}

std::string resources_of(const std::filesystem::path& run) {
    std::ifstream in(run / "timing.jsonl");
    std::string text, steps;
    for (std::string line; std::getline(in, line);) {
        const auto json = nlohmann::json::parse(line);
        if (json.contains("seconds")) steps += fmt::format(" {:.2f}", json["seconds"].get<double>());
        if (!json.contains("profile")) continue;
        const double n = json["profile"]["steps"].get<double>();
        std::vector<std::pair<double, std::string>> ops;
        double whole = 0;
        for (const auto& op : json["profile"]["ops"]) {
            const auto part = [&](const char* pass) { return op[pass].get<double>() / n; };
            const double seconds = part("forward") + part("backward") + part("other");
            whole += seconds;
            ops.emplace_back(
                seconds,
                fmt::format("  {:16} {:9.3f} s  forward {:9.3f}  backward {:9.3f}  other {:9.3f}\n",
                            op["op"].get<std::string>(), seconds, part("forward"), part("backward"), part("other")));
        }
        std::sort(ops.rbegin(), ops.rend());
        text += fmt::format("a step takes {:.2f} s:\n", whole);
        for (const auto& [seconds, op] : ops)
            if (seconds >= whole / 1000) text += op;
    }
    struct rusage usage = {};
    getrusage(RUSAGE_SELF, &usage);
    return fmt::format("seconds of the steps:{}\n{}{}peak resident memory: {:.2f} GiB\n", steps, text, memory::report(),
                       static_cast<double>(usage.ru_maxrss) / 0x1p20);
}

}  // namespace wavllm
