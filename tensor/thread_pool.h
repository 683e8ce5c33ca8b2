#pragma once
// One pool of threads for all kernels. Work is cut into chunks whose borders depend on the problem alone, never on the
// number of threads, and each chunk writes its own results: which thread runs it cannot change a bit.

#include <cstdint>
#include <type_traits>

namespace wavllm {

/// Threads used by parallel_for; default: the cores this process may use. Not to be called while a loop runs.
void set_num_threads(int threads);
int num_threads();

namespace detail {
using RangeFunction = void (*)(void* context, int64_t begin, int64_t end);
void parallel_for(int64_t n, int64_t chunk, RangeFunction function, void* context);
}  // namespace detail

/// Calls f(begin, end) for [0, n) in chunks of `chunk` (the last may be shorter), on several threads if there is more
/// than one chunk. Returns when all are done; the first exception is thrown again. Calls from inside a loop run in
/// place.
template <class F>
void parallel_for(int64_t n, int64_t chunk, F&& f) {
    using Function = std::remove_reference_t<F>;
    detail::parallel_for(
        n, chunk, [](void* context, int64_t begin, int64_t end) { (*static_cast<Function*>(context))(begin, end); },
        const_cast<std::remove_const_t<Function>*>(&f));
}

}  // namespace wavllm
