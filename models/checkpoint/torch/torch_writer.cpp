#include "models/checkpoint/torch/torch_writer.h"

#include <array>
#include <cstring>
#include <set>

#include "models/checkpoint/readers.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

/// CRC-32 of zip (APPNOTE 4.4.7), a byte at a time.
class Crc {
public:
    void add(std::span<const std::byte> bytes) {
        static const std::array<uint32_t, 256> table = [] {
            std::array<uint32_t, 256> t{};
            for (uint32_t i = 0; i < 256; ++i) {
                t[i] = i;
                for (int bit = 0; bit < 8; ++bit) t[i] = t[i] >> 1 ^ (t[i] & 1 ? 0xEDB88320u : 0);
            }
            return t;
        }();
        for (const std::byte b : bytes) value_ = table[(value_ ^ static_cast<uint32_t>(b)) & 0xFF] ^ value_ >> 8;
    }
    uint32_t value() const {
        return ~value_;
    }

private:
    uint32_t value_ = ~0u;
};

template <class T>
void put(std::string& out, T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    out.append(raw, sizeof(T));
}

/// A zip archive of stored members, written in one go: a member's checksum follows its data (flag bit 3).
class StoredZip {
public:
    explicit StoredZip(AtomicFile& file) : file_(file) {}

    template <class Bytes>
    void add(const std::string& name, uint64_t size, Bytes&& bytes) {
        const uint64_t header = file_.bytes_written();
        const bool large = size >= kNarrow;
        std::string local;
        put<uint32_t>(local, 0x04034b50);
        fixed_fields(local, 0, size);
        put<uint16_t>(local, static_cast<uint16_t>(name.size()));
        // torch pads the data to a multiple of 64 by a field that readers skip; "FB" is its tag for it
        const uint64_t before = header + 30 + name.size() + (large ? 20 : 0) + 4;
        const uint64_t padding = (64 - before % 64) % 64;
        put<uint16_t>(local, static_cast<uint16_t>((large ? 20 : 0) + 4 + padding));
        local += name;
        if (large) zip64_field(local, {size, size});
        local += "FB";
        put<uint16_t>(local, static_cast<uint16_t>(padding));
        local.append(padding, 'Z');
        file_.write(local);
        Crc crc;
        bytes([&](std::span<const std::byte> piece) {
            crc.add(piece);
            file_.write(piece);
        });
        std::string after;
        put<uint32_t>(after, 0x08074b50);
        put<uint32_t>(after, crc.value());
        for (int i = 0; i < 2; ++i)
            large ? put<uint64_t>(after, size) : put<uint32_t>(after, static_cast<uint32_t>(size));
        file_.write(after);

        std::vector<uint64_t> wide;
        if (large) wide = {size, size};
        if (header >= kNarrow) wide.push_back(header);
        put<uint32_t>(directory_, 0x02014b50);
        put<uint16_t>(directory_, 45);
        fixed_fields(directory_, crc.value(), size);
        put<uint16_t>(directory_, static_cast<uint16_t>(name.size()));
        put<uint16_t>(directory_, static_cast<uint16_t>(wide.empty() ? 0 : 4 + 8 * wide.size()));
        directory_.append(2 + 2 + 2 + 4, '\0');  // comment, disk, attributes
        put<uint32_t>(directory_, static_cast<uint32_t>(std::min<uint64_t>(header, kNarrow)));
        directory_ += name;
        if (!wide.empty()) zip64_field(directory_, wide);
        ++count_;
    }
    void add(const std::string& name, const std::string& text) {
        add(name, text.size(), [&](const auto& write) { write(std::as_bytes(std::span(text))); });
    }

    void finish() {
        const uint64_t begin = file_.bytes_written(), size = directory_.size();
        file_.write(directory_);
        std::string end;
        put<uint32_t>(end, 0x06064b50);  // zip64's end, and where it is
        put<uint64_t>(end, 44);
        put<uint16_t>(end, 45);
        put<uint16_t>(end, 45);
        put<uint64_t>(end, 0);
        for (int i = 0; i < 2; ++i) put<uint64_t>(end, count_);
        put<uint64_t>(end, size);
        put<uint64_t>(end, begin);
        put<uint32_t>(end, 0x07064b50);
        put<uint32_t>(end, 0);
        put<uint64_t>(end, begin + size);
        put<uint32_t>(end, 1);
        put<uint32_t>(end, 0x06054b50);
        put<uint32_t>(end, 0);
        for (int i = 0; i < 2; ++i) put<uint16_t>(end, static_cast<uint16_t>(std::min<uint64_t>(count_, 0xFFFF)));
        put<uint32_t>(end, static_cast<uint32_t>(std::min<uint64_t>(size, kNarrow)));
        put<uint32_t>(end, static_cast<uint32_t>(std::min<uint64_t>(begin, kNarrow)));
        put<uint16_t>(end, 0);
        file_.write(end);
    }

private:
    static constexpr uint64_t kNarrow = 0xFFFFFFFF;

    /// From the version to the sizes: the same in both headers. The time is 1980-01-01, so that the same tensors give the
    /// same bytes.
    static void fixed_fields(std::string& out, uint32_t crc, uint64_t size) {
        put<uint16_t>(out, 45);
        put<uint16_t>(out, 1 << 3);
        put<uint16_t>(out, 0);
        put<uint16_t>(out, 0);
        put<uint16_t>(out, 1 << 5 | 1);
        put<uint32_t>(out, crc);
        for (int i = 0; i < 2; ++i) put<uint32_t>(out, static_cast<uint32_t>(std::min(size, kNarrow)));
    }
    static void zip64_field(std::string& out, const std::vector<uint64_t>& values) {
        put<uint16_t>(out, 1);
        put<uint16_t>(out, static_cast<uint16_t>(8 * values.size()));
        for (const uint64_t v : values) put<uint64_t>(out, v);
    }

    AtomicFile& file_;
    std::string directory_;
    uint64_t count_ = 0;
};

const char* storage_of(const std::filesystem::path& path, const StreamedTensor& t) {
    switch (t.dtype) {
        case DType::f64: return "DoubleStorage";
        case DType::f32: return "FloatStorage";
        case DType::f16: return "HalfStorage";
        case DType::bf16: return "BFloat16Storage";
        case DType::i64: return "LongStorage";
        case DType::i32: return "IntStorage";
        case DType::u8: return "ByteStorage";
        default: break;
    }
    throw DTypeError("{}: tensor \"{}\" is {}, which torch cannot hold: dequantise it first", path.string(),
                     printable(t.name), name(t.dtype));
}

void text(std::string& out, const std::string& value) {
    out += 'X';
    put<uint32_t>(out, static_cast<uint32_t>(value.size()));
    out += value;
}
void whole(std::string& out, int64_t value) {
    out += "\x8a\x08";
    put<int64_t>(out, value);
}

/// The pickle (protocol 2): what torch._utils._rebuild_tensor_v2 is to be called with, tensor by tensor.
std::string pickle_of(const std::filesystem::path& path, std::span<const StreamedTensor> tensors) {
    std::string out = "\x80\x02}";
    text(out, "model");
    out += "}(";
    for (size_t i = 0; i < tensors.size(); ++i) {
        const StreamedTensor& t = tensors[i];
        text(out, t.name);
        out += "ctorch._utils\n_rebuild_tensor_v2\n((";
        text(out, "storage");
        out += fmt::format("ctorch\n{}\n", storage_of(path, t));
        text(out, fmt::format("{}", i));
        text(out, "cpu");
        whole(out, static_cast<int64_t>(checked_elements(path, t.name, t.shape)));
        out += "tQ";
        whole(out, 0);
        out += '(';
        for (const int64_t d : t.shape) whole(out, d);
        out += "t(";
        std::vector<int64_t> strides(t.shape.size(), 1);
        for (size_t d = t.shape.size(); d-- > 1;) strides[d - 1] = strides[d] * std::max<int64_t>(t.shape[d], 1);
        for (const int64_t s : strides) whole(out, s);
        out += "t\x89";
        out += "ccollections\nOrderedDict\n)RtR";
    }
    out += "us.";
    return out;
}

}  // namespace

void write_torch_streamed(const std::filesystem::path& path, std::span<const StreamedTensor> tensors) {
    std::set<std::string_view> seen;
    for (const StreamedTensor& t : tensors)
        if (!seen.insert(t.name).second)
            throw FileError("{}: two tensors cannot both be named \"{}\"", path.string(), printable(t.name));
    const std::string pickle = pickle_of(path, tensors);
    AtomicFile file(path);
    StoredZip zip(file);
    zip.add("archive/data.pkl", pickle);
    zip.add("archive/byteorder", "little");
    for (size_t i = 0; i < tensors.size(); ++i) {
        const StreamedTensor& t = tensors[i];
        const uint64_t expected = checked_bytes(path, t.name, t.dtype, t.shape);
        uint64_t given = 0;
        zip.add(fmt::format("archive/data/{}", i), expected, [&](const auto& write) {
            t.bytes([&](std::span<const std::byte> piece) {
                given += piece.size();
                write(piece);
            });
        });
        if (given != expected)
            throw ShapeError("{}: tensor \"{}\" has {} bytes, but its shape and type need {}", path.string(),
                             printable(t.name), given, expected);
    }
    zip.add("archive/version", "3\n");
    zip.finish();
    file.commit();
}

}  // namespace wavllm
