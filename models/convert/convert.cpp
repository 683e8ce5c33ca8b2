#include "models/convert/convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "models/checkpoint/readers.h"
#include "models/checkpoint/released.h"
#include "models/convert/gguf.h"
#include "models/convert/llama_names.h"
#include "tensor/error.h"
#include "tensor/quantize.h"
#include "tensor/text.h"
#include "tensor/thread_pool.h"

namespace wavllm {

namespace {

constexpr size_t kPieceElements = size_t{1} << 20;

/// The name in the chosen part; "" if the tensor is not of it.
std::string name_in_part(const std::string& name, ConvertPart part) {
    const auto below = [&](const char* prefix) { return name.substr(std::string_view(prefix).size()); };
    const bool llama = name.starts_with(kReleasedLlama);
    const bool lora = llama && name.find("_lora_") != std::string::npos;
    const bool prompt = llama && below(kReleasedLlama).starts_with("scale_");
    switch (part) {
        case ConvertPart::all: return name;
        case ConvertPart::whisper:
            return name.starts_with(kReleasedWhisper) ? "model.encoder." + below(kReleasedWhisper) : "";
        case ConvertPart::wavlm: return name.starts_with(kReleasedWavlm) ? below(kReleasedWavlm) : "";
        case ConvertPart::llama: return llama && !lora && !prompt ? below(kReleasedLlama) : "";
        case ConvertPart::adapter:
            if (lora || prompt) return below(kReleasedLlama);
            if (llama || name.starts_with(kReleasedWhisper) || name.starts_with(kReleasedWavlm)) return "";
            return name.starts_with("audio_proj.") ? "" : name;
    }
    return "";
}

/// What a tensor becomes in any file but a GGUF.
DType target_dtype(const Checkpoint& c, const StoredTensor& t, const std::optional<DType>& wanted) {
    const DTypeInfo& facts = info(t.dtype);
    if (wanted && info(*wanted).frozen_block)
        throw UsageError(
            "convert: {0} is stored in GGUF alone: let the output end in .gguf (of a LLaMA), or say --dtype bf16 or "
            "f16. "
            "Other models (Whisper, WavLM, adapters) are not stored in blocks; train, transcribe and chat quantise "
            "frozen weights while they load: --frozen {0}",
            name(*wanted));
    if (wanted && !info(*wanted).floating)
        throw UsageError("convert: {} cannot be written; the dtypes are f64, f32, f16 and bf16", name(*wanted));
    if (facts.frozen_block && !wanted)
        throw UsageError(
            "{}: tensor \"{}\" is {}, which GGUF alone holds: let the output end in .gguf, or say --dtype "
            "f16, bf16 or f32",
            c.path().string(), printable(t.name), facts.name);
    return wanted && facts.floating ? *wanted : t.dtype;
}

int64_t head_dim(const StoredTensor& t, const char* what, int64_t heads) {
    if (heads <= 0)
        throw UsageError(
            "convert: the rows of \"{}\" are reordered head by head, and nothing says how many {} there are; "
            "say --heads (LLaMA-2-7B has 32), and --kv-heads where they differ",
            printable(t.name), what);
    if (t.shape.size() != 2 || t.shape[0] % heads != 0 || t.shape[0] / heads % 2 != 0)
        throw UsageError("convert: tensor \"{}\" of [{}] does not divide into {} {} of an even size", printable(t.name),
                         fmt::join(t.shape, ", "), heads, what);
    return t.shape[0] / heads;
}

void rename_llama(PlannedTensor& planned, const ConvertOptions& o) {
    const auto known = llama_name(planned.name);
    if (!known) return;
    const bool to_meta = o.naming != LlamaNaming::hugging_face;  // the order of GGUF is Meta's
    const bool reorder = known->is_hugging_face == to_meta;
    planned.name = o.naming == LlamaNaming::meta ? known->meta : to_meta ? known->gguf : known->hugging_face;
    planned.to_meta = to_meta;
    if (!reorder || known->rows == LlamaName::Rows::plain) return;
    const StoredTensor& t = *planned.source;
    const bool of_q = known->rows == LlamaName::Rows::of_q;
    planned.head_dim = of_q ? head_dim(t, "heads", o.heads) : head_dim(t, "key-value heads", o.kv_heads);
    if (!of_q && planned.head_dim * o.heads != t.shape[1])  // they are as wide as those of q
        throw UsageError(
            "convert: tensor \"{}\" of [{}] has {} rows for each of {} key-value heads, which does not go with {} "
            "heads; "
            "say --heads and --kv-heads as they are",
            printable(t.name), fmt::join(t.shape, ", "), planned.head_dim, o.kv_heads, o.heads);
}

/// Converts elements to a dtype and hands them on, piece by piece.
class Converter {
public:
    Converter(const std::string& file, const StoredTensor& source, DType to) : file_(file), source_(source), to_(to) {}

    void operator()(std::span<const std::byte> bytes, const StreamedTensor::Write& write) {
        if (source_.dtype == to_) return write(bytes);
        const DTypeInfo& from = info(source_.dtype);
        const auto block_bytes = static_cast<size_t>(from.block_bytes);
        const auto block_elements = static_cast<size_t>(from.block_elements);
        const size_t piece = kPieceElements / block_elements * block_bytes;
        for (size_t at = 0; at < bytes.size(); at += piece) {
            const auto part = bytes.subspan(at, std::min(piece, bytes.size() - at));
            const size_t n = part.size() / block_bytes * block_elements;
            aligned_.resize((part.size() + 7) / 8);
            std::memcpy(aligned_.data(), part.data(), part.size());
            if (source_.dtype == DType::f64 && to_ != DType::f32) {
                through_f64(n, write);
                continue;
            }
            values_.resize(n);
            dequantize(source_.dtype, aligned_.data(), values_.data(), n);
            put(n, write);
        }
    }

private:
    void put(size_t n, const StreamedTensor::Write& write) {
        const auto send = [&](const auto& v) { write(std::as_bytes(std::span(v.data(), n))); };
        if (to_ == DType::f32) return send(values_);
        if (to_ == DType::f64) {
            wide_.assign(values_.begin(), values_.end());
            return send(wide_);
        }
        halves_.resize(n);
        for (size_t i = 0; i < n; ++i) {
            halves_[i] = to_ == DType::f16 ? to_f16(values_[i]).bits : to_bf16(values_[i]).bits;
            if (to_ == DType::f16 && (halves_[i] & 0x7FFF) == 0x7C00 && std::isfinite(values_[i]))
                throw FileError("{}: tensor \"{}\" has the value {}, which is beyond f16; convert it to bf16 or f32",
                                file_, printable(source_.name), values_[i]);
        }
        send(halves_);
    }
    /// f64 to a half type by way of f32: rounded twice, as torch does.
    void through_f64(size_t n, const StreamedTensor::Write& write) {
        const auto* from = reinterpret_cast<const double*>(aligned_.data());
        values_.assign(from, from + n);
        put(n, write);
    }

    const std::string& file_;
    const StoredTensor& source_;
    DType to_;
    std::vector<uint64_t> aligned_;
    std::vector<float> values_;
    std::vector<double> wide_;
    std::vector<uint16_t> halves_;
};

void release(const Checkpoint& c, std::span<const std::byte> bytes) {
    if (const auto* loaded = dynamic_cast<const LoadedCheckpoint*>(&c))
        for (const auto& file : loaded->files) file->release(bytes);
}

/// The row of the source that becomes row r.
int64_t source_row(const PlannedTensor& p, int64_t r) {
    if (p.head_dim == 0) return r;
    const int64_t in_head = r % p.head_dim;
    return r - in_head + (p.to_meta ? hugging_face_row(in_head, p.head_dim) : meta_row(in_head, p.head_dim));
}

/// A matrix into blocks, some rows at a time: quantize_row, as frozen weights are quantised while they load.
void write_quantised(const Checkpoint& c, const PlannedTensor& p, const StreamedTensor::Write& write) {
    const StoredTensor& s = *p.source;
    const int64_t rows = s.shape[0], columns = s.shape[1];
    if (rows == 0 || columns == 0) return;
    const auto row_bytes = bytes_for(p.dtype, static_cast<size_t>(columns));
    const int64_t unit = std::max<int64_t>(p.head_dim, 1);  // whole heads, so that what was read can be given back
    const int64_t step = std::max<int64_t>(static_cast<int64_t>(4 * kPieceElements) / columns / unit, 1) * unit;
    std::vector<std::byte> blocks;
    for (int64_t first = 0; first < rows; first += step) {
        const int64_t count = std::min(step, rows - first);
        blocks.resize(static_cast<size_t>(count) * row_bytes);
        parallel_for(count, 16, [&](int64_t begin, int64_t end) {
            std::vector<float> row(static_cast<size_t>(columns));
            for (int64_t r = begin; r < end; ++r) {
                c.row(s, source_row(p, first + r), row.data());
                quantize_row(p.dtype, row.data(), row.size(), blocks.data() + static_cast<size_t>(r) * row_bytes,
                             s.name);
            }
        });
        write(blocks);
        const size_t source_bytes = s.bytes.size() / static_cast<size_t>(rows);
        release(c,
                s.bytes.subspan(static_cast<size_t>(first) * source_bytes, static_cast<size_t>(count) * source_bytes));
    }
}

void write_planned(const Checkpoint& c, const PlannedTensor& p, const StreamedTensor::Write& write) {
    const StoredTensor& s = *p.source;
    if (info(p.dtype).frozen_block && p.dtype != s.dtype) return write_quantised(c, p, write);
    const std::string file = c.path().string();
    Converter convert(file, s, p.dtype);
    constexpr size_t kStep = size_t{32} << 20;  // memory is given back as it goes
    if (p.head_dim == 0) {
        const auto block = static_cast<size_t>(info(s.dtype).block_bytes);
        const size_t step = kStep / block * block;
        for (size_t at = 0; at < s.bytes.size(); at += step) {
            const auto part = s.bytes.subspan(at, std::min(step, s.bytes.size() - at));
            convert(part, write);
            release(c, part);
        }
        return;
    }
    const auto rows = static_cast<size_t>(s.shape[0]);
    const size_t row_bytes = rows == 0 ? 0 : s.bytes.size() / rows;
    size_t released = 0;
    for (size_t r = 0; r < rows; ++r) {
        convert(s.bytes.subspan(static_cast<size_t>(source_row(p, static_cast<int64_t>(r))) * row_bytes, row_bytes),
                write);
        const size_t end = (r + 1) * row_bytes;
        const bool whole_heads = (r + 1) % static_cast<size_t>(p.head_dim) == 0;
        if (r + 1 == rows || (whole_heads && end - released >= kStep)) {
            release(c, s.bytes.subspan(released, end - released));
            released = end;
        }
    }
}

}  // namespace

Plan plan_conversion(const Checkpoint& checkpoint, const ConvertOptions& options) {
    if (!checkpoint.refused().empty()) checkpoint.find(checkpoint.refused().begin()->first);  // throws its reason
    if (options.part != ConvertPart::all && !is_released(checkpoint))
        throw UsageError("{}: parts can be taken from a released checkpoint, and this is none",
                         checkpoint.path().string());
    const bool gguf = options.naming == LlamaNaming::gguf;
    if (gguf) check_gguf_source(checkpoint, options);
    Plan plan;
    int64_t renamed = 0;
    for (const StoredTensor& t : checkpoint.tensors()) {
        std::string in_part = name_in_part(t.name, options.part);
        if (in_part.empty() || (gguf && gguf_leaves_out(checkpoint, in_part))) {
            plan.left_out.push_back(t.name);
            continue;
        }
        const DType dtype =
            gguf ? gguf_dtype(checkpoint, t, in_part, options.dtype) : target_dtype(checkpoint, t, options.dtype);
        PlannedTensor planned{&t, std::move(in_part), dtype};
        if (options.naming != LlamaNaming::as_is) {
            rename_llama(planned, options);
            renamed += llama_name(planned.name) ? 1 : 0;
        }
        plan.tensors.push_back(std::move(planned));
    }
    if (gguf) order_as_gguf(checkpoint, plan.tensors);
    if (options.naming != LlamaNaming::as_is && renamed == 0)
        throw UsageError("{}: --naming is for a LLaMA, and none of its {} tensors has the name of one",
                         checkpoint.path().string(), plan.tensors.size());
    return plan;
}

std::vector<StreamedTensor> streamed(const Checkpoint& checkpoint, const Plan& plan) {
    std::vector<StreamedTensor> result;
    result.reserve(plan.tensors.size());
    for (const PlannedTensor& p : plan.tensors)
        result.push_back({p.name, p.dtype, p.source->shape,
                          [&checkpoint, &p](const auto& write) { write_planned(checkpoint, p, write); }});
    return result;
}

}  // namespace wavllm
