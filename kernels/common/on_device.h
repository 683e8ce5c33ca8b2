#pragma once
// From an op's CPU file to its CUDA body.

#include "kernels/simt/body.h"
#include "tensor/device.h"

namespace wavllm::kernels {

/// Whether `sim` runs the build of the CUDA bodies that sees every load and store (tests) or the fast one. At first as the
/// environment variable WAVLLM_SIM says: "checked" or "fast" (the default).
bool sim_checked();
void set_sim_checked(bool on);

/// Which build of the CUDA bodies works on tensors of this device.
Build build_for(Device device);

/// The entry point of a body for a device: on(rms_norm_body, x.device())(...). Throws UsageError naming the body if this
/// build has none.
template <class Signature>
Signature* on(const CudaBody<Signature>& body, Device device) {
    return body(build_for(device));
}

}  // namespace wavllm::kernels
