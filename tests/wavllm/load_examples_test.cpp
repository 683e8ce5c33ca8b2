// Manifests to examples with and without the feature cache. Witness: the encoder, clip by clip; what the manifest says.

#include "models/wavllm/load_examples.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tensor/thread_pool.h"
#include "tests/wavllm/tiny_system.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace fs = std::filesystem;

namespace {

std::unique_ptr<FeatureCache> cache_in(const TempFolder& folder, const System& system,
                                       std::vector<std::string>* warnings = nullptr) {
    return std::make_unique<FeatureCache>(folder / "features", feature_fingerprint(system),
                                          [=](const std::string& line) {
                                              if (warnings)
                                                  warnings->push_back(line);
                                              else
                                                  FAIL_CHECK(line);
                                          });
}

std::vector<fs::path> cached_files(const TempFolder& folder) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder / "features"))
        if (entry.path().extension() == ".features") files.push_back(entry.path());
    return files;
}

/// The weights of golden/ with one of them changed a little.
fs::path one_weight_changed(const TempFolder& folder, const std::string& name) {
    const auto checkpoint = open_checkpoint(shared("golden/hf_whisper_weights.safetensors"));
    std::vector<TensorToStore> tensors;
    std::vector<std::byte> changed;
    for (const StoredTensor& t : checkpoint->tensors()) {
        tensors.push_back({t.name, t.dtype, t.shape, t.bytes});
        if (t.name != name) continue;
        REQUIRE(t.dtype == DType::f64);
        changed.assign(t.bytes.begin(), t.bytes.end());
        double value = 0;
        std::memcpy(&value, changed.data(), sizeof value);
        value *= 1.001;
        std::memcpy(changed.data(), &value, sizeof value);
        tensors.back().bytes = changed;
    }
    REQUIRE(!changed.empty());
    write_safetensors(folder / "changed.safetensors", tensors);
    return folder / "changed.safetensors";
}

}  // namespace

TEST_CASE("load examples: a clip's bits do not depend on the clips encoded with it, nor on threads") {
    const TempFolder folder;
    const System system = tiny_system();
    const auto examples = load(system, chirps(folder, 9), nullptr);
    REQUIRE(examples.size() == 9);
    const int threads = num_threads();
    for (const SpeechExample& e : examples) {
        set_num_threads(e.key % 2 == 0 ? 1 : 3);
        const std::vector<float> samples = read_audio(e.audio.string());
        const SpeechExample alone = make_example(system, e.id, samples, "What is it?", e.reference);
        CHECK(alone.features.dtype() == DType::bf16);
        CHECK(features_of(alone) == features_of(e));
        CHECK(alone.chunk_rows == e.chunk_rows);
        CHECK(alone.seconds == e.seconds);
        CHECK(alone.ids.left == e.ids.left);
        CHECK(alone.ids.right == e.ids.right);
        CHECK(alone.ids.target == e.ids.target);
    }
    set_num_threads(threads);
}

TEST_CASE("load examples: the cache changes no bit, is used, and only what is missing is encoded") {
    const TempFolder folder;
    const System system = tiny_system();
    const fs::path manifest = chirps(folder, 9);
    const auto plain = load(system, manifest, nullptr);
    const auto cache = cache_in(folder, system);
    EncodeSummary first, second, third;
    CHECK(same(load(system, manifest, cache.get(), &first), plain));
    const auto again = load(system, manifest, cache.get(), &second);
    CHECK(same(again, plain));
    CHECK(first.from_cache == 0);
    CHECK(first.clips == 9);
    CHECK(first.encoded == doctest::Approx(first.seconds));
    CHECK(second.from_cache == 9);
    CHECK(second.encoded == 0);
    for (const SpeechExample& e : again) CHECK_FALSE(e.features.defined());
    const auto a = make_batch(pointers_to(plain), true), b = make_batch(pointers_to(again), true);
    CHECK(a.features.values() == b.features.values());
    CHECK(a.feature_borders.values() == b.feature_borders.values());

    fs::remove(cached_files(folder)[4]);
    CHECK(same(load(system, manifest, cache.get(), &third), plain));
    CHECK(third.from_cache == 8);
    CHECK(third.encoded >= 0.3);  // one clip
    CHECK(third.encoded <= 1.31);
}

TEST_CASE("load examples: what a damaged file lost is encoded again") {
    const TempFolder folder;
    const System system = tiny_system();
    const fs::path manifest = chirps(folder, 5);
    std::vector<std::string> warnings;
    const auto cache = cache_in(folder, system, &warnings);
    const auto plain = load(system, manifest, cache.get());
    const auto files = cached_files(folder);
    REQUIRE(files.size() == 5);
    fs::resize_file(files[1], fs::file_size(files[1]) - 1);
    std::ofstream(files[3], std::ios::binary) << "rubbish";
    EncodeSummary summary;
    CHECK(same(load(system, manifest, cache.get(), &summary), load(system, manifest, nullptr)));
    CHECK(summary.from_cache == 3);
    CHECK(warnings.size() == 2);
}

TEST_CASE("load examples: fingerprint of the encoder's weights, dtype and padding; not of threads") {
    const TempFolder folder;
    const System system = tiny_system();
    const std::string fingerprint = feature_fingerprint(system);
    CHECK(fingerprint.size() == 64);
    const int threads = num_threads();
    for (const int n : {1, 2, 3}) {
        set_num_threads(n);
        CHECK(feature_fingerprint(tiny_system()) == fingerprint);
    }
    set_num_threads(threads);
    CHECK(feature_fingerprint(tiny_system(shared("golden/hf_whisper_weights.safetensors"), DType::bf16)) !=
          fingerprint);
    // the last position is beyond the clip that the fingerprint listens to
    for (const char* name : {"model.encoder.layers.1.fc1.weight", "model.encoder.conv1.bias",
                             "model.encoder.embed_positions.weight", "model.encoder.layer_norm.weight"}) {
        CAPTURE(name);
        CHECK(feature_fingerprint(tiny_system(one_weight_changed(folder, name))) != fingerprint);
    }
    System wider = tiny_system();
    wider.preset.model.encoder_padding = "30s";
    CHECK(feature_fingerprint(wider) != fingerprint);
}

TEST_CASE("load examples: spans, repeated clips, text-only rows, and what a row says of itself") {
    const TempFolder folder;
    chirps(folder, 2);
    const fs::path manifest =
        folder.write("rows.tsv",
                     "id\taudio\tprompt\ttgt_text\twith_speech\tspeaker\ttask\tstart_frame\tend_frame\n"
                     "whole\tclip1.wav\tP\tT\ttrue\tann\tasr\t\t\n"
                     "part\tclip1.wav\tP\tT\ttrue\tann\tasr\t1000\t9000\n"
                     "again\tclip1.wav\tQ\tU\ttrue\tann\tsqa\t1000\t9000\n"
                     "text\t\tP\tT\tfalse\t\tchat\t\t\n"
                     "other\tclip0.wav\tP\tT\ttrue\tbob\tasr\t\t\n");
    const System system = tiny_system();
    const auto cache = cache_in(folder, system);
    EncodeSummary summary;
    const fs::path twice[] = {manifest, manifest};
    const auto examples = load_examples(system, twice, cache.get(), {}, &summary);
    REQUIRE(examples.size() == 10);
    CHECK(summary.clips == 3);
    CHECK(cached_files(folder).size() == 3);
    CHECK(features_of(examples[1]) == features_of(examples[2]));
    CHECK(features_of(examples[1]) != features_of(examples[0]));
    CHECK(examples[1].seconds == 0.5);
    CHECK(examples[1].span.start == 1000);
    CHECK(examples[1].span.end == 9000);
    CHECK(examples[2].task == "sqa");
    CHECK(examples[4].speaker == "bob");
    CHECK(fs::equivalent(examples[4].audio, folder / "clip0.wav"));
    CHECK(examples[3].feature_rows() == 0);
    CHECK(examples[3].seconds == 0);
    CHECK(examples[3].audio.empty());
    for (size_t i = 0; i < 10; ++i) CHECK(examples[i].key == static_cast<int64_t>(i));
    CHECK(same(examples, load_examples(system, twice)));
    const std::vector<float> samples = read_audio(folder / "clip1.wav", kSampleRate, {1000, 9000});
    CHECK(features_of(make_example(system, "", samples, "P")) == features_of(examples[1]));
}

TEST_CASE("load examples: a clip that cannot be read is named with its row") {
    const TempFolder folder;
    const fs::path manifest = chirps(folder, 3);
    folder.write("clip1.wav", "no sound");
    const System system = tiny_system();
    const std::string message = message_of<FileError>([&] { load(system, manifest, nullptr); });
    CHECK(message.find("chirps.tsv:3: row \"c1\": ") != std::string::npos);
    CHECK(message.find("clip1.wav") != std::string::npos);
}

TEST_CASE("load examples: two processes that fill one cache share the work and see the same bits") {
    const TempFolder folder;
    constexpr int kClips = 90;  // more than one group of an encoding
    const fs::path manifest = chirps(folder, kClips);
    const System system = tiny_system();
    const auto plain = load(system, manifest, nullptr);
    const int threads = num_threads();
    set_num_threads(1);  // a child of fork() has no other threads
    int result[2];
    REQUIRE(::pipe(result) == 0);
    std::vector<pid_t> children;
    for (int i = 0; i < 2; ++i) {
        children.push_back(::fork());
        if (children.back() != 0) continue;
        try {
            const auto cache = cache_in(folder, system);
            EncodeSummary summary;
            const bool right = same(load(system, manifest, cache.get(), &summary), plain);
            const double encoded = right ? summary.encoded : -1e9;
            (void)!::write(result[1], &encoded, sizeof encoded);
        } catch (...) {
            ::_exit(1);
        }
        ::_exit(0);
    }
    double total = 0, wanted = 0;
    for (const pid_t child : children) {
        double encoded = -1e9;
        int status = 0;
        CHECK(::waitpid(child, &status, 0) == child);
        REQUIRE(status == 0);
        CHECK(::read(result[0], &encoded, sizeof encoded) == sizeof encoded);
        total += encoded;
    }
    ::close(result[0]);
    ::close(result[1]);
    set_num_threads(threads);
    for (const SpeechExample& e : plain) wanted += e.seconds;
    CHECK(total == doctest::Approx(wanted));  // nothing was encoded twice
    CHECK(cached_files(folder).size() == kClips);
}
