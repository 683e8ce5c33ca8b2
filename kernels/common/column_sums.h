#pragma once
// How sums over the rows are cut on devices (column_sums.cuh).

#include <cstdint>

namespace wavllm::kernels {

constexpr int64_t kColumnChunk = 64;  ///< rows that one block adds up

/// Rows of the workspace [column_chunks(rows), columns] that add_column_sums needs.
constexpr int64_t column_chunks(int64_t rows) {
    return (rows + kColumnChunk - 1) / kColumnChunk;
}

}  // namespace wavllm::kernels
