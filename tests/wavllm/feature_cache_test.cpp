// The files of the feature cache. Witness: what was put there, to the bit; damage of every kind done by hand; the
// system, for kills and full disks.

#include "models/wavllm/feature_cache.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "models/sha256.h"
#include "tensor/error.h"
#include "tests/support/small_disk.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace fs = std::filesystem;

namespace {

const std::string kAudio(64, 'a');

EncodedClip clip_of(int64_t rows, int64_t channels, int seed) {
    EncodedClip clip{.features = Tensor::empty({rows, channels}, DType::bf16), .chunk_rows = {rows}, .samples = 320};
    for (int64_t i = 0; i < rows * channels; ++i)
        clip.features.mutable_data<bf16>()[i] = to_bf16(static_cast<float>((i * 7 + seed) % 101) / 8);
    return clip;
}

bool holds(const CachedClip& cached, const EncodedClip& clip) {
    std::vector<float> x(static_cast<size_t>(cached.rows * cached.channels));
    cached.copy_features(x.data());
    const Tensor wanted = clip.features.to(DType::f32);
    return cached.chunk_rows == clip.chunk_rows && cached.samples == clip.samples &&
           std::equal(x.begin(), x.end(), wanted.data<float>(), wanted.data<float>() + wanted.numel());
}

/// A cache that collects its warnings.
struct Collecting {
    std::vector<std::string> warnings;
    FeatureCache cache;
    explicit Collecting(const fs::path& folder)
        : cache(folder, "encoder", [this](const std::string& line) { warnings.push_back(line); }) {}
};

std::string numbered_key(const FeatureCache& cache, int i) {
    return cache.key(kAudio, {.start = i});
}

}  // namespace

TEST_CASE("feature cache: what is put there is found again, to the bit") {
    const TempFolder folder;
    Collecting c(folder / "features");
    EncodedClip clip = clip_of(5, 3, 1);
    clip.chunk_rows = {3, 2};
    const std::string key = c.cache.key(kAudio, {});
    CHECK_FALSE(c.cache.find(key));
    CHECK(holds(c.cache.put(key, clip), clip));
    const auto found = c.cache.find(key);
    REQUIRE(found);
    CHECK(holds(*found, clip));
    CHECK(found->file == folder.path() / "features" / key.substr(0, 2) / (key + ".features"));
    CHECK(fs::file_size(found->file) == 112 + 2 * 8 + 5 * 3 * 2);
    CHECK_FALSE(c.cache.find(c.cache.key(kAudio, {.start = 1})));
    CHECK(c.warnings.empty());
}

TEST_CASE("feature cache: the key is that of audio, span and fingerprint") {
    const TempFolder folder;
    const FeatureCache cache(folder.path(), "encoder"), other(folder.path(), "another encoder");
    const std::string key = cache.key(kAudio, {.start = 5, .end = 10});
    CHECK(key.size() == 64);
    CHECK(key == cache.key(kAudio, {.start = 5, .end = 10}));
    CHECK(key != cache.key(std::string(64, 'b'), {.start = 5, .end = 10}));
    CHECK(key != cache.key(kAudio, {.start = 51, .end = 0}));
    CHECK(key != cache.key(kAudio, {.start = 5, .end = 11}));
    CHECK(key != cache.key(kAudio, {.start = 5}));
    CHECK(key != other.key(kAudio, {.start = 5, .end = 10}));
}

TEST_CASE("feature cache: every flipped bit and every cut is seen, the file removed and made again") {
    const TempFolder folder;
    Collecting c(folder.path());
    const EncodedClip clip = clip_of(3, 11, 2);  // 66 bytes of features: whole words of the checksum, and a tail
    const std::string key = c.cache.key(kAudio, {});
    const CachedClip cached = c.cache.put(key, clip);
    const std::string good = read_all(cached.file);
    const auto seen = [&](const std::string& content) {
        std::ofstream(cached.file, std::ios::binary) << content;
        c.warnings.clear();
        return !c.cache.find(key) && c.warnings.size() == 1 && !fs::exists(cached.file) &&
               c.warnings[0].find(cached.file.string() + " is damaged (") == 0 &&
               c.warnings[0].find('\n') == std::string::npos;
    };
    for (size_t i = 0; i < 8 * good.size(); ++i) {
        std::string bad = good;
        bad[i / 8] = static_cast<char>(bad[i / 8] ^ (1 << (i % 8)));
        CHECK_MESSAGE(seen(bad), "bit ", i);
    }
    for (size_t size = 0; size < good.size(); ++size) CHECK_MESSAGE(seen(good.substr(0, size)), "cut to ", size);
    CHECK(seen(good + "x"));
    CHECK(seen(good + good));
    c.warnings.clear();
    CHECK(holds(c.cache.put(key, clip), clip));
    CHECK(c.cache.find(key));
    CHECK(c.warnings.empty());
}

TEST_CASE("feature cache: a file under another's name is not taken for it") {
    const TempFolder folder;
    Collecting c(folder.path());
    const std::string key = numbered_key(c.cache, 1), other = numbered_key(c.cache, 2);
    const CachedClip cached = c.cache.put(key, clip_of(2, 2, 1));
    fs::create_directories(c.cache.path_of(other).parent_path());
    fs::copy_file(cached.file, c.cache.path_of(other));
    CHECK_FALSE(c.cache.find(other));
    CHECK(c.warnings.size() == 1);
    CHECK(c.cache.find(key));
}

TEST_CASE("feature cache: damage while a run is on ends it with the way out") {
    const TempFolder folder;
    const FeatureCache cache(folder.path(), "encoder");
    const CachedClip cached = cache.put(numbered_key(cache, 1), clip_of(2, 2, 1));
    std::vector<float> x(4);
    std::string content = read_all(cached.file);
    content.back() ^= 1;
    std::ofstream(cached.file, std::ios::binary) << content;
    const std::string damaged = message_of<FileError>([&] { cached.copy_features(x.data()); });
    CHECK(damaged.find("its checksum is wrong; it was removed: start again") != std::string::npos);
    CHECK_FALSE(fs::exists(cached.file));
    const std::string gone = message_of<FileError>([&] { cached.copy_features(x.data()); });
    CHECK(gone.find("has disappeared from the cache") != std::string::npos);
}

TEST_CASE("feature cache: a writer killed at any moment leaves only whole files, and no rubbish for good") {
    const TempFolder folder;
    constexpr int kClips = 60, kRounds = 12;
    const auto clip = [](int i) { return clip_of(150 + i, 256, i); };
    Collecting c(folder.path());
    const auto fill = [&] {
        for (int i = 0; i < kClips; ++i) c.cache.put(numbered_key(c.cache, i), clip(i));
    };
    size_t found = 0, interrupted = 0;
    for (int round = 0; round < kRounds; ++round) {
        const pid_t child = ::fork();
        if (child == 0) {
            fill();
            ::_exit(0);
        }
        ::usleep(static_cast<useconds_t>(300 + 1700 * round));
        ::kill(child, SIGKILL);
        int status = 0;
        ::waitpid(child, &status, 0);
        interrupted += WIFSIGNALED(status) ? 1 : 0;
        for (int i = 0; i < kClips; ++i)
            if (const auto cached = c.cache.find(numbered_key(c.cache, i))) {
                CHECK(holds(*cached, clip(i)));
                ++found;
            }
    }
    CHECK(found > 0);
    CHECK(interrupted > 0);
    CHECK(c.warnings.empty());
    fill();
    for (const auto& entry : fs::recursive_directory_iterator(folder.path()))
        if (entry.is_regular_file() && entry.path().filename() != ".claims")
            CHECK_MESSAGE(entry.path().extension() == ".features", entry.path().string());
}

TEST_CASE("feature cache: a claim keeps other processes out until it ends, also by a kill") {
    const TempFolder folder;
    const FeatureCache cache(folder.path(), "encoder");
    const std::string key = numbered_key(cache, 1), other = numbered_key(cache, 2);
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        const FeatureCache own(folder.path(), "encoder");
        const auto claim = own.try_claim(key);
        (void)!::write(ready[1], claim ? "y" : "n", 1);
        ::pause();
        ::_exit(0);
    }
    char answer = 0;
    REQUIRE(::read(ready[0], &answer, 1) == 1);
    CHECK(answer == 'y');
    CHECK_FALSE(cache.try_claim(key));
    CHECK(cache.try_claim(other));
    ::kill(child, SIGKILL);
    const auto claim = cache.claim(key);  // waits until the system has buried the child
    CHECK(cache.try_claim(key));          // its own
    ::waitpid(child, nullptr, 0);
    ::close(ready[0]);
    ::close(ready[1]);
}

TEST_CASE("feature cache: a full disk is one line that says what to do, and what was written stays") {
    const TempFolder folder;
    const pid_t child = ::fork();
    if (child == 0) {
        if (!mount_small_disk(folder.path(), 256 << 10)) ::_exit(2);
        int code = 1;
        {
            const FeatureCache cache(folder.path(), "encoder");
            int written = 0;
            const std::string message = message_of<FileError>([&] {
                for (; written < 100; ++written)
                    cache.put(numbered_key(cache, written), clip_of(100, 256, written));  // 51 kB each
            });
            const bool named = message.find("No space left on device") != std::string::npos &&
                               message.find("MiB are free") != std::string::npos &&
                               message.find("--no-cache") != std::string::npos &&
                               message.find('\n') == std::string::npos;
            bool kept = written > 0;
            for (int i = 0; i < written; ++i) kept = kept && cache.find(numbered_key(cache, i));
            code = named && kept ? 0 : 1;
        }
        leave_small_disk(folder.path(), code);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFEXITED(status));
    CHECK_MESSAGE(WEXITSTATUS(status) != 2, "this user may not mount a tmpfs, not even in a namespace of its own");
    CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("feature cache: a folder that cannot be is an error with the way out") {
    const TempFolder folder;
    const auto file = folder.write("file", "x");
    const std::string message = message_of<FileError>([&] { FeatureCache(file / "features", "encoder"); });
    CHECK(message.find("cannot use the feature cache " + file.string() + "/features: Not a directory") == 0);
    CHECK(message.find("WAVLLM_CACHE") != std::string::npos);
    CHECK(message.find("--no-cache") != std::string::npos);
}
