#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// Attention of one new query per request over the request's own cache:
///     y[b, h, :] = sum over j < lengths[b] of softmax_j(scale q[b,h] . k_cache[b,j,g]) v_cache[b,j,g],  g = h/(H/Hkv)
/// q: [B, H, Dh], k_cache, v_cache: [B, capacity, Hkv, Dh] f32, Dh <= 256 and contiguous, the other dimensions may be
/// strided; lengths: i64 [B], how many keys each request has (its own included). Result: [B, H*Dh]; zeros for length 0.
/// All are on one device, lengths there too or on the CPU. Long caches are cut into chunks of 128 keys (64 on a device)
/// that are computed in parallel and merged in order (Flash-Decoding, Dao et al. 2023): a request's bits depend on its own
/// query and cache alone, not on B. No gradient.
/// With lengths on the device the launch has a block for each chunk of the capacity, so that a captured graph may repeat
/// it when they grow (tensor/graph.h): give a slice of the cache that is just long enough. Keys beyond it are not seen.
/// Throws ShapeError for shapes that do not fit and, if lengths are on the CPU, for one below 0 or above the capacity.
Tensor decode_attention(const Tensor& q, const Tensor& k_cache, const Tensor& v_cache, const Tensor& lengths,
                        double scale);

}  // namespace wavllm::kernels
