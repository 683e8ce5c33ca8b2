// cuBLASLt, where the build has it (kernels/cuda/cuda.cmake says so with WAVLLM_CUBLASLT). NOT YET RUN ON A GPU.
//
// cuBLASLt chooses an algorithm by the sizes, and some split the chain: then a row's bits would depend on how many rows
// there are. Hence
//   - one algorithm for each (N, K, layouts), chosen for 4096 rows, without a workspace and without split sums;
//   - it is used only if it gives the bits of gemm_bf16.cu on random factors: then it does not matter which of the two made
//     a row, and products that only ours makes well (few rows, LoRA, blocks) fit to it. WAVLLM_CUBLASLT=off never uses
//     it, WAVLLM_CUBLASLT=always also where bits differ, which gives up that promise.
// Products with an update, bias, accumulation or a factor are ours in any case.

#include "kernels/gemm/cublaslt.h"

#ifdef WAVLLM_CUBLASLT

#include <cublasLt.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "kernels/cuda/runtime/streams.h"
#include "tensor/error.h"
#include "tensor/philox.h"
#include "tensor/tensor.h"

namespace wavllm::kernels {

namespace {

constexpr uint32_t kAlignment = 16;  // bytes, of every line
constexpr int64_t kFewRows = 64, kChoiceRows = 4096, kProbeRows = 192;

void check(cublasStatus_t status, const char* call) {
    if (status != CUBLAS_STATUS_SUCCESS) throw Error("{}: {}", call, cublasLtGetStatusString(status));
}
#define CHECKED(call) check(call, #call)

cublasLtHandle_t handle() {
    static cublasLtHandle_t h = [] {
        cublasLtHandle_t made = nullptr;
        CHECKED(cublasLtCreate(&made));
        return made;
    }();
    return h;
}

/// Descriptors of one product. cuBLASLt counts columns first, so it computes c^T [N, M] = b^T a^T: our lines are its columns.
class Call {
public:
    explicit Call(const Product& p) : p_(p) {
        CHECKED(cublasLtMatmulDescCreate(&op_, CUBLAS_COMPUTE_32F, CUDA_R_32F));
        const cublasOperation_t left = p.b.across ? CUBLAS_OP_N : CUBLAS_OP_T,
                                right = p.a.across ? CUBLAS_OP_T : CUBLAS_OP_N;
        CHECKED(cublasLtMatmulDescSetAttribute(op_, CUBLASLT_MATMUL_DESC_TRANSA, &left, sizeof left));
        CHECKED(cublasLtMatmulDescSetAttribute(op_, CUBLASLT_MATMUL_DESC_TRANSB, &right, sizeof right));
        layout(&b_, CUDA_R_16BF, p.b.across ? p.n : p.k, p.b.across ? p.k : p.n, p.b.stride);
        layout(&a_, CUDA_R_16BF, p.a.across ? p.m : p.k, p.a.across ? p.k : p.m, p.a.stride);
        layout(&c_, CUDA_R_32F, p.n, p.m, p.c_stride);
    }
    ~Call() {
        cublasLtMatrixLayoutDestroy(a_);
        cublasLtMatrixLayoutDestroy(b_);
        cublasLtMatrixLayoutDestroy(c_);
        cublasLtMatmulDescDestroy(op_);
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    /// False if cuBLASLt has no algorithm that neither splits sums nor wants a workspace.
    bool choose(cublasLtMatmulAlgo_t& algo) const {
        cublasLtMatmulPreference_t wish = nullptr;
        CHECKED(cublasLtMatmulPreferenceCreate(&wish));
        const size_t bytes = 0;
        const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE;
        CHECKED(
            cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes));
        CHECKED(cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                                     sizeof reductions));
        for (const auto attribute :
             {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
              CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
            CHECKED(cublasLtMatmulPreferenceSetAttribute(wish, attribute, &kAlignment, sizeof kAlignment));
        cublasLtMatmulHeuristicResult_t result{};
        int found = 0;
        const cublasStatus_t status =
            cublasLtMatmulAlgoGetHeuristic(handle(), op_, b_, a_, c_, c_, wish, 1, &result, &found);
        CHECKED(cublasLtMatmulPreferenceDestroy(wish));
        if (status == CUBLAS_STATUS_NOT_SUPPORTED || found == 0) return false;
        check(status, "cublasLtMatmulAlgoGetHeuristic");
        algo = result.algo;
        return true;
    }
    /// False, with nothing done, if the algorithm does not take this product: it was chosen for other strides.
    bool run(const cublasLtMatmulAlgo_t& algo) const {
        const float one = 1, zero = 0;
        const cublasStatus_t status = cublasLtMatmul(handle(), op_, &one, p_.b.data, b_, p_.a.data, a_, &zero, p_.c, c_,
                                                     p_.c, c_, &algo, nullptr, 0, cuda::compute_stream());
        if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return false;
        check(status, "cublasLtMatmul");
        return true;
    }

private:
    void layout(cublasLtMatrixLayout_t* l, cudaDataType_t type, int64_t rows, int64_t columns, int64_t stride) const {
        CHECKED(
            cublasLtMatrixLayoutCreate(l, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), stride));
        if (p_.batch == 1) return;
        const auto batch = static_cast<int32_t>(p_.batch);
        const int64_t apart = l == &c_ ? p_.c_batch_stride : l == &a_ ? p_.a.batch_stride : p_.b.batch_stride;
        CHECKED(cublasLtMatrixLayoutSetAttribute(*l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch));
        CHECKED(
            cublasLtMatrixLayoutSetAttribute(*l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &apart, sizeof apart));
    }

    const Product& p_;
    cublasLtMatmulDesc_t op_ = nullptr;
    cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, c_ = nullptr;
};

/// Random bf16 in [-1, 1) on the device.
Tensor random_factor(const Shape& shape, uint32_t which) {
    std::vector<uint16_t> bits(static_cast<size_t>(shape.numel()));
    const Philox rng(1, "cublaslt", which);
    for (size_t i = 0; i < bits.size(); ++i) bits[i] = to_bf16(2 * rng.uniform(i) - 1).bits;
    Tensor t = Tensor::empty(shape, DType::bf16);
    std::memcpy(t.mutable_raw(), bits.data(), t.bytes());
    return t.to(Device::cuda);
}

bool same_bits(Product p, const cublasLtMatmulAlgo_t& algo) {
    p.m = kProbeRows;
    p.batch = 1;
    p.a.stride = bf16_line(p.a.across ? p.m : p.k);
    p.b.stride = bf16_line(p.b.across ? p.n : p.k);
    const Tensor a = random_factor({p.a.across ? p.k : p.m, p.a.stride}, 0),
                 b = random_factor({p.b.across ? p.k : p.n, p.b.stride}, 1);
    Tensor c[2] = {Tensor::empty({p.m, p.n}, DType::f32, Device::cuda),
                   Tensor::empty({p.m, p.n}, DType::f32, Device::cuda)};
    p.a.data = a.device_raw();
    p.b.data = b.device_raw();
    p.c_stride = p.n;
    p.c = c[0].mutable_device_data<float>();
    gemm_bf16_body(Build::gpu)(p);
    p.c = c[1].mutable_device_data<float>();
    if (!Call(p).run(algo)) return false;
    const Tensor x = c[0].to(Device::cpu), y = c[1].to(Device::cpu);
    return std::memcmp(x.raw(), y.raw(), x.bytes()) == 0;
}

struct Choice {
    bool use = false;
    cublasLtMatmulAlgo_t algo{};
};

const Choice& choice_for(const Product& p, bool always) {
    static std::mutex mutex;
    static std::map<std::tuple<int64_t, int64_t, bool, bool, int64_t>, Choice> choices;
    const std::lock_guard lock(mutex);
    const auto [it, is_new] = choices.try_emplace({p.n, p.k, p.a.across, p.b.across, p.batch});
    if (is_new) {
        Product many = p;
        many.m = kChoiceRows;
        if (many.a.across) many.a.stride = bf16_line(many.m);
        it->second.use = Call(many).choose(it->second.algo) && (always || same_bits(p, it->second.algo));
    }
    return it->second;
}

bool aligned(const void* data, int64_t line_bytes) {
    return reinterpret_cast<uintptr_t>(data) % kAlignment == 0 && line_bytes % kAlignment == 0;
}

}  // namespace

bool cublaslt_multiply(const Product& p) {
    static const std::string mode = [] {
        const char* value = std::getenv("WAVLLM_CUBLASLT");
        const std::string text = value ? value : "on";
        if (text != "on" && text != "off" && text != "always")
            throw UsageError("WAVLLM_CUBLASLT is \"{}\"; expected on, off or always", text);
        return text;
    }();
    const bool plain = p.b.dtype == DType::bf16 && p.a.windows == nullptr && p.update.rank == 0 && p.bias == nullptr &&
                       !p.accumulate && p.factor == 1;
    // Ours keep what is small: the library's tiles are large, and one wave of them is not faster.
    if (mode == "off" || !plain || p.m <= kFewRows || p.n < 128 || p.k < 128 || p.k % 8 != 0 || p.n % 8 != 0)
        return false;
    if (!aligned(p.a.data, p.a.stride * 2) || !aligned(p.b.data, p.b.stride * 2) || !aligned(p.c, p.c_stride * 4))
        return false;
    const Choice& choice = choice_for(p, mode == "always");
    return choice.use && Call(p).run(choice.algo);
}

}  // namespace wavllm::kernels

#else

namespace wavllm::kernels {

bool cublaslt_multiply(const Product& /*p*/) {
    return false;
}

}  // namespace wavllm::kernels

#endif
