#pragma once
// Files of torch.save put together byte by byte: an independent writer for the reader's tests, honest and hostile.

#include <string>
#include <utility>
#include <vector>

#include "tests/checkpoint/small_files.h"

namespace wavllm::tests {

/// Opcodes by name, so that a test reads like the disassembly that pickletools prints.
class PickleText {
public:
    PickleText() {
        out.raw("\x80\x02");
    }
    PickleText& op(char code) {
        out.put<char>(code);
        return *this;
    }
    PickleText& op(unsigned char code) {
        return op(static_cast<char>(code));
    }
    PickleText& text(std::string_view value) {
        out.raw("X").put<uint32_t>(static_cast<uint32_t>(value.size())).raw(value);
        return *this;
    }
    PickleText& integer(int64_t value) {
        out.raw("\x8a\x08").put<int64_t>(value);
        return *this;
    }
    PickleText& global(std::string_view module, std::string_view name) {
        out.raw("c").raw(module).raw("\n").raw(name).raw("\n");
        return *this;
    }
    PickleText& tuple(const std::vector<int64_t>& values) {
        op('(');
        for (const int64_t v : values) integer(v);
        return op('t');
    }
    /// The arguments of a rebuild and its call.
    PickleText& tensor(const std::string& key, int64_t elements, int64_t offset, const std::vector<int64_t>& shape,
                       const std::vector<int64_t>& strides, std::string_view storage = "FloatStorage",
                       std::string_view rebuild = "_rebuild_tensor_v2") {
        global("torch._utils", rebuild).op('(');
        op('(').text("storage").global("torch", storage).text(key).text("cpu").integer(elements).op('t').op('Q');
        integer(offset).tuple(shape).tuple(strides).op('\x89').op('}').op('t').op('R');
        return *this;
    }
    std::string end() {
        out.raw(".");
        return out.text;
    }

    Bytes out;
};

/// An archive of stored members in which every field can be made to lie.
class ZipText {
public:
    struct Lies {
        uint16_t method = 0, flags = 0;
        int64_t unpacked_more = 0;  ///< added to the size in the directory
        int64_t packed_more = 0;
        int64_t offset_more = 0;      ///< added to the place of the local header
        std::string local_name = "";  ///< instead of the name
    };

    ZipText& add(const std::string& name, const std::string& content) {
        return add(name, content, Lies{});
    }
    ZipText& add(const std::string& name, const std::string& content, const Lies& lies) {
        const uint64_t at = file_.text.size();
        const std::string& own = lies.local_name.empty() ? name : lies.local_name;
        const auto size = static_cast<int64_t>(content.size());
        const auto packed = static_cast<uint32_t>(size + lies.packed_more);
        const auto unpacked = static_cast<uint32_t>(size + lies.unpacked_more);
        file_.put<uint32_t>(0x04034b50).put<uint16_t>(20).put<uint16_t>(lies.flags).put<uint16_t>(lies.method);
        file_.put<uint32_t>(0).put<uint32_t>(0).put<uint32_t>(packed).put<uint32_t>(unpacked);
        file_.put<uint16_t>(static_cast<uint16_t>(own.size())).put<uint16_t>(0).raw(own).raw(content);
        directory_.put<uint32_t>(0x02014b50).put<uint16_t>(20).put<uint16_t>(20).put<uint16_t>(lies.flags);
        directory_.put<uint16_t>(lies.method).put<uint32_t>(0).put<uint32_t>(0).put<uint32_t>(packed);
        directory_.put<uint32_t>(unpacked).put<uint16_t>(static_cast<uint16_t>(name.size())).put<uint16_t>(0);
        directory_.put<uint16_t>(0).put<uint16_t>(0).put<uint16_t>(0).put<uint32_t>(0);
        directory_.put<uint32_t>(static_cast<uint32_t>(static_cast<int64_t>(at) + lies.offset_more)).raw(name);
        ++count_;
        return *this;
    }
    std::string end(int more_members = 0) const {
        Bytes all = file_;
        const auto begin = static_cast<uint32_t>(all.text.size());
        const auto count = static_cast<uint16_t>(count_ + more_members);
        all.raw(directory_.text).put<uint32_t>(0x06054b50).put<uint32_t>(0).put<uint16_t>(count).put<uint16_t>(count);
        all.put<uint32_t>(static_cast<uint32_t>(directory_.text.size())).put<uint32_t>(begin).put<uint16_t>(0);
        return all.text;
    }

private:
    Bytes file_, directory_;
    int count_ = 0;
};

inline std::string floats(int n) {
    Bytes out;
    for (int i = 0; i < n; ++i) out.put<float>(static_cast<float>(i));
    return out.text;
}

/// The archive around one pickle and a storage "0" of so many floats 0, 1, 2, ...
inline std::string torch_archive(const std::string& pickle, int elements = 6) {
    return ZipText().add("a/data.pkl", pickle).add("a/byteorder", "little").add("a/data/0", floats(elements)).end();
}

/// {"w": tensor [2, 3]} over a storage of 6.
inline std::string small_torch() {
    return torch_archive(PickleText().op('}').text("w").tensor("0", 6, 0, {2, 3}, {3, 1}).op('s').end());
}

}  // namespace wavllm::tests
