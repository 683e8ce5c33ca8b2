#pragma once
// One allocator for all tensor memory. Every byte is booked to a purpose; blocks are recycled inside large slabs, so a
// training step that repeats asks the system for nothing. `--memory` prints the account.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tensor/device.h"

namespace wavllm {

enum class Purpose : uint8_t { weights, gradients, optimizer, activations, kv_cache, workspace, data };
inline constexpr size_t kPurposes = 7;
std::string_view name(Purpose purpose);

struct Account {
    size_t bytes = 0;  ///< held now
    size_t peak = 0;   ///< most held at once since reset_peaks()
    size_t given = 0;  ///< in all since the process began
};

namespace memory {

/// At least `bytes` bytes, aligned to 64. Throws Error naming the purpose and the account if the system has no more.
void* allocate(size_t bytes, Purpose purpose);
void free(void* pointer) noexcept;

/// What is held on a device.
Account account(Purpose purpose, Device device = Device::cpu);
Account total(Device device = Device::cpu);
/// Books memory that a device other than the CPU gave, or (negative) took back.
void book(Device device, Purpose purpose, int64_t bytes);
/// How often the system was asked for memory: does not grow in a step that repeats.
uint64_t system_requests();
/// Bytes taken from the system, free blocks included.
size_t reserved();
void reset_peaks();
/// A table of the accounts, one line a purpose; one for each device that was used.
std::string report();

}  // namespace memory

/// The purpose that tensors made on this thread are booked to; activations unless a scope says otherwise.
Purpose current_purpose();
class PurposeScope {
public:
    explicit PurposeScope(Purpose purpose);
    ~PurposeScope();
    PurposeScope(const PurposeScope&) = delete;
    PurposeScope& operator=(const PurposeScope&) = delete;

private:
    Purpose previous_;
};

/// The scope of one training step. Activations and workspace made inside must be gone at its end: one that stays is a
/// leak that would grow every step, and check() throws TrainingError naming the purpose and the bytes.
class StepArena {
public:
    explicit StepArena(int64_t step);
    /// Call when the step's tensors are out of scope.
    void check() const;

private:
    int64_t step_;
    std::array<size_t, kDevices> activations_, workspace_;
};

}  // namespace wavllm
