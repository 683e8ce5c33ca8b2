#include "tensor/tensor.h"

#include <cstring>
#include <mutex>
#include <set>

namespace wavllm {

namespace {

std::string_view intern(std::string_view text) {
    static std::mutex mutex;
    static auto* names = new std::set<std::string, std::less<>>;
    std::lock_guard lock(mutex);
    auto it = names->find(text);
    if (it == names->end()) it = names->emplace(text).first;
    return *it;
}

double element(DType dtype, const void* data, int64_t i) {
    switch (dtype) {
        case DType::f64: return static_cast<const double*>(data)[i];
        case DType::f32: return static_cast<const float*>(data)[i];
        case DType::bf16: return to_f32(static_cast<const bf16*>(data)[i]);
        case DType::f16: return to_f32(static_cast<const f16*>(data)[i]);
        case DType::i32: return static_cast<const int32_t*>(data)[i];
        case DType::i64: return static_cast<double>(static_cast<const int64_t*>(data)[i]);
        case DType::u8: return static_cast<const uint8_t*>(data)[i];
        default: throw DTypeError("elements of {} cannot be read one by one; use to(f32)", name(dtype));
    }
}

void set_element(DType dtype, void* data, int64_t i, double v) {
    switch (dtype) {
        case DType::f64: static_cast<double*>(data)[i] = v; return;
        case DType::f32: static_cast<float*>(data)[i] = static_cast<float>(v); return;
        case DType::bf16: static_cast<bf16*>(data)[i] = to_bf16(static_cast<float>(v)); return;
        case DType::f16: static_cast<f16*>(data)[i] = to_f16(static_cast<float>(v)); return;
        case DType::i32: static_cast<int32_t*>(data)[i] = static_cast<int32_t>(v); return;
        case DType::i64: static_cast<int64_t*>(data)[i] = static_cast<int64_t>(v); return;
        case DType::u8: static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(v); return;
        default: throw DTypeError("elements of {} cannot be written one by one", name(dtype));
    }
}

}  // namespace

Storage::Storage(size_t bytes, Purpose purpose, Device device) : bytes_(bytes), purpose_(purpose), device_(device) {
    if (device == Device::cpu) {
        data_ = static_cast<char*>(memory::allocate(bytes, purpose));
        return;
    }
    data_ = static_cast<char*>(device_memory(device).allocate(bytes));
    memory::book(device, purpose, static_cast<int64_t>(bytes));
}

Storage::Storage(const void* borrowed, size_t bytes, Ref<RefCounted> keep_alive)
    : bytes_(bytes),
      data_(static_cast<char*>(const_cast<void*>(borrowed))),
      read_only_(true),
      keep_alive_(std::move(keep_alive)) {}

Storage::~Storage() {
    if (read_only_) return;
    if (device_ == Device::cpu) {
        memory::free(data_);
    } else {
        device_memory(device_).free(data_);
        memory::book(device_, purpose_, -static_cast<int64_t>(bytes_));
    }
}

const Ref<Storage>& Storage::mirror(Device device) const {
    if (!mirror_ || mirror_->device() != device || mirror_version_ != version_) {
        Ref<Storage> made(new Storage(bytes_, Purpose::data, device));
        device_memory(device).copy_in(made->data_, data_, bytes_);  // throws while a graph is captured
        mirror_ = std::move(made);
        mirror_version_ = version_;
    }
    return mirror_;
}

void Storage::set_label(std::string_view label) {
    label_ = intern(label);
}

DeviceCopies& device_copies() {
    static DeviceCopies copies;
    return copies;
}

void Tensor::set_row_major() {
    int64_t stride = 1;
    for (int i = rank() - 1; i >= 0; --i) {
        strides_[static_cast<size_t>(i)] = stride;
        stride *= shape_[i];
    }
}

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
    require_available(device);
    const int block = info(dtype).block_elements;
    if (shape.last() % block != 0)
        throw ShapeError("a {} tensor of shape {}: rows must be whole blocks of {}", wavllm::name(dtype), shape.str(),
                         block);
    Tensor t;
    t.shape_ = shape;
    t.dtype_ = dtype;
    t.storage_ = Ref<Storage>(new Storage(t.bytes(), current_purpose(), device));
    t.set_row_major();
    return t;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
    Tensor t = empty(shape, dtype, device);
    t.fill_zero();
    return t;
}

void Tensor::fill_zero() {
    if (!contiguous()) throw ShapeError("fill_zero: {} is a strided view", describe());
    if (device() == Device::cpu)
        std::memset(mutable_raw(), 0, bytes());
    else
        device_memory(device()).zero(mutable_device_raw(), bytes());
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
    Tensor t = empty(shape, dtype);
    void* data = t.mutable_raw();
    for (int64_t i = 0; i < t.numel(); ++i) set_element(dtype, data, i, value);
    return t.to(device);
}

Tensor Tensor::borrow(const void* data, const Shape& shape, DType dtype, Ref<RefCounted> keep_alive) {
    Tensor t;
    t.shape_ = shape;
    t.dtype_ = dtype;
    t.storage_ = Ref<Storage>(new Storage(data, t.bytes(), std::move(keep_alive)));
    t.set_row_major();
    return t;
}

bool Tensor::contiguous() const {
    int64_t expected = 1;
    for (int i = rank() - 1; i >= 0; --i) {
        if (shape_[i] != 1 && stride(i) != expected) return false;
        expected *= shape_[i];
    }
    return true;
}

const void* Tensor::device_raw() const {
    if (!defined()) throw Error("an undefined tensor was read");
    return storage_->data() + bytes_for(dtype_, static_cast<size_t>(offset_));
}

void Tensor::expect_cpu() const {
    if (device() != Device::cpu)
        throw Error("{}: the CPU was to read or write it; to(Device::cpu) brings it there", describe());
}

const void* Tensor::raw() const {
    expect_cpu();
    return device_raw();
}

const void* Tensor::typed(DType dtype) const {
    if (dtype != dtype_) throw DTypeError("{} read as {}", describe(), wavllm::name(dtype));
    return device_raw();
}

const void* Tensor::checked(DType dtype) const {
    expect_cpu();
    return typed(dtype);
}

const void* Tensor::overwritten(DType dtype) {
    const void* data = typed(dtype);
    if (storage_->read_only()) throw Error("{} is read-only: it lies in a mapped file", describe());
    storage_->written();
    return data;
}

const void* Tensor::writable(DType dtype) {
    expect_cpu();
    return overwritten(dtype);
}

Tensor Tensor::reshape(const Shape& shape) const {
    if (shape.numel() != numel() || !contiguous())
        throw ShapeError("reshape: {} cannot be viewed as {}{}", describe(), shape.str(),
                         contiguous() ? "" : " without a copy; call to_contiguous() first");
    Tensor t = detach();
    t.shape_ = shape;
    t.set_row_major();
    return t;
}

Tensor Tensor::slice(int dim, int64_t begin, int64_t end) const {
    if (dim < 0) dim += rank();
    if (dim < 0 || dim >= rank() || begin < 0 || end < begin || end > shape_[dim])
        throw ShapeError("slice [{}, {}) of dimension {} of {}", begin, end, dim, describe());
    if (dim == rank() - 1 && info(dtype_).frozen_block) throw DTypeError("slice: rows of {} cannot be cut", describe());
    Tensor t = detach();
    t.offset_ += begin * stride(dim);
    t.shape_ = shape_.with(dim, end - begin);
    return t;
}

Tensor Tensor::select(int dim, int64_t index) const {
    Tensor t = slice(dim, index, index + 1);
    if (dim < 0) dim += rank();
    int64_t dims[Shape::kMaxRank];
    int n = 0;
    for (int i = 0; i < rank(); ++i) {
        if (i == dim) continue;
        dims[n] = shape_[i];
        t.strides_[static_cast<size_t>(n++)] = stride(i);
    }
    t.shape_ = Shape(std::span<const int64_t>(dims, static_cast<size_t>(n)));
    return t;
}

Tensor Tensor::transpose(int a, int b) const {
    if (a < 0) a += rank();
    if (b < 0) b += rank();
    if (a < 0 || b < 0 || a >= rank() || b >= rank()) throw ShapeError("transpose({}, {}) of {}", a, b, describe());
    Tensor t = detach();
    t.shape_ = shape_.with(a, shape_[b]).with(b, shape_[a]);
    std::swap(t.strides_[static_cast<size_t>(a)], t.strides_[static_cast<size_t>(b)]);
    return t;
}

Tensor Tensor::to_contiguous() const {
    if (contiguous()) return *this;
    Tensor t = empty(shape_, dtype_, device());
    if (device() != Device::cpu) {
        if (!device_copies().contiguous) throw Error("{}: no kernel was linked that copies strided views", describe());
        device_copies().contiguous(*this, t);
        return t;
    }
    const size_t size = static_cast<size_t>(info(dtype_).block_bytes);
    const char* source = static_cast<const char*>(raw());
    char* out = static_cast<char*>(t.mutable_raw());
    const int64_t columns = shape_.last(), column_stride = rank() ? stride(-1) : 1;
    std::array<int64_t, Shape::kMaxRank> index{};
    for (int64_t row = 0, n = rows(); row < n; ++row) {
        int64_t at = 0;
        for (int i = 0; i + 1 < rank(); ++i) at += index[static_cast<size_t>(i)] * stride(i);
        for (int64_t c = 0; c < columns; ++c, out += size)
            std::memcpy(out, source + static_cast<size_t>(at + c * column_stride) * size, size);
        for (int i = rank() - 2; i >= 0 && ++index[static_cast<size_t>(i)] == shape_[i]; --i)
            index[static_cast<size_t>(i)] = 0;
    }
    return t;
}

Tensor Tensor::clone() const {
    if (!contiguous()) return to_contiguous();
    Tensor t = empty(shape_, dtype_, device());
    if (device() == Device::cpu)
        std::memcpy(t.mutable_raw(), raw(), bytes());
    else
        device_memory(device()).copy(t.mutable_device_raw(), device_raw(), bytes());
    return t;
}

void Tensor::assign(const Tensor& from) {
    if (!contiguous()) throw ShapeError("assign: {} is a strided view", describe());
    if (!(from.shape() == shape_)) throw ShapeError("assign: {} into {}", from.describe(), describe());
    if (from.dtype() != dtype_) throw DTypeError("assign: {} into {}", from.describe(), describe());
    if (numel() == 0) return;
    if (device() != Device::cpu && from.device() == Device::cpu && from.contiguous())
        return device_memory(device()).copy_in(mutable_device_raw(), from.raw(), bytes());
    if (from.device() != device()) return assign(from.to(device()));
    if (device() != Device::cpu && !from.contiguous() && device_copies().contiguous)
        return device_copies().contiguous(from, *this);
    const Tensor source = from.to_contiguous();
    if (device() == Device::cpu)
        std::memmove(mutable_raw(), source.raw(), bytes());
    else
        device_memory(device()).copy(mutable_device_raw(), source.device_raw(), bytes());
}

Tensor Tensor::to(Device device) const {
    if (device == this->device()) return *this;
    if (device != Device::cpu && this->device() != Device::cpu) return to(Device::cpu).to(device);
    const Tensor source = to_contiguous();
    Tensor t = empty(shape_, dtype_, device);
    if (device == Device::cpu)
        device_memory(this->device()).copy_out(t.mutable_raw(), source.device_raw(), bytes());
    else
        device_memory(device).copy_in(t.mutable_device_raw(), source.raw(), bytes());
    if (!label().empty()) t.set_label(label());
    return t;
}

Tensor Tensor::to(DType dtype) const {
    if (dtype == dtype_) return clone();
    if (device() != Device::cpu) {
        if (!device_copies().convert) throw Error("{}: no kernel was linked that converts dtypes", describe());
        return device_copies().convert(to_contiguous(), dtype);
    }
    const Tensor source = to_contiguous();
    Tensor t = empty(shape_, dtype);
    if (dtype == DType::f32 && info(dtype_).floating) {
        dequantize(dtype_, source.raw(), t.mutable_data<float>(), static_cast<size_t>(numel()));
        return t;
    }
    void* out = t.mutable_raw();
    for (int64_t i = 0, n = numel(); i < n; ++i) set_element(dtype, out, i, element(dtype_, source.raw(), i));
    return t;
}

Tensor Tensor::mirror(Device device) const {
    if (device == this->device()) return *this;
    expect_cpu();
    Tensor t = detach();
    t.storage_ = storage_->mirror(device);
    return t;
}

std::vector<double> Tensor::values() const {
    if (device() != Device::cpu) return to(Device::cpu).values();
    if (info(dtype_).frozen_block) return to(DType::f32).values();
    const Tensor t = to_contiguous();
    std::vector<double> result(static_cast<size_t>(numel()));
    for (size_t i = 0; i < result.size(); ++i) result[i] = element(dtype_, t.raw(), static_cast<int64_t>(i));
    return result;
}

double Tensor::item() const {
    if (numel() != 1) throw ShapeError("item() of {}", describe());
    return element(dtype_, to(Device::cpu).raw(), 0);
}

Tensor& Tensor::set_label(std::string_view label) {
    storage_->set_label(label);
    return *this;
}

std::string Tensor::describe() const {
    if (!defined()) return "an undefined tensor";
    std::string what = fmt::format("{} {}", shape_.str(), wavllm::name(dtype_));
    if (device() != Device::cpu) what += fmt::format(" on {}", wavllm::name(device()));
    return label().empty() ? what : fmt::format("\"{}\" {}", label(), what);
}

Tensor Tensor::detach() const {
    Tensor t = *this;
    t.meta_ = {};
    return t;
}

}  // namespace wavllm
