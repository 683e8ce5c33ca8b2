#include "infer/decode_step.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <string_view>

#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "kernels/sample/sample.h"

namespace wavllm {

namespace {

constexpr int64_t kShortest = 128;  // of the cache that a captured step looks at

kernels::Sampled likeliest(const Tensor& logits, const Tensor& unused) {
    return kernels::sample(logits, {.temperature = 0}, unused, unused);
}

Chosen to_host(const Tensor& ids, const Tensor& log_probs) {
    Chosen result;
    const Tensor i = ids.to(Device::cpu);
    result.ids.assign(i.data<int32_t>(), i.data<int32_t>() + i.numel());
    for (size_t b = 0; b < result.ids.size(); ++b)
        if (result.ids[b] < 0) throw Error("generate: the logits of request {} have a NaN or an infinity", b);
    if (!log_probs.defined()) return result;
    const Tensor l = log_probs.to(Device::cpu);
    result.log_probs.assign(l.data<float>(), l.data<float>() + l.numel());
    return result;
}

/// How much of the cache a step looks at: the next power of two, so that a graph serves until the length has doubled.
int64_t room_for(int64_t longest, int64_t capacity) {
    const auto power = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(longest)));
    return std::min(capacity, std::max(kShortest, power));
}

}  // namespace

bool use_graphs(Graphs graphs, Device device) {
    if (graphs == Graphs::automatic) {
        const char* value = std::getenv("WAVLLM_GRAPHS");
        const std::string_view text = value ? value : device == Device::cuda ? "on" : "off";
        if (text != "on" && text != "off") throw UsageError("WAVLLM_GRAPHS is \"{}\"; expected on or off", text);
        graphs = text == "on" && device != Device::cpu ? Graphs::on : Graphs::off;
    }
    if (graphs == Graphs::on && device == Device::cpu)
        throw UsageError("device cpu has no graphs; leave them off, or decode on sim or cuda");
    return graphs == Graphs::on;
}

Chosen choose_on_device(const Tensor& logits, bool log_probs) {
    const kernels::Sampled s = likeliest(logits, Tensor::zeros({logits.dim(0)}, DType::i64));
    return to_host(s.ids, log_probs ? s.log_probs : Tensor());
}

DecodeStep::DecodeStep(const Llama& llama, const LlamaPass& pass, const std::vector<int32_t>& tokens, bool graphs)
    : llama_(llama), graphs_(graphs) {
    const int64_t requests = pass.cache->batch();
    const Device device = llama.device();
    pass_.cache = pass.cache;
    pass_.lora = pass.lora;
    pass_.run = pass.run;
    pass_.borders = kernels::make_borders(std::vector<int64_t>(static_cast<size_t>(requests), 1));
    pass_.positions = Tensor::zeros({requests}, DType::i32, device);
    pass_.lengths = Tensor::zeros({requests}, DType::i64, device);
    ids_ = Tensor::from(tokens, {requests}).to(device);
    unused_ = Tensor::zeros({requests}, DType::i64);
}

void DecodeStep::run() {
    logits_ = chosen_ = log_probs_ = {};  // the memory of the last step is used again
    logits_ = llama_.logits(llama_.forward(llama_.embed(ids_), pass_));
    const kernels::Sampled s = likeliest(logits_, unused_);
    chosen_ = s.ids;
    log_probs_ = s.log_probs;
    ids_.assign(s.ids);
}

Chosen DecodeStep::next(bool log_probs) {
    NoGrad no_grad;
    KvCache& cache = *pass_.cache;
    const Tensor lengths = cache.lengths_with(pass_.borders);
    const int64_t* n = lengths.data<int64_t>();
    const int64_t longest = *std::max_element(n, n + lengths.numel());
    if (longest > llama_.config().max_positions)
        throw Error("generate: a request of {} tokens exceeds the model's {} positions; ask for fewer new tokens",
                    longest, llama_.config().max_positions);
    pass_.lengths.assign(lengths);
    pass_.positions.assign(LlamaPass::positions_for(pass_.borders, &cache));
    if (longest > pass_.longest) {
        pass_.longest = room_for(longest, cache.capacity());
        graph_ = {};
        warm_ = false;
    }
    if (!graphs_ || !warm_) {
        run();
        warm_ = true;
    } else {
        if (!graph_) {
            graph_ = Graph::capture(llama_.device(), [this] { run(); });
            ++captures_;
        }
        graph_.launch();
    }
    cache.advance(pass_.borders);
    return to_host(chosen_, log_probs ? log_probs_ : Tensor());
}

}  // namespace wavllm
