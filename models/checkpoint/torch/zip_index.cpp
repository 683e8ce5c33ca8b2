// PKWARE's APPNOTE 6.3: 4.3.7 local header, 4.3.12 central directory, 4.3.14-16 its end, 4.5.3 zip64 fields.

#include "models/checkpoint/torch/zip_index.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50, kEnd64 = 0x06064b50,
                   kLocator64 = 0x07064b50;
constexpr uint64_t kEndBytes = 22, kCentralBytes = 46, kLocalBytes = 30, kLongestComment = 0xFFFF;
constexpr size_t kLongestName = 512;

struct Member {
    std::string name;
    uint64_t header = 0, begin = 0, end = 0;  // local header; data
};

class ZipDirectory {
public:
    explicit ZipDirectory(const MappedFile& file) : file_(file) {}

    std::vector<Member> members() {
        find_end();
        // a member's entry takes 46 bytes at least: the count is believed only that far
        if (count_ > bytes_ / kCentralBytes) fail("its directory of {} bytes cannot hold {} members", bytes_, count_);
        std::vector<Member> result;
        uint64_t at = begin_;
        for (uint64_t i = 0; i < count_; ++i) result.push_back(read_member(at));
        check_names(result);
        check_overlap(result);
        return result;
    }

private:
    template <class... Args>
    [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
        throw FileError("{}: a zip archive that cannot be read: {}", file_.path().string(),
                        fmt::format(format, std::forward<Args>(args)...));
    }
    template <class T>
    T at(uint64_t offset, std::string_view what) const {
        T value;
        std::memcpy(&value, file_.bytes(offset, sizeof(T), what).data(), sizeof(T));
        return value;
    }

    void find_end() {
        const uint64_t size = file_.size();
        if (size < kEndBytes) fail("its end is missing: it is cut off");
        const uint64_t furthest = size - std::min(size, kEndBytes + kLongestComment);
        uint64_t end = size - kEndBytes;
        while (at<uint32_t>(end, "the directory's end") != kEnd ||
               end + kEndBytes + at<uint16_t>(end + 20, "the comment") != size) {
            if (end == furthest) fail("its end is missing: it is cut off");
            --end;
        }
        uint64_t limit = end;
        count_ = at<uint16_t>(end + 10, "the directory's end");
        bytes_ = at<uint32_t>(end + 12, "the directory's end");
        begin_ = at<uint32_t>(end + 16, "the directory's end");
        const bool locator = end >= 20 && at<uint32_t>(end - 20, "the zip64 locator") == kLocator64;
        if (locator) {
            limit = at<uint64_t>(end - 12, "the zip64 locator");
            if (limit > end - 20 || at<uint32_t>(limit, "the zip64 directory's end") != kEnd64)
                fail("its zip64 directory is not where it says");
            count_ = at<uint64_t>(limit + 32, "the zip64 directory's end");
            bytes_ = at<uint64_t>(limit + 40, "the zip64 directory's end");
            begin_ = at<uint64_t>(limit + 48, "the zip64 directory's end");
        } else if (at<uint16_t>(end + 4, "the directory's end") != 0 || count_ == 0xFFFF || begin_ == 0xFFFFFFFF) {
            fail("it is one of several parts");
        }
        if (begin_ > limit || bytes_ > limit - begin_) fail("its directory lies outside the file");
    }

    /// A 64-bit field stands in the extra data where the 32-bit one is all ones, in the order of the directory's.
    static uint64_t wide(uint32_t narrow, std::span<const std::byte>& extra, bool& missing) {
        if (narrow != 0xFFFFFFFF) return narrow;
        if (extra.size() < 8) {
            missing = true;
            return 0;
        }
        uint64_t value = 0;
        std::memcpy(&value, extra.data(), 8);
        extra = extra.subspan(8);
        return value;
    }
    static std::span<const std::byte> zip64_field(std::span<const std::byte> extra) {
        while (extra.size() >= 4) {
            uint16_t id = 0, length = 0;
            std::memcpy(&id, extra.data(), 2);
            std::memcpy(&length, extra.data() + 2, 2);
            if (length > extra.size() - 4) return {};
            if (id == 1) return extra.subspan(4, length);
            extra = extra.subspan(4 + length);
        }
        return {};
    }

    Member read_member(uint64_t& entry) const {
        const uint64_t limit = begin_ + bytes_;
        const auto room = [&](uint64_t n) {
            if (n > limit - entry) fail("its directory ends within an entry");
        };
        room(kCentralBytes);
        if (at<uint32_t>(entry, "a directory entry") != kCentral) fail("its directory is damaged");
        const auto flags = at<uint16_t>(entry + 8, "a directory entry");
        const auto method = at<uint16_t>(entry + 10, "a directory entry");
        const auto packed = at<uint32_t>(entry + 20, "a directory entry");
        const auto unpacked = at<uint32_t>(entry + 24, "a directory entry");
        const auto name_bytes = at<uint16_t>(entry + 28, "a directory entry");
        const auto extra_bytes = at<uint16_t>(entry + 30, "a directory entry");
        const auto comment_bytes = at<uint16_t>(entry + 32, "a directory entry");
        const auto offset = at<uint32_t>(entry + 42, "a directory entry");
        const uint64_t whole = kCentralBytes + name_bytes + extra_bytes + comment_bytes;
        room(whole);
        const auto name = file_.bytes(entry + kCentralBytes, name_bytes, "a member's name");
        auto extra = zip64_field(file_.bytes(entry + kCentralBytes + name_bytes, extra_bytes, "a member's fields"));
        entry += whole;

        Member m;
        m.name.assign(reinterpret_cast<const char*>(name.data()), name.size());
        bool missing = false;
        const uint64_t size = wide(unpacked, extra, missing), stored = wide(packed, extra, missing);
        m.header = wide(offset, extra, missing);
        if (missing) fail("member \"{}\" lacks its 64-bit sizes", printable(m.name));
        if (method != 0 || size != stored)
            fail(
                "member \"{}\" is compressed ({} bytes to {}), which torch.save does not do; pack the archive anew "
                "with zip -0",
                printable(m.name), size, stored);
        if ((flags & 1) != 0) fail("member \"{}\" is encrypted", printable(m.name));
        const std::string what = "member " + m.name;
        if (m.header > begin_ || at<uint32_t>(m.header, what) != kLocal)
            fail("member \"{}\" is not where the directory says", printable(m.name));
        const uint64_t own_name = at<uint16_t>(m.header + 26, what), own_extra = at<uint16_t>(m.header + 28, what);
        const auto local_name = file_.bytes(m.header + kLocalBytes, own_name, what);
        if (!std::equal(local_name.begin(), local_name.end(), name.begin(), name.end()))
            fail("member \"{}\" has another name in its own header", printable(m.name));
        m.begin = m.header + kLocalBytes + own_name + own_extra;
        if (m.begin > begin_ || size > begin_ - m.begin)
            fail("member \"{}\" of {} bytes at {} lies outside the file's data", printable(m.name), size, m.begin);
        m.end = m.begin + size;
        return m;
    }

    void check_names(std::vector<Member>& members) const {
        for (const Member& m : members) {
            bool leaves = m.name.empty() || m.name.size() > kLongestName || m.name.front() == '/' ||
                          m.name.find('\\') != std::string::npos || m.name.find('\0') != std::string::npos;
            for (size_t begin = 0; begin <= m.name.size() && !leaves;) {
                const size_t end = std::min(m.name.find('/', begin), m.name.size());
                leaves = m.name.substr(begin, end - begin) == "..";
                begin = end + 1;
            }
            if (leaves) fail("\"{}\" is no name of a member: it leaves its folder or is too long", printable(m.name));
        }
    }
    void check_overlap(std::vector<Member>& members) const {
        std::vector<const Member*> order;
        for (const Member& m : members) order.push_back(&m);
        std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->header < b->header; });
        for (size_t i = 1; i < order.size(); ++i)
            if (order[i - 1]->end > order[i]->header)
                fail("members \"{}\" and \"{}\" overlap", printable(order[i - 1]->name), printable(order[i]->name));
    }

    const MappedFile& file_;
    uint64_t begin_ = 0, bytes_ = 0, count_ = 0;
};

}  // namespace

std::map<std::string, std::span<const std::byte>, std::less<>> stored_zip_members(const MappedFile& file) {
    std::map<std::string, std::span<const std::byte>, std::less<>> result;
    for (Member& m : ZipDirectory(file).members()) {
        const auto bytes = file.bytes(m.begin, m.end - m.begin, m.name);
        const std::string name = m.name;
        if (!result.emplace(std::move(m.name), bytes).second)
            throw FileError("{}: the member \"{}\" is there twice", file.path().string(), printable(name));
    }
    return result;
}

}  // namespace wavllm
