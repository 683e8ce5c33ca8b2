#include "models/weights.h"

#include <cstring>
#include <set>
#include <vector>

#include "tensor/model_dtype.h"
#include "tensor/thread_pool.h"

namespace wavllm {

struct Weights::Books {
    const Checkpoint& checkpoint;
    std::set<std::string, std::less<>> taken, missing;
    std::vector<std::string> ignored;
};

namespace {

/// Everything in f64 in the reference mode, nothing in it otherwise.
Tensor in_model_dtype(const Tensor& t) {
    const bool reference = model_dtype() == DType::f64;
    if (reference == (t.dtype() == DType::f64)) return t;
    const Tensor plain = info(t.dtype()).frozen_block ? t.to(DType::f32) : t;
    return plain.to(model_dtype()).set_label(t.label());
}

std::string listed(const std::vector<std::string>& names) {
    constexpr size_t kMost = 12;
    const size_t n = std::min(names.size(), kMost);
    return fmt::format("{}{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(n), ", "),
                       names.size() > kMost ? fmt::format(" and {} more", names.size() - kMost) : "");
}

/// A tensor whose values no file holds.
Tensor generated(const Checkpoint& checkpoint, const StoredTensor& s) {
    PurposeScope scope(Purpose::weights);
    Tensor t = Tensor::empty(Shape(std::span<const int64_t>(s.shape)), s.dtype);
    const int64_t columns = t.shape().last();
    const bool bf16_values = s.dtype == DType::bf16;
    parallel_for(t.rows(), 16, [&](int64_t begin, int64_t end) {
        std::vector<float> row(static_cast<size_t>(columns));
        for (int64_t r = begin; r < end; ++r) {
            checkpoint.row(s, r, row.data());
            for (int64_t i = 0; i < columns; ++i)
                if (bf16_values)
                    static_cast<bf16*>(t.mutable_raw())[r * columns + i] = to_bf16(row[static_cast<size_t>(i)]);
                else
                    static_cast<float*>(t.mutable_raw())[r * columns + i] = row[static_cast<size_t>(i)];
        }
    });
    return t.set_label(s.name);
}

}  // namespace

Tensor to_tensor(const StoredTensor& stored) {
    PurposeScope scope(Purpose::weights);
    Tensor t = Tensor::empty(Shape(std::span<const int64_t>(stored.shape)), stored.dtype);
    std::memcpy(t.mutable_raw(), stored.bytes.data(), stored.bytes.size());
    return t.set_label(stored.name);
}

Weights::Weights(const Checkpoint& checkpoint, std::string prefix)
    : books_(std::make_shared<Books>(Books{checkpoint, {}, {}, {}})), prefix_(std::move(prefix)) {}

Weights Weights::under(const std::string& prefix) const {
    Weights result = *this;
    result.prefix_ += prefix;
    return result;
}

const StoredTensor* Weights::take(const std::string& name) const {
    const std::string full = prefix_ + name;
    const StoredTensor* t = books_->checkpoint.find(full);
    (t ? books_->taken : books_->missing).insert(full);
    return t;
}

bool Weights::has(const std::string& name) const {
    return books_->checkpoint.find(prefix_ + name) != nullptr;
}

Shape Weights::shape(const std::string& name) const {
    const StoredTensor* t = books_->checkpoint.find(prefix_ + name);
    return t ? Shape(std::span<const int64_t>(t->shape)) : Shape();
}

Tensor Weights::on_cpu(const std::string& name, const Shape& shape) const {
    const StoredTensor* s = take(name);
    if (!s) return Tensor::zeros(shape, model_dtype());
    Tensor t = s->bytes.empty() ? generated(books_->checkpoint, *s) : to_tensor(*s);
    if (!(t.shape() == shape))
        throw ShapeError("{}: tensor \"{}\" has shape {}, but the model's configuration makes it {}", file(), s->name,
                         t.shape().str(), shape.str());
    return in_model_dtype(t);
}

Tensor Weights::stored(const std::string& name, const Shape& shape) const {
    PurposeScope scope(Purpose::weights);
    return on_cpu(name, shape).to(model_device());
}

Tensor Weights::f32(const std::string& name, const Shape& shape) const {
    PurposeScope scope(Purpose::weights);
    Tensor t = on_cpu(name, shape);
    if (t.dtype() != model_dtype()) t = t.to(DType::f32).set_label(t.label());
    return t.to(model_device());
}

/// The tensors of a weight that is to be quantised row by row, straight from the file; none, if one is missing or stored in
/// blocks already, and so may stay as it is.
std::vector<const StoredTensor*> Weights::rows_of(std::initializer_list<std::string> names, int64_t each,
                                                  int64_t in) const {
    std::vector<const StoredTensor*> sources;
    for (const std::string& name : names) {
        const StoredTensor* s = books_->checkpoint.find(prefix_ + name);
        if (!s || !info(s->dtype).floating || info(s->dtype).frozen_block) return {};
        const Shape found{std::span<const int64_t>(s->shape)};
        if (!(found == Shape{each, in})) return {};  // on_cpu() says what is wrong
        sources.push_back(s);
    }
    for (const std::string& name : names) take(name);
    return sources;
}

PackedWeight Weights::packed(std::initializer_list<std::string> names, int64_t out, int64_t in, DType panels) const {
    if (model_dtype() == DType::f64 && panels != DType::f32)
        throw DTypeError("{}: \"{}\" was asked for in {}, but in the reference mode all is f64; ask for f32 panels",
                         file(), prefix_ + *names.begin(), name(panels));
    const int64_t each = out / static_cast<int64_t>(names.size());
    if (info(panels).frozen_block)
        if (const auto sources = rows_of(names, each, in); !sources.empty()) {
            const Checkpoint& checkpoint = books_->checkpoint;
            return PackedWeight::from_rows(
                out, in, panels, model_device(),
                [&](int64_t row, float* to) {
                    checkpoint.row(*sources[static_cast<size_t>(row / each)], row % each, to);
                },
                sources[0]->name);
        }
    if (names.size() == 1) return PackedWeight::pack(on_cpu(*names.begin(), {out, in}), panels, model_device());
    std::vector<Tensor> parts;
    for (const std::string& name : names) parts.push_back(on_cpu(name, {each, in}));
    // As stored where all are stored alike, else in f32.
    const bool alike =
        std::all_of(parts.begin(), parts.end(), [&](const Tensor& t) { return t.dtype() == parts[0].dtype(); });
    Tensor all;
    {
        PurposeScope scope(Purpose::workspace);
        all = Tensor::empty({out, in}, alike ? parts[0].dtype() : DType::f32);
    }
    auto* to = static_cast<char*>(all.mutable_raw());
    for (const Tensor& part : parts) {
        if (alike)
            std::memcpy(to, part.raw(), part.bytes());
        else
            dequantize(part.dtype(), part.raw(), reinterpret_cast<float*>(to), static_cast<size_t>(each * in));
        to += all.bytes() / parts.size();
    }
    all.set_label(prefix_ + *names.begin());
    return PackedWeight::pack(all, panels, model_device());
}

void Weights::ignore(const std::string& prefix) const {
    books_->ignored.push_back(prefix_ + prefix);
}

void Weights::finish() const {
    std::vector<std::string> left, missing(books_->missing.begin(), books_->missing.end());
    for (const StoredTensor& t : books_->checkpoint.tensors()) {
        const bool ignored = std::any_of(books_->ignored.begin(), books_->ignored.end(),
                                         [&](const std::string& p) { return t.name.starts_with(p); });
        if (!ignored && !books_->taken.contains(t.name)) left.push_back(t.name);
    }
    if (left.empty() && missing.empty()) return;
    throw FileError("{}: {}{}{}; is this the model that the configuration describes?", file(),
                    missing.empty() ? "" : fmt::format("{} tensors are missing: {}", missing.size(), listed(missing)),
                    missing.empty() || left.empty() ? "" : "; ",
                    left.empty() ? "" : fmt::format("{} tensors are left over: {}", left.size(), listed(left)));
}

std::string Weights::file() const {
    return books_->checkpoint.path().string();
}

}  // namespace wavllm
