#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// Writes new keys and values behind what a cache holds, for all requests of a step at once: row t of k and v, with
/// borders[b] <= t < borders[b+1], becomes
///     k_cache[b, at, :, :] = k[t, :, :],   v_cache[b, at, :, :] = v[t, :, :],   at = lengths[b] - (borders[b+1] - t)
/// k (after its rotation), v: [T, Hkv, Dh]; k_cache, v_cache: [B, capacity, Hkv, Dh]; all f32 (or all f64) on one device, Dh
/// contiguous, the other dimensions may be strided. borders: i64 [B+1] on the CPU; a request may have no rows. lengths:
/// i64 [B], how many keys each request has with its new rows, as decode_attention takes them; on the CPU, or on the
/// device, where the host cannot check them: a row that would not fit is left out there (KvCache looks before).
/// Throws ShapeError for shapes that do not fit and, if lengths are on the CPU, for rows outside the cache.
void cache_append(const Tensor& k, const Tensor& v, const Tensor& borders, const Tensor& lengths, Tensor k_cache,
                  Tensor v_cache);

}  // namespace wavllm::kernels
