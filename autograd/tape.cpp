#include "autograd/tape.h"

#include <cmath>

#include "kernels/add/add.h"
#include "kernels/common/check.h"
#include "kernels/common/finite.h"
#include "tensor/error.h"

namespace wavllm {

namespace {

thread_local Ref<TapeNode> t_tape;
thread_local bool t_enabled = true;
thread_local bool t_check_finite = false;
thread_local int64_t t_length = 0;

Ref<GradSlot> slot_of(const Tensor& t) {
    // only this floor ever sets the meta, and only to GradSlots
    return Ref<GradSlot>(static_cast<GradSlot*>(t.autograd_meta().get()));
}

Ref<TapeNode> pop_tape() {
    Ref<TapeNode> node = std::move(t_tape);
    t_tape = std::move(node->previous);
    --t_length;
    return node;
}

}  // namespace

void set_requires_grad(Tensor& t, bool on) {
    if (!on) return t.set_autograd_meta({});
    if (t.dtype() != DType::f32 && t.dtype() != DType::f64)
        throw DTypeError("requires_grad: only f32 and f64 tensors are trained, but this is {}", t.describe());
    if (const auto slot = slot_of(t); slot && !slot->leaf)
        throw TrainingError("requires_grad: {} is the result of an op; detach() it first", t.describe());
    Ref<GradSlot> slot(new GradSlot);
    slot->leaf = true;
    slot->shape = t.shape();
    slot->device = t.device();
    slot->dtype = t.dtype();
    slot->label = t.label();
    t.set_autograd_meta(slot);
}

bool requires_grad(const Tensor& t) {
    return t.defined() && t.autograd_meta() && !static_cast<const GradSlot*>(t.autograd_meta().get())->frozen;
}

void set_frozen(const Tensor& t, bool frozen) {
    const auto slot = slot_of(t);
    if (!slot || !slot->leaf) throw TrainingError("set_frozen: {} is no parameter", t.describe());
    slot->frozen = frozen;
}

Tensor grad(const Tensor& t) {
    const auto slot = slot_of(t);
    return slot ? slot->grad : Tensor();
}

bool gradient_arrived(const Tensor& t) {
    const auto slot = slot_of(t);
    return slot && slot->arrived;
}

void zero_grad(const Tensor& t, bool keep_memory) {
    const auto slot = slot_of(t);
    if (slot) slot->arrived = false;
    if (!slot || !slot->grad.defined()) return;
    if (keep_memory)
        slot->grad.fill_zero();
    else
        slot->grad = Tensor();
}

bool grad_enabled() {
    return t_enabled;
}

NoGrad::NoGrad() : previous_(std::exchange(t_enabled, false)) {}
NoGrad::~NoGrad() {
    t_enabled = previous_;
}

FiniteCheck::FiniteCheck() : previous_(std::exchange(t_check_finite, true)) {}
FiniteCheck::~FiniteCheck() {
    t_check_finite = previous_;
}

const Tensor& Saved::get() const {
    if (tensor_.defined() && tensor_.storage()->version() != version_)
        throw TrainingError(
            "{} was written to in place after an op saved it for its backward pass; write to a copy instead",
            tensor_.describe());
    return tensor_;
}

void Backward::add(int input, Tensor gradient) {
    GradSlot& slot = *slots_[input];
    if (!(gradient.shape() == slot.shape))
        throw ShapeError("{} backward: gradient {} for input {} of shape {}", op_, gradient.describe(), input,
                         slot.shape.str());
    if (gradient.dtype() != slot.dtype)
        throw DTypeError("{} backward: gradient {} for input {}, which is {}", op_, gradient.describe(), input,
                         name(slot.dtype));
    if (gradient.device() != slot.device)
        throw Error("{} backward: gradient {} for input {}, which is on {}", op_, gradient.describe(), input,
                    name(slot.device));
    if (t_check_finite && !kernels::all_finite(gradient))
        throw TrainingError("{} backward: the gradient of input {}{} is the first value that is not finite", op_, input,
                            slot.label.empty() ? "" : fmt::format(" (\"{}\")", slot.label));
    if (slot.leaf) {
        kernels::add_(accumulate(input), gradient);
    } else if (!slot.grad.defined()) {
        slot.grad = std::move(gradient);
    } else if (slot.grad.storage()->references() == 1) {
        kernels::add_(slot.grad, gradient);
    } else {
        slot.grad = kernels::add(slot.grad, gradient);  // dy of a residual add is shared by both inputs
    }
}

Tensor& Backward::accumulate(int input) {
    GradSlot& slot = *slots_[input];
    slot.arrived = true;
    if (!slot.grad.defined()) {
        PurposeScope scope(slot.leaf ? Purpose::gradients : Purpose::activations);
        slot.grad = Tensor::zeros(slot.shape, slot.dtype, slot.device);
    } else if (!slot.leaf && slot.grad.storage()->references() > 1) {
        slot.grad = slot.grad.clone();
    }
    return slot.grad;
}

class Tape {
public:
    static void run_all() {
        while (t_tape) {
            Ref<TapeNode> node = pop_tape();
            if (!node->output->grad.defined()) continue;
            const Tensor dy = std::move(node->output->grad);
            node->output->grad = Tensor();
            Backward b(node->op, dy, node->inputs.data());
            node->run(b);
            OpClock::read(node->op, OpClock::Pass::backward);
        }
    }
};

void backward(const Tensor& loss) {
    if (loss.numel() != 1) throw TrainingError("backward: the loss must be a scalar, but is {}", loss.describe());
    backward(loss, Tensor::full(loss.shape(), 1.0, loss.dtype(), loss.device()));
}

void backward(const Tensor& y, const Tensor& dy) {
    const auto slot = slot_of(y);
    if (!slot)
        throw TrainingError("backward: {} depends on nothing that requires a gradient; was it computed under NoGrad?",
                            y.describe());
    if (!(dy.shape() == slot->shape))
        throw ShapeError("backward: dy is {} for a result of shape {}", dy.describe(), slot->shape.str());
    if (dy.device() != slot->device)
        throw Error("backward: dy is {}, but the result is on {}; see Tensor::to", dy.describe(), name(slot->device));
    // Ops called by backward functions compute; they are not recorded.
    NoGrad no_grad;
    slot->grad = slot->leaf ? dy.clone() : dy;
    Tape::run_all();
}

void clear_tape() {
    while (t_tape) pop_tape();  // one by one: a long chain must not unwind recursively
}

int64_t tape_length() {
    return t_length;
}

SubTape::SubTape() : outer_(std::move(t_tape)), outer_enabled_(std::exchange(t_enabled, true)) {
    t_tape = {};
}

SubTape::~SubTape() {
    clear_tape();
    t_tape = std::move(outer_);
    t_enabled = outer_enabled_;
}

namespace detail {

bool any_requires_grad(std::initializer_list<const Tensor*> inputs) {
    if (!t_enabled) return false;
    for (const Tensor* t : inputs)
        if (t && requires_grad(*t)) return true;
    return false;
}

void check_result(std::string_view op, const Tensor& y, std::initializer_list<const Tensor*> inputs) {
    if (!t_check_finite || (y.dtype() != DType::f32 && y.dtype() != DType::f64) || kernels::all_finite(y)) return;
    std::string names;
    for (const Tensor* t : inputs)
        if (t && t->defined()) names += (names.empty() ? "" : ", ") + t->describe();
    throw TrainingError("{}: its result is the first value that is not finite (inputs: {})", op, names);
}

void push(Ref<TapeNode> node, std::string_view op, Tensor& y, std::initializer_list<const Tensor*> inputs) {
    if (inputs.size() > TapeNode::kMaxInputs)
        throw Error("{}: more than {} inputs on the tape", op, TapeNode::kMaxInputs);
    size_t i = 0;
    for (const Tensor* t : inputs) node->inputs[i++] = t && requires_grad(*t) ? slot_of(*t) : Ref<GradSlot>();
    Ref<GradSlot> slot(new GradSlot);
    slot->shape = y.shape();
    slot->device = y.device();
    slot->dtype = y.dtype();
    node->op = op;
    node->output = slot;
    y.set_autograd_meta(slot);
    node->previous = std::move(t_tape);
    t_tape = std::move(node);
    ++t_length;
}

}  // namespace detail

}  // namespace wavllm
