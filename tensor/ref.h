#pragma once
// Reference-counted objects that live in a recycling pool: storages, gradient slots and tape nodes come and go
// thousands of times a training step, and after the first steps none of them touches the heap.

#include <atomic>
#include <cstddef>
#include <utility>

namespace wavllm {

/// Memory for small objects, kept in free lists by size; never returned to the system. Thread-safe.
void* small_allocate(size_t bytes);
void small_free(void* pointer, size_t bytes) noexcept;

class RefCounted {
public:
    RefCounted() = default;
    RefCounted(const RefCounted&) = delete;
    RefCounted& operator=(const RefCounted&) = delete;
    virtual ~RefCounted() = default;

    static void* operator new(size_t bytes) {
        return small_allocate(bytes);
    }
    static void operator delete(void* pointer, size_t bytes) noexcept {
        small_free(pointer, bytes);
    }

    void retain() const noexcept {
        count_.fetch_add(1, std::memory_order_relaxed);
    }
    void release() const noexcept {
        if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }
    int references() const noexcept {
        return count_.load(std::memory_order_acquire);
    }

private:
    mutable std::atomic<int> count_{0};
};

/// Owning pointer to a RefCounted object.
template <class T>
class Ref {
public:
    Ref() = default;
    explicit Ref(T* object) : object_(object) {
        if (object_) object_->retain();
    }
    Ref(const Ref& other) : Ref(other.object_) {}
    Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
    template <class U>
    Ref(const Ref<U>& other) : Ref(other.get()) {}
    Ref& operator=(Ref other) noexcept {
        std::swap(object_, other.object_);
        return *this;
    }
    ~Ref() {
        if (object_) object_->release();
    }
    T* get() const {
        return object_;
    }
    T* operator->() const {
        return object_;
    }
    T& operator*() const {
        return *object_;
    }
    explicit operator bool() const {
        return object_ != nullptr;
    }

private:
    T* object_ = nullptr;
};

}  // namespace wavllm
