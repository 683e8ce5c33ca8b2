#pragma once
#include <map>

#include "kernels/adam/adam.h"
#include "models/parameter.h"

namespace wavllm {

struct OptimizerConfig {
    AdamConfig adam{0.9, 0.98, 1e-8, 0};
    double adapter_rate = 1e-3, lora_rate = 5e-4;  ///< peak rates by group
    double clip_norm = 1.0;                        ///< of all gradients together; 0: none
};

struct GradientNorms {
    double total = 0;  ///< before clipping
    double adapter = 0;
    double lora = 0;
    bool finite = true;
};

/// Adam over all parameters, with clipping by the norm of all gradients. Weight decay acts on matrices of the adapter
/// only.
class Optimizer {
public:
    Optimizer(Parameters parameters, OptimizerConfig config);

    /// Reads the gradients that backward() left. Throws TrainingError naming a parameter that got none, or one that is
    /// exactly zero everywhere though it is not declared so.
    GradientNorms norms(int64_t step) const;
    /// Clips, updates, and zeroes the gradients. step counts from 0; factor: of the peak rates.
    void update(int64_t step, double factor, const GradientNorms& norms);
    void zero_gradients();

    const Parameters& parameters() const {
        return parameters_;
    }
    /// Adam's first and second moments, in the order of parameters().
    std::vector<Tensor>& first() {
        return m_;
    }
    std::vector<Tensor>& second() {
        return v_;
    }

private:
    Parameters parameters_;
    OptimizerConfig config_;
    std::vector<Tensor> m_, v_;
};

}  // namespace wavllm
