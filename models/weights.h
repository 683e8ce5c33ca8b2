#pragma once
// Takes a model's tensors out of a checkpoint by name and keeps the books: at the end, every name that was wanted but
// missing and every name that was there but left over is one error that lists them all.

#include <initializer_list>
#include <memory>
#include <string>

#include "kernels/linear/packed_weight.h"
#include "models/checkpoint/checkpoint.h"

namespace wavllm {

/// What it hands out lies on model_device(), and in the reference mode (model_dtype() f64) all of it is f64.
class Weights {
public:
    /// The checkpoint must outlive this object and all made from it by under().
    explicit Weights(const Checkpoint& checkpoint, std::string prefix = "");
    /// The names below a prefix ("layers.3."), with the same books.
    Weights under(const std::string& prefix) const;

    bool has(const std::string& name) const;
    /// Converted to model_dtype(), f32 unless in the reference mode, and copied, booked to weights, labelled with its
    /// name. A shape that differs throws ShapeError; a missing name gives zeros and is reported by finish().
    Tensor f32(const std::string& name, const Shape& shape) const;
    /// As stored (block formats stay packed), but f64 as model_dtype().
    Tensor stored(const std::string& name, const Shape& shape) const;
    /// A frozen matrix [out, in] packed for linear(); several names are stacked row on row (q, k, v in one product).
    /// Throws DTypeError for panels in bf16 in the reference mode.
    PackedWeight packed(std::initializer_list<std::string> names, int64_t out, int64_t in,
                        DType panels = DType::f32) const;
    PackedWeight packed(const std::string& name, int64_t out, int64_t in, DType panels = DType::f32) const {
        return packed({name}, out, in, panels);
    }
    /// The shape a name has in the file; empty if it is not there.
    Shape shape(const std::string& name) const;
    /// Names below this prefix may be left over (they belong to a part that is not used).
    void ignore(const std::string& prefix) const;
    /// Throws FileError listing missing and left-over names, if there are any.
    void finish() const;
    std::string file() const;

private:
    struct Books;
    const StoredTensor* take(const std::string& name) const;
    Tensor on_cpu(const std::string& name, const Shape& shape) const;  // as stored, but for f64
    std::vector<const StoredTensor*> rows_of(std::initializer_list<std::string> names, int64_t each, int64_t in) const;
    std::shared_ptr<Books> books_;
    std::string prefix_;
};

/// Copies a stored tensor (its bytes may be unaligned).
Tensor to_tensor(const StoredTensor& stored);

}  // namespace wavllm
