// mma and ldmatrix: run by the lane that comes last, on the registers of all 32 (they lie on the waiting lanes' stacks).

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/simt/cuda.h"
#include "kernels/simt/engine/block.h"
#include "kernels/simt/engine/shared_memory.h"

namespace wavllm::simt {

namespace {

float element(uint32_t pair, int which, bool bf16) {
    const auto bits = static_cast<uint16_t>(which == 0 ? pair & 0xffffu : pair >> 16);
    if (bf16) return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
    return static_cast<float>(std::bit_cast<_Float16>(bits));
}

}  // namespace

/// Products of bf16 and f16 are exact in f32; they are added to c one by one, k ascending. Tensor cores add in an order and
/// with a rounding of their own, so results agree to about 2^-20 of the largest product.
void Block::mma(WarpRequest* const* lanes) {
    const bool bf16 = lanes[0]->op == WarpOp::mma_bf16;
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; ++lane) {
        const MmaRegisters& r = *static_cast<const MmaRegisters*>(lanes[lane]->registers);
        const int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 2; ++i) {
            a[g][2 * t + i] = element(r.a[0], i, bf16);
            a[g + 8][2 * t + i] = element(r.a[1], i, bf16);
            a[g][2 * t + 8 + i] = element(r.a[2], i, bf16);
            a[g + 8][2 * t + 8 + i] = element(r.a[3], i, bf16);
            b[2 * t + i][g] = element(r.b[0], i, bf16);
            b[2 * t + 8 + i][g] = element(r.b[1], i, bf16);
        }
    }
    for (int lane = 0; lane < 32; ++lane) {
        const MmaRegisters& r = *static_cast<const MmaRegisters*>(lanes[lane]->registers);
        for (int i = 0; i < 4; ++i) {
            const int row = lane / 4 + (i < 2 ? 0 : 8), column = 2 * (lane % 4) + i % 2;
            float sum = r.d[i];
            for (int k = 0; k < 16; ++k) sum = std::fma(a[row][k], b[k][column], sum);
            r.d[i] = sum;
        }
    }
}

void Block::ldmatrix(WarpRequest* const* lanes) {
    const int count = lanes[0]->argument;
    const bool transposed = lanes[0]->width == 1;
    const int self = current_, first = current_ / 32 * 32;
    uint16_t matrices[4][8][8];
    for (int lane = 0; lane < 32; ++lane) {
        const WarpRequest& r = *lanes[lane];
        current_ = first + lane;  // whose access it is
        if (lane >= 8 * count) {
            if (counting_) this->count(0, 0, RequestKind::shared_load, r.pc);
            continue;
        }
        const uintptr_t offset = r.value - reinterpret_cast<uintptr_t>(shared_);
        if (offset >= shared_capacity || offset % 16 != 0 || r.argument != count || (r.width == 1) != transposed) {
            Fault f{current_, fmt::format("gives ldmatrix.x{} the row address {:#x}", r.argument, r.value), {r.where}};
            f.hint = "; rows lie in shared memory at multiples of 16 bytes, and all lanes load as many matrices";
            fail(std::move(f));
        }
        const void* row = reinterpret_cast<const void*>(r.value);
        if (checked_) access(row, 16, Access::read, r.pc);
        std::memcpy(matrices[lane / 8][lane % 8], row, 16);
    }
    current_ = self;
    for (int lane = 0; lane < 32; ++lane) {
        uint32_t* registers = static_cast<uint32_t*>(lanes[lane]->registers);
        const int g = lane / 4, t = lane % 4;
        for (int i = 0; i < count; ++i) {
            const uint16_t low = transposed ? matrices[i][2 * t][g] : matrices[i][g][2 * t];
            const uint16_t high = transposed ? matrices[i][2 * t + 1][g] : matrices[i][g][2 * t + 1];
            registers[i] = static_cast<uint32_t>(low) | static_cast<uint32_t>(high) << 16;
        }
    }
}

}  // namespace wavllm::simt
