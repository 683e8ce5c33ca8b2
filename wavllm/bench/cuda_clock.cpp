// The clock of Device::cuda: CUDA's events around the work, with an L2 cache that holds nothing of it.

#include <memory>

#include "kernels/cuda/timer.h"
#include "tensor/tensor.h"
#include "wavllm/bench/device_clock.h"

namespace wavllm {

namespace {

class GpuClock final : public DeviceClock {
public:
    double seconds(const std::function<void()>& work) override {
        if (!timer_) {
            timer_ = std::make_unique<cuda::Timer>();
            const PurposeScope scope(Purpose::data);
            flush_ = Tensor::empty({static_cast<int64_t>(4 * cuda::properties().l2_bytes)}, DType::u8, Device::cuda);
        }
        flush_.fill_zero();  // also keeps the GPU busy while the host gives it the work
        timer_->start();
        work();
        return timer_->stop();
    }

private:
    std::unique_ptr<cuda::Timer> timer_;
    Tensor flush_;
};

/// Never destroyed: CUDA may be gone when static objects are.
[[maybe_unused]] const bool registered = (register_device_clock(Device::cuda, new GpuClock), true);

}  // namespace

}  // namespace wavllm
