#pragma once
// A tensor: a strided view of shared storage. Copies of a Tensor share memory; reshape, slice and transpose are views.
// The tape of autograd/ hangs on the opaque `autograd_meta`; this floor knows nothing of it, and views made here are
// not differentiable (autograd/ops/view.h has those that are).

#include <span>
#include <string_view>
#include <vector>

#include "tensor/allocator.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/error.h"
#include "tensor/ref.h"
#include "tensor/shape.h"

namespace wavllm {

/// A block of memory that tensors share. Either owned (from the allocator) or borrowed with something that keeps it
/// alive.
class Storage final : public RefCounted {
public:
    Storage(size_t bytes, Purpose purpose, Device device = Device::cpu);
    Storage(const void* borrowed, size_t bytes, Ref<RefCounted> keep_alive);
    ~Storage() override;

    /// On the device: the CPU may not follow it unless that is the device.
    char* data() const {
        return data_;
    }
    Device device() const {
        return device_;
    }
    bool read_only() const {
        return read_only_;
    }
    uint32_t version() const {
        return version_;
    }
    /// What it holds, copied to a device once and again only after it was written to.
    const Ref<Storage>& mirror(Device device) const;
    void written() {
        ++version_;
    }
    std::string_view label() const {
        return label_;
    }
    /// A name for error messages; kept for the life of the process (few names, most are parameters).
    void set_label(std::string_view label);

private:
    size_t bytes_ = 0;
    char* data_ = nullptr;
    Purpose purpose_ = Purpose::data;
    Device device_ = Device::cpu;
    bool read_only_ = false;
    uint32_t version_ = 0;
    std::string_view label_;
    Ref<RefCounted> keep_alive_;
    mutable Ref<Storage> mirror_;
    mutable uint32_t mirror_version_ = 0;
};

class Tensor {
public:
    Tensor() = default;  ///< undefined: defined() is false

    /// Uninitialised memory booked to the current purpose. Block dtypes need a last dimension of whole blocks.
    static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu);
    static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu);
    static Tensor full(const Shape& shape, double value, DType dtype = DType::f32, Device device = Device::cpu);
    template <class T>
    static Tensor from(std::span<const T> values, const Shape& shape);
    template <class T>
    static Tensor from(const std::vector<T>& values, const Shape& shape) {
        return from(std::span<const T>(values), shape);
    }
    /// A read-only tensor over memory that somebody else owns (a mapped file, say), kept alive by `keep_alive`.
    static Tensor borrow(const void* data, const Shape& shape, DType dtype, Ref<RefCounted> keep_alive);

    bool defined() const {
        return static_cast<bool>(storage_);
    }
    const Shape& shape() const {
        return shape_;
    }
    int rank() const {
        return shape_.rank();
    }
    int64_t dim(int i) const {
        return shape_[i];
    }
    int64_t stride(int i) const {
        return strides_[static_cast<size_t>(i < 0 ? i + rank() : i)];
    }
    int64_t numel() const {
        return shape_.numel();
    }
    /// Product of all dimensions but the last: what row-wise ops loop over.
    int64_t rows() const {
        return shape_.last() ? numel() / shape_.last() : 0;
    }
    DType dtype() const {
        return dtype_;
    }
    Device device() const {
        return storage_ ? storage_->device() : Device::cpu;
    }
    bool contiguous() const;
    size_t bytes() const {
        return bytes_for(dtype_, static_cast<size_t>(numel()));
    }

    /// Read access by the CPU. Throws DTypeError if T is not the element type, Error if the tensor is not on the CPU.
    template <class T>
    const T* data() const {
        return static_cast<const T*>(checked(DTypeOf<T>::value));
    }
    /// Write access: counts as an in-place write, which the tape checks against what it saved.
    template <class T>
    T* mutable_data() {
        return static_cast<T*>(const_cast<void*>(writable(DTypeOf<T>::value)));
    }
    const void* raw() const;
    void* mutable_raw() {
        return const_cast<void*>(writable(dtype_));
    }
    /// The same for kernels of the device that the tensor is on. Not for the CPU to follow.
    template <class T>
    const T* device_data() const {
        return static_cast<const T*>(typed(DTypeOf<T>::value));
    }
    template <class T>
    T* mutable_device_data() {
        return static_cast<T*>(const_cast<void*>(overwritten(DTypeOf<T>::value)));
    }
    const void* device_raw() const;
    void* mutable_device_raw() {
        return const_cast<void*>(overwritten(dtype_));
    }

    // Views: no copy, same storage.
    Tensor reshape(const Shape& shape) const;  ///< contiguous tensors only
    Tensor slice(int dim, int64_t begin, int64_t end) const;
    Tensor select(int dim, int64_t index) const;  ///< drops the dimension
    Tensor transpose(int a, int b) const;
    /// This tensor, or a contiguous copy of it if it is a strided view.
    Tensor to_contiguous() const;
    Tensor clone() const;
    /// Copies the elements of a tensor of the same shape and dtype, from whatever device, into this contiguous one:
    /// rows into a cache, a checkpoint into a parameter. Throws ShapeError or DTypeError.
    void assign(const Tensor& from);
    /// Zeros in place; contiguous tensors only.
    void fill_zero();
    /// Converted copy (f32, f64, bf16, f16 among each other; block formats to f32). On a device f32 to bf16 and f16 and
    /// back; DTypeError for others.
    Tensor to(DType dtype) const;
    /// A contiguous copy on that device, under the same label; this tensor itself if it is there already.
    Tensor to(Device device) const;
    /// As to(), for small tensors that many ops read and the CPU plans with (ids, borders, positions): the copy is kept
    /// beside the original and shared by all that ask. Not to be written to.
    Tensor mirror(Device device) const;
    /// All elements as doubles, in row-major order.
    std::vector<double> values() const;
    double item() const;  ///< the only element

    std::string_view label() const {
        return defined() ? storage_->label() : std::string_view{};
    }
    Tensor& set_label(std::string_view label);
    /// For error messages: label, shape and dtype, and the device unless it is the CPU.
    std::string describe() const;

    const Ref<Storage>& storage() const {
        return storage_;
    }
    const Ref<RefCounted>& autograd_meta() const {
        return meta_;
    }
    void set_autograd_meta(Ref<RefCounted> meta) {
        meta_ = std::move(meta);
    }
    /// The same view without its place on the tape.
    Tensor detach() const;

private:
    const void* typed(DType dtype) const;    // throws unless it has this element type
    const void* overwritten(DType dtype);    // ... and may be written: counts as a write
    const void* checked(DType dtype) const;  // as typed, on the CPU
    const void* writable(DType dtype);       // as overwritten, on the CPU
    void expect_cpu() const;
    void set_row_major();

    Ref<Storage> storage_;
    Ref<RefCounted> meta_;
    Shape shape_;
    std::array<int64_t, Shape::kMaxRank> strides_{};
    int64_t offset_ = 0;  // elements
    DType dtype_ = DType::f32;
};

/// What a tensor on a device cannot do without kernels. They stand above this floor and put themselves here before main().
struct DeviceCopies {
    /// Fills y, contiguous and of x's shape, dtype and device, with the strided view x.
    void (*contiguous)(const Tensor& x, Tensor& y) = nullptr;
    /// A contiguous tensor as another dtype.
    Tensor (*convert)(const Tensor& x, DType dtype) = nullptr;
};
DeviceCopies& device_copies();

template <class T>
Tensor Tensor::from(std::span<const T> values, const Shape& shape) {
    Tensor t = empty(shape, DTypeOf<T>::value);
    if (static_cast<int64_t>(values.size()) != shape.numel())
        throw ShapeError("{} values for a tensor of shape {}", values.size(), shape.str());
    std::copy(values.begin(), values.end(), t.mutable_data<T>());
    return t;
}

}  // namespace wavllm
