#pragma once
// Fused ops and the switch that runs their composition instead. A fused op says `if (!fused("lora_linear")) return
// lora_linear_composed(...)` and registers its name with WAVLLM_FUSION where it is defined.

#include <string_view>
#include <vector>

namespace wavllm {

struct FusionInfo {
    std::string_view name, composition;  ///< e.g. "silu_mul", "silu, mul"
};

/// True unless the fusion was switched off.
bool fused(std::string_view name);
/// "on", "off", or a comma-separated list of fusions to switch off. Throws UsageError listing the names if one is
/// unknown.
void set_fusion(std::string_view setting);
/// All fusions of this build, by name.
std::vector<FusionInfo> fusions();

namespace detail {
bool register_fusion(FusionInfo info);
}

}  // namespace wavllm

#define WAVLLM_FUSION(name, composition)                          \
    [[maybe_unused]] static const bool fusion_registered_##name = \
        ::wavllm::detail::register_fusion({#name, composition})
