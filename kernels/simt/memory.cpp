#include "kernels/simt/memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstring>
#include <deque>
#include <map>
#include <mutex>

#include "kernels/simt/engine/shadow.h"
#include "tensor/error.h"

namespace wavllm::simt {

DeviceRange device_range;

namespace {

constexpr size_t kRange = size_t{16} << 30;
constexpr size_t kAlignment = 256, kRedzone = 256;

struct Allocation {
    size_t bytes = 0;
    size_t span = 0;  ///< with the red zone behind it
    const char* label = nullptr;
    bool live = false;
    uint64_t born = 0;  ///< number of unwatched launches before it
};

std::mutex mutex;  // of all that follows
std::map<uintptr_t, Allocation> allocations;
std::map<uintptr_t, size_t> free_spans;
std::deque<uintptr_t> quarantine;
size_t quarantine_limit = size_t{64} << 20;
MemoryAccount account;
uint64_t unwatched_launches = 0;

/// Addresses only: memory comes when it is touched.
void* reserve(size_t bytes) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        throw Error("simt: cannot reserve {} GiB of addresses (they need no memory); is there a limit, see ulimit -v?",
                    bytes >> 30);
    return p;
}

void open_range() {
    if (device_range.begin != 0) return;
    void* memory = reserve(kRange);
    device_range.states = static_cast<unsigned char*>(reserve(kRange));
    device_range.bytes = kRange;
    device_range.begin = reinterpret_cast<uintptr_t>(memory);
    // The first page stays a red zone.
    free_spans[device_range.begin + 4096] = kRange - 2 * 4096;
}

unsigned char* states_of(uintptr_t address) {
    return device_range.states + (address - device_range.begin);
}

/// The allocation that begins at or before the address; end() if there is none.
auto allocation_at(uintptr_t address) {
    auto next = allocations.upper_bound(address);
    return next == allocations.begin() ? allocations.end() : std::prev(next);
}

/// Gives the oldest of the quarantine back for use.
void recycle_oldest() {
    const uintptr_t begin = quarantine.front();
    quarantine.pop_front();
    const auto a = allocations.find(begin);
    const size_t span = a->second.span;
    account.quarantine -= a->second.bytes;
    allocations.erase(a);
    std::memset(states_of(begin), outside, span);
    auto here = free_spans.emplace(begin, span).first;
    const auto next = std::next(here);
    if (next != free_spans.end() && here->first + here->second == next->first) {
        here->second += next->second;
        free_spans.erase(next);
    }
    if (here != free_spans.begin()) {
        const auto before = std::prev(here);
        if (before->first + before->second == here->first) {
            before->second += here->second;
            free_spans.erase(here);
        }
    }
}

void* take(size_t bytes, const char* label) {
    const size_t span = (bytes + kAlignment - 1) / kAlignment * kAlignment + kRedzone;
    for (auto s = free_spans.begin(); s != free_spans.end(); ++s) {
        if (s->second < span) continue;
        const uintptr_t begin = s->first;
        const size_t rest = s->second - span;
        free_spans.erase(s);
        if (rest > 0) free_spans[begin + span] = rest;
        allocations[begin] = {bytes, span, label, true, unwatched_launches};
        return reinterpret_cast<void*>(begin);
    }
    return nullptr;
}

std::string name_of(const Allocation& a) {
    return a.label != nullptr ? fmt::format("\"{}\" ({} bytes)", a.label, a.bytes)
                              : fmt::format("an allocation of {} bytes", a.bytes);
}

/// Throws if [device, device + bytes) is not inside one live allocation.
void expect_live(const char* what, const void* device, size_t bytes) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(device);
    std::lock_guard lock(mutex);
    const auto a = allocation_at(address);
    if (a == allocations.end() || address - a->first > a->second.bytes)
        throw Error("simt: {}: {} is not device memory of the emulator", what, device);
    if (!a->second.live) throw Error("simt: {}: {} was freed", what, name_of(a->second));
    if (bytes > a->second.bytes - (address - a->first))
        throw Error("simt: {}: {} bytes from byte {} of {} are more than it has", what, bytes, address - a->first,
                    name_of(a->second));
}

}  // namespace

void fill_poison(void* p, size_t bytes) {
    unsigned char* c = static_cast<unsigned char*>(p);
    size_t i = 0;
    for (; i + 4 <= bytes; i += 4) std::memcpy(c + i, &poison, 4);
    std::memcpy(c + i, &poison, bytes - i);
}

void* allocate(size_t bytes, const char* label) {
    std::lock_guard lock(mutex);
    open_range();
    void* p = bytes > kRange ? nullptr : take(bytes, label);
    while (p == nullptr && !quarantine.empty()) {
        recycle_oldest();
        p = take(bytes, label);
    }
    if (p == nullptr)
        throw Error("simt: no room for {} bytes of device memory: {} of {} are in use", bytes, account.bytes, kRange);
    fill_poison(p, bytes);
    std::memset(states_of(reinterpret_cast<uintptr_t>(p)), unwritten, bytes);
    account.bytes += bytes;
    account.peak = std::max(account.peak, account.bytes);
    ++account.allocations;
    return p;
}

void deallocate(void* pointer) {
    if (pointer == nullptr) return;
    std::lock_guard lock(mutex);
    const uintptr_t begin = reinterpret_cast<uintptr_t>(pointer);
    const auto a = allocations.find(begin);
    if (a == allocations.end()) throw Error("simt: deallocate: {} did not come from allocate", pointer);
    if (!a->second.live) throw Error("simt: deallocate: {} was freed before", name_of(a->second));
    a->second.live = false;
    fill_poison(pointer, a->second.bytes);
    std::memset(states_of(begin), freed, a->second.bytes);
    account.bytes -= a->second.bytes;
    --account.allocations;
    account.quarantine += a->second.bytes;
    quarantine.push_back(begin);
    while (account.quarantine > quarantine_limit) recycle_oldest();
}

bool is_device_pointer(const void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) - device_range.begin < device_range.bytes;
}

void copy_to_device(void* device, const void* host, size_t bytes) {
    if (bytes == 0) return;
    expect_live("copy_to_device", device, bytes);
    std::memcpy(device, host, bytes);
    std::memset(states_of(reinterpret_cast<uintptr_t>(device)), written, bytes);
}

void copy_from_device(void* host, const void* device, size_t bytes) {
    if (bytes == 0) return;
    expect_live("copy_from_device", device, bytes);
    const uintptr_t begin = reinterpret_cast<uintptr_t>(device);
    for (size_t i = 0; i < bytes; ++i)
        if (*states_of(begin + i) != written && !maybe_written_unseen(begin + i))
            throw Error("simt: copy_from_device: nobody has written {}", describe_device_address(begin + i));
    std::memcpy(host, device, bytes);
}

void mark_written(void* device, size_t bytes) {
    if (bytes == 0) return;
    expect_live("mark_written", device, bytes);
    std::memset(states_of(reinterpret_cast<uintptr_t>(device)), written, bytes);
}

MemoryAccount memory_account() {
    std::lock_guard lock(mutex);
    return account;
}

void set_quarantine(size_t bytes) {
    std::lock_guard lock(mutex);
    quarantine_limit = bytes;
    while (account.quarantine > quarantine_limit) recycle_oldest();
}

void need_device_cells() {
    std::lock_guard lock(mutex);
    open_range();
    if (device_range.cells == nullptr) device_range.cells = static_cast<Cell*>(reserve(kRange / 4 * sizeof(Cell)));
}

std::string describe_device_address(uintptr_t address) {
    std::lock_guard lock(mutex);
    const auto a = allocation_at(address);
    const auto next = allocations.upper_bound(address);
    if (next != allocations.end() && next->first - address <= 16 &&
        (a == allocations.end() || address >= a->first + a->second.bytes + 16))
        return fmt::format("{} bytes before {}", next->first - address, name_of(next->second));
    if (a == allocations.end()) return "before all allocations";
    const size_t offset = address - a->first;
    if (offset < a->second.bytes) return fmt::format("byte {} of {}", offset, name_of(a->second));
    return fmt::format("{} bytes beyond the end of {}", offset - a->second.bytes, name_of(a->second));
}

bool maybe_written_unseen(uintptr_t address) {
    std::lock_guard lock(mutex);
    const auto a = allocation_at(address);
    if (a == allocations.end() || !a->second.live || a->second.born == unwatched_launches ||
        address - a->first >= a->second.bytes)
        return false;
    std::memset(states_of(a->first), written, a->second.bytes);  // so that this is asked once
    return true;
}

void note_unwatched_launch() {
    std::lock_guard lock(mutex);
    ++unwatched_launches;
}

}  // namespace wavllm::simt
