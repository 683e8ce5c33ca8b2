// The device `sim` (tensor/device.h): its memory is the emulator's, and its work is done when a launch returns. Its graphs
// (tensor/graph.h) keep CUDA's rules, so that what breaks them is found without a GPU.

#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "kernels/simt/memory.h"
#include "kernels/simt/record.h"
#include "tensor/device.h"
#include "tensor/error.h"
#include "tensor/graph.h"

namespace wavllm {

namespace {

/// Sizes as the GPU's allocator tells them apart (kernels/cuda/caching_allocator.h).
size_t rounded(size_t bytes) {
    constexpr size_t kAlign = 512;
    return std::max(kAlign, (bytes + kAlign - 1) / kAlign * kAlign);
}

class SimMemory final : public DeviceMemory {
public:
    void* allocate(size_t bytes) override {
        const std::lock_guard lock(mutex_);
        size_t& cached = cached_[rounded(bytes)];
        if (open_ == nullptr) {
            if (cached > 0) --cached;
            return take(bytes);
        }
        // What the captured step gave back serves it again: the graph repeats its work in the same order.
        const auto free = open_->free.find(rounded(bytes));
        if (free != open_->free.end()) {
            void* block = free->second;
            open_->free.erase(free);
            return block;
        }
        if (cached == 0)
            throw Error(
                "{} bytes on sim are not cached, and a GPU's driver may not be asked while a graph is captured; run "
                "the "
                "step once before it is captured",
                bytes);
        --cached;
        void* block = take(rounded(bytes));
        open_->blocks[block] = rounded(bytes);
        return block;
    }
    void free(void* pointer) noexcept override {
        if (pointer == nullptr) return;
        const std::lock_guard lock(mutex_);
        for (Hold* hold : holds_) {
            const auto block = hold->blocks.find(pointer);
            if (block == hold->blocks.end()) continue;
            if (hold == open_)
                hold->free.emplace(block->second, pointer);
            else
                hold->left.insert(pointer);
            return;
        }
        give(pointer);
    }
    void copy_in(void* device, const void* host, size_t bytes) override {
        if (bytes == 0) return;
        expect_no_capture("a copy from the CPU");
        simt::copy_to_device(device, host, bytes);
    }
    void copy_out(void* host, const void* device, size_t bytes) override {
        if (bytes == 0) return;
        expect_no_capture("a copy to the CPU");
        simt::copy_from_device(host, device, bytes);
    }
    void copy(void* to, const void* from, size_t bytes) override {
        if (bytes > 0) now_or_later([=] { simt::copy_to_device(to, from, bytes); });
    }
    void zero(void* device, size_t bytes) override {
        if (bytes == 0) return;
        now_or_later([=] {
            std::memset(device, 0, bytes);
            simt::mark_written(device, bytes);
        });
    }
    void synchronize() override {
        expect_no_capture("waiting for the device");
    }

    /// The blocks of one graph: nobody else gets them while it lives.
    struct Hold {
        std::map<void*, size_t> blocks;
        std::multimap<size_t, void*> free;  ///< of them: given back while the capture goes on
        std::set<void*> left;               ///< ... and after it
    };
    void open(Hold& hold) {
        const std::lock_guard lock(mutex_);
        open_ = &hold;
        holds_.push_back(&hold);
    }
    void close() {
        const std::lock_guard lock(mutex_);
        for (const auto& [size, block] : open_->free) open_->left.insert(block);
        open_ = nullptr;
    }
    void release(Hold& hold) {
        const std::lock_guard lock(mutex_);
        std::erase(holds_, &hold);
        for (void* block : hold.left) give(block);
    }

private:
    template <class F>
    static void now_or_later(F&& work) {
        if (simt::LaunchList* list = simt::recording_to()) return list->add(work);
        work();
    }
    void* take(size_t bytes) {
        void* block = simt::allocate(bytes == 0 ? 1 : bytes, "tensor");
        sizes_[block] = rounded(bytes);
        return block;
    }
    void give(void* block) noexcept {
        const auto size = sizes_.find(block);
        if (size != sizes_.end()) {
            ++cached_[size->second];
            sizes_.erase(size);
        }
        simt::deallocate(block);
    }

    std::mutex mutex_;
    std::map<void*, size_t> sizes_;    // of what is handed out
    std::map<size_t, size_t> cached_;  // how many blocks of a size a GPU's allocator would have at hand
    std::vector<Hold*> holds_;
    Hold* open_ = nullptr;
};

// Never destroyed: static tensors may outlive this file.
SimMemory& sim_memory = *new SimMemory;

class SimGraph final : public RecordedStep {
public:
    explicit SimGraph(const std::function<void()>& step) {
        sim_memory.open(hold_);
        try {
            const simt::RecordTo scope(list_);
            step();
        } catch (...) {
            sim_memory.close();
            sim_memory.release(hold_);
            throw;
        }
        sim_memory.close();
    }
    ~SimGraph() override {
        sim_memory.release(hold_);
    }
    SimGraph(const SimGraph&) = delete;
    SimGraph& operator=(const SimGraph&) = delete;
    void launch() override {
        list_.run();
    }

private:
    SimMemory::Hold hold_;
    simt::LaunchList list_;
};

[[maybe_unused]] const bool registered =
    (register_device(Device::sim, &sim_memory),
     register_graphs(Device::sim,
                     [](const std::function<void()>& step) -> std::unique_ptr<RecordedStep> {
                         return std::make_unique<SimGraph>(step);
                     }),
     true);

}  // namespace

}  // namespace wavllm
