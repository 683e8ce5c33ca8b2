#pragma once
// Reverse-mode differentiation on an eager tape. Every differentiable op computes its result at once and, if an input
// wants a gradient, records how to go back. backward() walks the tape from its end; nodes free what they saved as soon
// as they ran.
//
// An op's derivative (one file in autograd/ops/):
//
//     Tensor rms_norm(const Tensor& x, const Tensor& w, double eps) {
//         return record("rms_norm", kernels::rms_norm(x, w, eps), {&x, &w}, [&] {
//             return [x = Saved(x), w = Saved(w), eps](Backward& b) {
//                 if (b.wants(0)) b.add(0, kernels::rms_norm_backward_x(b.dy(), x.get(), w.get(), eps));
//                 if (b.wants(1)) kernels::rms_norm_backward_w(b.dy(), x.get(), eps, b.accumulate(1));
//             };
//         });
//     }
//
// The outer lambda runs only if something wants a gradient: a frozen layer saves nothing and costs nothing.

#include <initializer_list>
#include <string_view>
#include <utility>

#include "tensor/op_clock.h"
#include "tensor/tensor.h"

namespace wavllm {

/// The gradient slot of a tensor that wants one.
struct GradSlot final : RefCounted {
    Tensor grad;  ///< undefined until something arrives
    Shape shape;
    Device device = Device::cpu;  ///< of the tensor, and so of its gradient
    DType dtype = DType::f32;     ///< likewise
    bool frozen = false;          ///< a leaf that wants no gradient for now
    bool leaf = false;            ///< a parameter or input, not the result of an op
    bool arrived = false;         ///< something was added since the gradient was last forgotten
    std::string_view label;
};

/// Marks a leaf (a parameter, or an input to differentiate by). Throws if t is the result of a recorded op, or neither
/// f32 nor f64.
void set_requires_grad(Tensor& t, bool on = true);
bool requires_grad(const Tensor& t);
/// Freezes a leaf, or thaws it, for every tensor that shares it: a stage of training that leaves a parameter alone.
/// Throws TrainingError if t is no leaf.
void set_frozen(const Tensor& t, bool frozen);
/// The gradient that backward() left in a leaf; undefined if none arrived.
Tensor grad(const Tensor& t);
/// Whether backward() has added to it since zero_grad().
bool gradient_arrived(const Tensor& t);
/// Forgets the gradient of a leaf (the memory is kept and zeroed if `keep_memory`).
void zero_grad(const Tensor& t, bool keep_memory = false);

bool grad_enabled();
/// Nothing is recorded while one of these lives.
class NoGrad {
public:
    NoGrad();
    ~NoGrad();
    NoGrad(const NoGrad&) = delete;
    NoGrad& operator=(const NoGrad&) = delete;

private:
    bool previous_;
};

/// While one of these lives, every op's result and every gradient is checked: the first one that is not finite throws
/// TrainingError naming the op that made it. Costs one pass over each result; the trainer replays a bad step under it.
class FiniteCheck {
public:
    FiniteCheck();
    ~FiniteCheck();
    FiniteCheck(const FiniteCheck&) = delete;
    FiniteCheck& operator=(const FiniteCheck&) = delete;

private:
    bool previous_;
};

/// A tensor that a backward function needs. get() throws TrainingError if it was written to in place since.
class Saved {
public:
    explicit Saved(const Tensor& t) : tensor_(t.detach()), version_(t.defined() ? t.storage()->version() : 0) {}
    /// Saves only if needed: `Saved::when(requires_grad(w), x)` costs nothing where w is frozen.
    static Saved when(bool needed, const Tensor& t) {
        return Saved(needed ? t : Tensor());
    }
    const Tensor& get() const;

private:
    Tensor tensor_;
    uint32_t version_;
};

/// What a backward function sees: the gradient of its result, and the slots of its inputs.
class Backward {
public:
    const Tensor& dy() const {
        return dy_;
    }
    bool wants(int input) const {
        return static_cast<bool>(slots_[input]);
    }
    /// Adds a gradient of the input's shape. The tensor is taken over if nothing arrived before.
    void add(int input, Tensor gradient);
    /// The input's gradient to add into, zeros at first: for kernels that accumulate (weights).
    Tensor& accumulate(int input);

private:
    friend class Tape;
    Backward(std::string_view op, const Tensor& dy, const Ref<GradSlot>* slots) : op_(op), dy_(dy), slots_(slots) {}
    std::string_view op_;
    const Tensor& dy_;
    const Ref<GradSlot>* slots_;
};

/// One step back. Lives in the small-object pool.
class TapeNode : public RefCounted {
public:
    static constexpr int kMaxInputs = 12;
    virtual void run(Backward& b) = 0;

    std::string_view op;
    Ref<GradSlot> output;
    std::array<Ref<GradSlot>, kMaxInputs> inputs;
    Ref<TapeNode> previous;
};

/// Goes back from a scalar loss through everything recorded on this thread, leaves gradients in the leaves, clears the
/// tape. Throws TrainingError if the loss is no scalar or was not recorded.
void backward(const Tensor& loss);
/// The same from any result with its gradient given.
void backward(const Tensor& y, const Tensor& dy);
/// Drops what is recorded without going back.
void clear_tape();
/// Nodes on this thread's tape.
int64_t tape_length();

/// A fresh tape for as long as it lives (activation checkpointing); the outer one comes back after.
class SubTape {
public:
    SubTape();
    ~SubTape();
    SubTape(const SubTape&) = delete;
    SubTape& operator=(const SubTape&) = delete;

private:
    Ref<TapeNode> outer_;
    bool outer_enabled_;
};

namespace detail {

bool any_requires_grad(std::initializer_list<const Tensor*> inputs);
void check_result(std::string_view op, const Tensor& y, std::initializer_list<const Tensor*> inputs);
void push(Ref<TapeNode> node, std::string_view op, Tensor& y, std::initializer_list<const Tensor*> inputs);

template <class F>
class LambdaNode final : public TapeNode {
public:
    explicit LambdaNode(F f) : function_(std::move(f)) {}
    void run(Backward& b) override {
        function_(b);
    }

private:
    F function_;
};

}  // namespace detail

/// Records `y = op(inputs)`. make_backward is called only if an input wants a gradient; it returns the function that,
/// given Backward, passes dy on. Null pointers among inputs stand for optional ones that are absent.
template <class Make>
Tensor record(std::string_view op, Tensor y, std::initializer_list<const Tensor*> inputs, Make&& make_backward) {
    OpClock::read(op, OpClock::Pass::forward);
    detail::check_result(op, y, inputs);
    if (!detail::any_requires_grad(inputs)) return y;
    auto function = make_backward();
    detail::push(Ref<TapeNode>(new detail::LambdaNode<decltype(function)>(std::move(function))), op, y, inputs);
    return y;
}

}  // namespace wavllm
