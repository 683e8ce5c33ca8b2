#include "models/wavllm/feature_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <numeric>

#include "models/download.h"
#include "models/sha256.h"
#include "tensor/atomic_file.h"

namespace wavllm {

namespace fs = std::filesystem;

namespace {

// A file: the header, chunk_rows as i64, features as bf16, row by row. Little endian. In version 2 WavLM's hidden states
// follow, layer by layer, and their three sizes stand as i64 before chunk_rows; a clip without them is of version 1.
constexpr char kMagic[8] = {'W', 'A', 'V', 'F', 'E', 'A', 'T', '\n'};
constexpr uint32_t kVersion = 1, kWithAcoustic = 2;
constexpr uint64_t kAcousticSizes = 3;
static_assert(std::endian::native == std::endian::little);

struct Header {
    char magic[8];
    uint64_t checksum;  // of all that follows
    uint32_t version;
    uint32_t chunks;
    int64_t rows, channels, samples;
    char key[64];
};
static_assert(sizeof(Header) == 112);
constexpr size_t kCovered = offsetof(Header, version);

/// FNV-1a (Fowler, Noll, Vo) on words of 64 bits in eight lanes, which are then hashed like words: as fast as memory.
/// Each step is invertible in word and state, so damage within one word never goes unnoticed.
class Checksum {
public:
    void update(const void* data, size_t bytes) {
        const auto* p = static_cast<const char*>(data);
        size_t i = 0;
        for (; i + sizeof lanes_ <= bytes; i += sizeof lanes_) {
            uint64_t words[kLanes];
            std::memcpy(words, p + i, sizeof words);
            for (size_t lane = 0; lane < kLanes; ++lane) lanes_[lane] = step(lanes_[lane], words[lane]);
        }
        for (; i < bytes; ++i) tail_ = step(tail_, static_cast<unsigned char>(p[i]));
        tail_ = step(tail_, bytes);
    }
    uint64_t value() const {
        return std::accumulate(lanes_, lanes_ + kLanes, tail_, step);
    }

private:
    static uint64_t step(uint64_t state, uint64_t word) {
        const uint64_t mixed = (state ^ word) * 0x100000001b3U;
        return mixed ^ (mixed >> 32);  // a product alone never carries a high bit down
    }
    static constexpr size_t kLanes = 8;
    uint64_t lanes_[kLanes] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint64_t tail_ = 0xcbf29ce484222325U;
};

/// A whole file in memory, and what stands where in it.
struct Contents {
    std::unique_ptr<std::byte[]> bytes;
    Header header{};
    const std::byte *features = nullptr, *acoustic = nullptr;
    std::vector<int64_t> chunk_rows;
    Shape acoustic_shape{0, 0, 0};
};

/// Throws FileError, saying what is wrong, for a file that is not whole and right.
class DamagedFile : public FileError {
    using FileError::FileError;
};

struct Descriptor {
    int fd;
    ~Descriptor() {
        if (fd >= 0) ::close(fd);
    }
};

/// Empty where there is no such file.
std::optional<Contents> read_contents(const fs::path& path) {
    const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (file.fd < 0 && errno == ENOENT) return std::nullopt;
    struct stat facts {};
    if (file.fd < 0 || ::fstat(file.fd, &facts) != 0)
        throw FileError("cannot read {}: {}", path.string(), std::strerror(errno));
    if (!S_ISREG(facts.st_mode)) throw FileError("cannot read {}: it is not a regular file", path.string());
    const auto size = static_cast<uint64_t>(facts.st_size);
    const auto read = [&](void* to, size_t bytes) {
        auto* p = static_cast<char*>(to);
        while (bytes > 0) {
            const ssize_t n = ::read(file.fd, p, bytes);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) throw FileError("cannot read {}: {}", path.string(), std::strerror(errno));
            if (n == 0) throw DamagedFile("it ends early");
            p += n;
            bytes -= static_cast<size_t>(n);
        }
    };
    Contents c;
    Header& h = c.header;
    if (size < sizeof h) throw DamagedFile("it has {} bytes, less than its header", size);
    read(&h, sizeof h);
    if (std::memcmp(h.magic, kMagic, sizeof kMagic) != 0) throw DamagedFile("it is no file of features");
    if (h.version != kVersion && h.version != kWithAcoustic)
        throw DamagedFile("it is of version {}, not {} or {}", h.version, kVersion, kWithAcoustic);
    if (path.stem().string() != std::string_view(h.key, sizeof h.key)) throw DamagedFile("it belongs to another clip");
    const uint64_t body = size - sizeof h, sizes = h.version == kWithAcoustic ? kAcousticSizes : 0;
    const auto damaged_sizes = [&] {
        return DamagedFile("{} chunks of {} rows and {} channels do not fill its {} bytes", h.chunks, h.rows,
                           h.channels, size);
    };
    int64_t elements = 0;
    if (h.rows < 1 || h.channels < 1 || h.samples < 1 || __builtin_mul_overflow(h.rows, h.channels, &elements) ||
        h.chunks < 1 || h.chunks + sizes > body / sizeof(int64_t) || body % 2 != 0)
        throw damaged_sizes();
    const uint64_t table = (h.chunks + sizes) * sizeof(int64_t), numbers = (body - table) / sizeof(bf16);
    if (sizes == 0 ? static_cast<uint64_t>(elements) != numbers : static_cast<uint64_t>(elements) >= numbers)
        throw damaged_sizes();
    c.bytes = std::make_unique_for_overwrite<std::byte[]>(body);
    read(c.bytes.get(), body);
    Checksum checksum;
    checksum.update(reinterpret_cast<const char*>(&h) + kCovered, sizeof h - kCovered);
    checksum.update(c.bytes.get(), body);
    if (checksum.value() != h.checksum) throw DamagedFile("its checksum is wrong");
    if (sizes > 0) {
        int64_t n[kAcousticSizes] = {}, all = 0;
        std::memcpy(n, c.bytes.get(), sizeof n);
        if (n[0] < 1 || n[1] < 1 || n[2] < 1 || __builtin_mul_overflow(n[0], n[1], &all) ||
            __builtin_mul_overflow(all, n[2], &all) ||
            static_cast<uint64_t>(all) != numbers - static_cast<uint64_t>(elements))
            throw DamagedFile("[{}, {}, {}] hidden states behind {} rows of {} channels do not fill its {} bytes", n[0],
                              n[1], n[2], h.rows, h.channels, size);
        c.acoustic_shape = {n[0], n[1], n[2]};
    }
    c.chunk_rows.resize(h.chunks);
    std::memcpy(c.chunk_rows.data(), c.bytes.get() + sizes * sizeof(int64_t), h.chunks * sizeof(int64_t));
    c.features = c.bytes.get() + table;
    c.acoustic = c.features + static_cast<uint64_t>(elements) * sizeof(bf16);
    return c;
}

CachedClip cached_clip(const fs::path& path, const Header& h, std::vector<int64_t> chunk_rows, const Shape& acoustic) {
    return {path, std::move(chunk_rows), h.samples, h.rows, h.channels, acoustic};
}

/// Locks or unlocks one byte for the open file, which this process and its threads share.
bool lock_byte(int fd, int64_t at, short kind, bool wait) {
    struct flock range {};
    range.l_type = kind;
    range.l_whence = SEEK_SET;
    range.l_start = at;
    range.l_len = 1;
    while (::fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &range) != 0) {
        if (errno == EAGAIN || errno == EACCES) return false;
        if (errno != EINTR) return true;  // no locks here: the work may be done twice, which is wasteful, not wrong
    }
    return true;
}

int64_t claim_byte(const std::string& key) {
    return static_cast<int64_t>(std::stoull(key.substr(0, 15), nullptr, 16));
}

}  // namespace

int64_t CachedClip::bytes() const {
    return (rows * channels + acoustic.numel()) * static_cast<int64_t>(sizeof(bf16));
}

void CachedClip::copy_features(float* to, float* acoustic_to, int64_t layer_stride) const {
    constexpr const char* kWayOut = "start again, and it is made anew (a training run goes on with --resume)";
    std::optional<Contents> c;
    try {
        c = read_contents(file);
    } catch (const DamagedFile& problem) {
        std::error_code ignored;
        fs::remove(file, ignored);
        throw FileError("{}: {}; it was removed: {}", file.string(), problem.what(), kWayOut);
    }
    if (!c) throw FileError("{} has disappeared from the cache: {}", file.string(), kWayOut);
    if (c->header.rows != rows || c->header.channels != channels || c->acoustic_shape != acoustic)
        throw FileError(
            "{}: {} rows of {} channels and {} of WavLM, but there were {} of {} and {} when the run began: {}",
            file.string(), c->header.rows, c->header.channels, c->acoustic_shape.str(), rows, channels, acoustic.str(),
            kWayOut);
    dequantize(DType::bf16, c->features, to, static_cast<size_t>(rows * channels));
    if (acoustic_to == nullptr) return;
    const int64_t layer = acoustic[1] * acoustic[2];
    for (int64_t l = 0; l < acoustic[0]; ++l)
        dequantize(DType::bf16, c->acoustic + l * layer * static_cast<int64_t>(sizeof(bf16)),
                   acoustic_to + l * layer_stride, static_cast<size_t>(layer));
}

FeatureCache::FeatureCache(fs::path folder, std::string fingerprint, Warn warn)
    : folder_(std::move(folder)), fingerprint_(std::move(fingerprint)) {
    warn_ = [warn = std::move(warn), mutex = std::make_shared<std::mutex>()](const std::string& line) {
        const std::lock_guard lock(*mutex);  // find() runs on several threads
        if (warn)
            warn(line);
        else
            std::fprintf(stderr, "wavllm: %s\n", line.c_str());
    };
    std::error_code failed;
    fs::create_directories(folder_, failed);
    if (!failed) claims_ = ::open((folder_ / ".claims").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (failed || claims_ < 0)
        throw FileError(
            "cannot use the feature cache {}: {}; set WAVLLM_CACHE to a folder that can be written, or do without "
            "(--no-cache)",
            folder_.string(), failed ? failed.message() : std::strerror(errno));
}

FeatureCache::~FeatureCache() {
    if (claims_ >= 0) ::close(claims_);
}

fs::path FeatureCache::default_folder() {
    return cache_folder() / "features";
}

std::string FeatureCache::key(std::string_view audio_sha256, AudioSpan span) const {
    const std::string facts = fmt::format("features {}\naudio {}\nspan {} {}\nencoder {}\n", kVersion, audio_sha256,
                                          span.start, span.end, fingerprint_);
    return sha256_bytes(std::as_bytes(std::span(facts)));
}

fs::path FeatureCache::path_of(const std::string& key) const {
    if (key.size() != sizeof(Header::key)) throw UsageError("feature cache: a key has 64 digits, not \"{}\"", key);
    return folder_ / key.substr(0, 2) / (key + ".features");
}

std::optional<CachedClip> FeatureCache::find(const std::string& key) const {
    const fs::path path = path_of(key);
    const auto look = [&]() -> std::optional<CachedClip> {
        std::optional<Contents> c = read_contents(path);
        if (!c) return std::nullopt;
        return cached_clip(path, c->header, std::move(c->chunk_rows), c->acoustic_shape);
    };
    try {
        return look();
    } catch (const DamagedFile&) {
        // once more below, where no other process can be replacing it
    }
    const Claim mine = claim(key);
    try {
        return look();
    } catch (const DamagedFile& problem) {
        warn_(fmt::format("{} is damaged ({}); it is made again", path.string(), problem.what()));
        std::error_code failed;
        if (!fs::remove(path, failed) && failed)
            throw FileError("cannot remove the damaged {}: {}", path.string(), failed.message());
        return std::nullopt;
    }
}

CachedClip FeatureCache::put(const std::string& key, const EncodedClip& clip) const {
    const fs::path path = path_of(key);
    Header h{};
    std::memcpy(h.magic, kMagic, sizeof kMagic);
    const bool acoustic = clip.acoustic.defined();
    h.version = acoustic ? kWithAcoustic : kVersion;
    h.chunks = static_cast<uint32_t>(clip.chunk_rows.size());
    h.rows = clip.features.dim(0);
    h.channels = clip.features.dim(1);
    h.samples = clip.samples;
    std::memcpy(h.key, key.data(), sizeof h.key);
    std::vector<int64_t> table;
    if (acoustic) table = {clip.acoustic.dim(0), clip.acoustic.dim(1), clip.acoustic.dim(2)};
    table.insert(table.end(), clip.chunk_rows.begin(), clip.chunk_rows.end());
    const size_t table_bytes = table.size() * sizeof(int64_t), feature_bytes = clip.features.bytes(),
                 size = table_bytes + feature_bytes + (acoustic ? clip.acoustic.bytes() : 0);
    const std::unique_ptr<std::byte[]> body = std::make_unique_for_overwrite<std::byte[]>(size);
    std::memcpy(body.get(), table.data(), table_bytes);
    std::memcpy(body.get() + table_bytes, clip.features.data<bf16>(), feature_bytes);
    if (acoustic)
        std::memcpy(body.get() + table_bytes + feature_bytes, clip.acoustic.data<bf16>(), clip.acoustic.bytes());
    Checksum checksum;
    checksum.update(reinterpret_cast<const char*>(&h) + kCovered, sizeof h - kCovered);
    checksum.update(body.get(), size);
    h.checksum = checksum.value();
    try {
        fs::create_directories(path.parent_path());
        // a power cut may leave a damaged file, which find() sees; fsync would take longer than encoding
        AtomicFile file(path, Durability::process);
        file.write(std::as_bytes(std::span(&h, 1)));
        file.write({body.get(), size});
        file.commit();
    } catch (const std::exception& problem) {  // FileError, or filesystem_error of create_directories
        throw FileError(
            "the feature cache cannot be written: {}; what was encoded so far is kept. Make room, set WAVLLM_CACHE to "
            "another folder, or keep the features in memory (--no-cache)",
            problem.what());
    }
    return cached_clip(path, h, clip.chunk_rows, acoustic ? clip.acoustic.shape() : Shape{0, 0, 0});
}

FeatureCache::Claim::~Claim() {
    if (fd_ >= 0) lock_byte(fd_, at_, F_UNLCK, false);
}

FeatureCache::Claim::Claim(Claim&& other) noexcept : fd_(std::exchange(other.fd_, -1)), at_(other.at_) {}

FeatureCache::Claim& FeatureCache::Claim::operator=(Claim&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(at_, other.at_);
    return *this;
}

std::optional<FeatureCache::Claim> FeatureCache::try_claim(const std::string& key) const {
    const int64_t at = claim_byte(key);
    if (!lock_byte(claims_, at, F_WRLCK, false)) return std::nullopt;
    return Claim(claims_, at);
}

FeatureCache::Claim FeatureCache::claim(const std::string& key) const {
    const int64_t at = claim_byte(key);
    lock_byte(claims_, at, F_WRLCK, true);
    return Claim(claims_, at);
}

}  // namespace wavllm
