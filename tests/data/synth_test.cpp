// Synthetic speech and altered copies. Witness: the same work done another way (other numbers of processes, a second
// run), formulas (frequency of a resampled tone, levels in dB), and the project's own reader of sound files.
#include "data/synth/synth.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <cmath>
#include <map>
#include <numbers>
#include <set>

#include "data/audio.h"
#include "data/check/check.h"
#include "data/flac.h"
#include "data/manifest.h"
#include "data/sha256.h"
#include "data/synth/augment.h"
#include "data/synth/clip_plan.h"
#include "data/synth/engines.h"
#include "data/synth/processes.h"
#include "tensor/error.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

namespace fs = std::filesystem;

const char* const kText =
    "The quick brown fox jumps over the lazy dog.\nShe sells sea shells, and he buys them all.\n"
    "How are you today, my good friend?\nNothing was heard but the wind in the trees, and the sea.\n"
    "They walked along the river until night fell.\nWho has opened the window?\n";

std::vector<float> tone(double hertz, double seconds, double amplitude = 0.5) {
    std::vector<float> samples(static_cast<size_t>(seconds * kSampleRate));
    for (size_t i = 0; i < samples.size(); ++i)
        samples[i] = static_cast<float>(amplitude *
                                        std::sin(2 * std::numbers::pi * hertz * static_cast<double>(i) / kSampleRate));
    return samples;
}

/// Files below a folder with their content.
std::map<std::string, std::string> contents(const fs::path& folder) {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(folder))
        if (entry.is_regular_file()) all[fs::relative(entry.path(), folder).string()] = read_all(entry.path());
    return all;
}

}  // namespace

TEST_CASE("synth: FLAC files give back every 16-bit sample, and the same bytes each time") {
    const TempFolder folder;
    std::vector<float> samples(5000);
    for (int i = 0; i < 5000; ++i)
        samples[static_cast<size_t>(i)] = static_cast<float>((i * 7919) % 65536 - 32768) / 32768.0f;
    const std::string bytes = encode_flac16(samples, kSampleRate);
    CHECK(bytes == encode_flac16(samples, kSampleRate));
    const fs::path file = folder.write("a.flac", bytes);
    CHECK(read_audio(file.string()) == samples);
    CHECK(flac_length(file, kSampleRate) == 5000);
    CHECK(flac_length(file, 8000) == 0);
    CHECK(flac_length(folder / "none.flac", kSampleRate) == 0);
    CHECK(flac_length(folder.write("b.flac", ""), kSampleRate) == 0);
    CHECK_THROWS_AS(encode_flac16({}, kSampleRate), Error);
}

TEST_CASE("synth: resampling moves a tone, trimming leaves what was asked for, levels are met") {
    const std::vector<float> faster = resample(tone(440, 1.0), kSampleRate * 1.1, kSampleRate);
    CHECK(faster.size() == 14545);  // 16000 / 1.1
    // a tone of 484 Hz crosses zero 968 times a second
    int crossings = 0;
    for (size_t i = 1; i < faster.size(); ++i) crossings += (faster[i - 1] < 0) != (faster[i] < 0);
    CHECK(std::abs(crossings - 968.0 * 14545 / 16000) < 3);

    std::vector<float> padded(8000, 0.0f);
    const std::vector<float> sound = tone(300, 0.5);
    padded.insert(padded.end(), sound.begin(), sound.end());
    trim_silence(padded, 0.1, 0.2);
    CHECK(padded.size() == 1600 + 8000 + 3200);
    CHECK(padded[1599] == 0.0f);
    CHECK(padded[1650] == sound[50]);
    std::vector<float> silence(1000, 0.0f);
    trim_silence(silence, 0.1, 0.1);
    CHECK(silence.empty());

    // a sine's RMS is its amplitude less 3.01 dB
    CHECK(std::abs(speech_level(tone(400, 1, 0.1)) - (-23.01)) < 0.01);
    for (const double level : {-20.0, -45.0}) {
        std::vector<float> samples = tone(400, 1);
        Effects e;
        e.noise_colour = -1;
        e.level = level;
        apply_effects(samples, e);
        CHECK(std::abs(speech_level(samples) - level) < 0.01);
    }
}

TEST_CASE("synth: noise comes at the ratio asked for, a narrow band takes what is above it, a room adds energy") {
    Effects e;
    e.level = -20;
    e.noise_colour = 0.9;
    e.noise_ratio = 12;
    e.seed = 3;
    // the second half is silent but for the noise
    std::vector<float> samples = tone(400, 2);
    std::fill(samples.begin() + kSampleRate, samples.end(), 0.0f);
    apply_effects(samples, e);
    double speech = 0, noise = 0;
    for (int i = 0; i < kSampleRate; ++i) {
        speech += static_cast<double>(samples[i]) * samples[i];
        noise += static_cast<double>(samples[i + kSampleRate]) * samples[i + kSampleRate];
    }
    CHECK(std::abs(10 * std::log10(speech / noise - 1) - 12) < 1.0);

    Effects narrow;
    narrow.noise_colour = -1;
    narrow.band = 3200;
    std::vector<float> two = tone(400, 1, 0.2);
    const std::vector<float> high = tone(6400, 1, 0.2);
    for (size_t i = 0; i < two.size(); ++i) two[i] += high[i];
    narrow.level = speech_level(tone(400, 1, 0.2));
    apply_effects(two, narrow);
    double rest = 0;  // what 400 Hz does not explain, after the filter has settled
    for (size_t i = 2000; i + 40 < two.size(); ++i)
        rest = std::max(rest, std::abs(static_cast<double>(two[i] - two[i + 40])));
    CHECK(rest < 0.2 * 0.02);  // fourth order: 6,400 Hz is attenuated by more than 34 dB

    Effects room;
    room.noise_colour = -1;
    room.room = 0.5;
    room.room_level = 0;
    room.seed = 9;
    std::vector<float> clap(kSampleRate, 0.0f);
    clap[100] = 0.5f;
    apply_effects(clap, room);
    double direct = std::pow(static_cast<double>(clap[100]), 2), tail = 0;
    for (size_t i = 101; i < clap.size(); ++i) tail += static_cast<double>(clap[i]) * clap[i];
    CHECK(tail > 0.1 * direct);
    CHECK(tail < 1.5 * direct);
}

TEST_CASE("synth: work in processes comes back whole, with errors and crashes named") {
    std::vector<int64_t> results(20, -1);
    int64_t state = 5;  // children change it, nobody else sees that
    ProcessWork work;
    work.jobs = 3;
    work.next = [](int64_t i) { return i < 20; };
    work.work = [&](int64_t i) { return ++state * 100 + i; };
    work.done = [&](int64_t i, int64_t r) { results[static_cast<size_t>(i)] = r; };
    work.name = [](int64_t i) { return "item " + std::to_string(i); };
    run_in_processes(work);
    for (int64_t i = 0; i < 20; ++i) CHECK(results[static_cast<size_t>(i)] == 600 + i);
    CHECK(state == 5);

    work.work = [](int64_t i) -> int64_t { return i == 4 ? throw FileError("no disk") : i; };
    CHECK(message_of<Error>([&] { run_in_processes(work); }) == "item 4: no disk");
    work.work = [](int64_t i) -> int64_t { return i == 7 ? (::kill(::getpid(), SIGKILL), 0) : i; };
    CHECK(message_of<Error>([&] { run_in_processes(work); }) ==
          "item 7: the process that worked on it ended by signal 9");
}

TEST_CASE("synth: there are at least 20 voices, and no two sound the same") {
    CHECK(all_voices().size() >= 20);
    load_engines();
    std::set<std::string> sounds;
    ProcessWork work;
    work.jobs = 2;
    work.next = [](int64_t i) { return i < static_cast<int64_t>(all_voices().size()); };
    work.work = [](int64_t i) {
        ClipPlan plan;
        plan.voice = all_voices()[static_cast<size_t>(i)];
        plan.size = plan.voice.size;
        plan.text = {{{"hello", '.'}}, ""};
        plan.effects.noise_colour = -1;
        const std::vector<float> samples = make_clip(plan);
        const std::string hash = sha256_bytes(std::as_bytes(std::span(samples)));
        return samples.empty() ? int64_t{0} : static_cast<int64_t>(std::stoull(hash.substr(0, 15), nullptr, 16));
    };
    work.name = [](int64_t i) { return std::string(all_voices()[static_cast<size_t>(i)].name); };
    work.done = [&](int64_t i, int64_t r) {
        CAPTURE(work.name(i));
        CHECK(r != 0);
        CHECK(sounds.insert(std::to_string(r)).second);
    };
    run_in_processes(work);
    CHECK(sounds.size() == all_voices().size());

    CHECK(find_voices("flite-*").size() + find_voices("espeak-*").size() == all_voices().size());
    CHECK(find_voices("espeak-us,flite-slt").size() == 2);
    CHECK(message_of<UsageError>([] { find_voices("flite-slu"); }).find("did you mean flite-slt?") !=
          std::string::npos);
}

TEST_CASE("synth: same seed, same files, for any number of processes; what is there is not made again") {
    const TempFolder folder;
    SynthOptions o;
    o.text = folder.write("text.txt", kText);
    o.out = folder / "one";
    o.hours = 14.0 / 3600;
    o.digits = 3;
    o.max_seconds = 6;
    o.jobs = 1;
    const SynthReport first = synthesize(o);
    const auto files = contents(o.out);
    REQUIRE(first.sets.size() == 1);
    CHECK(first.sets[0].hours * 3600 >= 14);
    CHECK(first.sets[0].made == first.sets[0].clips);
    CHECK(static_cast<int64_t>(files.size()) == first.sets[0].clips + 1);

    CHECK(synthesize(o).sets[0].made == 0);
    CHECK(contents(o.out) == files);

    const std::string lost = std::prev(files.end(), 2)->first;
    fs::resize_file(o.out / lost, 0);
    CHECK(synthesize(o).sets[0].made == 1);
    CHECK(contents(o.out) == files);

    o.out = folder / "three";
    o.jobs = 3;
    synthesize(o);
    CHECK(contents(o.out) == files);

    o.out = folder / "seed";
    o.seed = 2;
    synthesize(o);
    CHECK(contents(o.out) != files);
}

TEST_CASE("synth: the rows say what the files hold, and training keeps apart from validation") {
    const TempFolder folder;
    SynthOptions o;
    o.text = folder.write("text.txt", kText);
    o.out = folder / "out";
    o.clips = 4;
    o.digits = 10;
    o.valid_share = 0.5;
    o.max_seconds = 5;
    o.jobs = 2;
    o.exclude = {folder.write("test.tsv", "id\taudio\tprompt\ttgt_text\na\ta.wav\tp\tquick brown fox jumps\n")};
    const SynthReport report = synthesize(o);
    REQUIRE(report.sets.size() == 2);
    CHECK(report.excluded == 1);
    DataCheckOptions check;
    check.valid = {report.sets[0].manifest};
    check.train = {report.sets[1].manifest};
    const DataCheckReport found = check_data(check);
    for (const DataProblem& p : found.problems) FAIL_CHECK(p.where << ": " << p.what);
    CHECK(found.splits[0].rows == 14);
    CHECK(found.splits[1].rows == 2);

    std::set<std::string> digits;
    for (const ManifestRow& row : read_manifest(report.sets[1].manifest)) {
        CHECK(row.tgt_text.find("fox") == std::string::npos);
        CHECK(row.prompt == (row.task == "digits" ? kDigitPrompt : kTranscriptionPrompt));
        CHECK(row.extra.at("voice").starts_with(row.speaker + " tempo"));
        if (row.task == "digits") digits.insert(row.tgt_text);
    }
    CHECK(digits.size() == 10);

    const auto refused = [&](auto&& change) {
        SynthOptions bad = o;
        change(bad);
        return message_of<UsageError>([&] { synthesize(bad); });
    };
    CHECK(refused([](SynthOptions& b) { b.hours = 1; }).find("choose one") != std::string::npos);
    CHECK(refused([](SynthOptions& b) { b.clips = b.digits = 0; }).find("nothing to make") != std::string::npos);
    CHECK(refused([](SynthOptions& b) { b.text = ""; }).find("--text") != std::string::npos);
    CHECK(refused([](SynthOptions& b) { b.effects.noise = 1.5; }).find("--noise is 1.5") != std::string::npos);
    CHECK(refused([](SynthOptions& b) { b.min_seconds = 9; }).find("min < max") != std::string::npos);
    CHECK(refused([](SynthOptions& b) { b.voices = "flite-slt"; }).find("--voices") != std::string::npos);
    CHECK(refused([](SynthOptions& b) { b.slowest = 1.5; }).find("tempos from 1.5 to 1.28") != std::string::npos);
    CHECK(refused([](SynthOptions& b) { b.slowest = 0; }).find("0.4 <= --slowest") != std::string::npos);
    CHECK(refused([](SynthOptions& b) { b.fastest = NAN; }).find("--fastest <= 2") != std::string::npos);
}

TEST_CASE("augment: copies keep text and speaker, differ in sound, and are the same each time") {
    const TempFolder folder;
    folder.write("audio/a.flac", encode_flac16(tone(300, 1.0), kSampleRate));
    folder.write("audio/b.flac", encode_flac16(tone(500, 0.5), kSampleRate));
    AugmentOptions o;
    o.manifest = folder.write("m.tsv",
                              "id\taudio\tn_frames\tprompt\ttgt_text\tspeaker\tsource\n"
                              "a\taudio/a.flac\t16000\tp\tone\tann\tx\nb\taudio/b.flac\t8000\tp\ttwo\tbob\tx\n");
    o.out = folder / "one";
    o.copies = 3;
    o.jobs = 1;
    const AugmentReport report = augment(o);
    CHECK(report.clips == 6);
    CHECK(report.made == 6);
    const auto rows = read_manifest(report.manifest);
    REQUIRE(rows.size() == 6);
    CHECK(rows[3].id == "b-a2");
    CHECK(rows[3].speaker == "bob");
    CHECK(rows[3].tgt_text == "two");
    CHECK(rows[3].extra.at("source") == "x");
    std::set<int64_t> lengths;
    for (const ManifestRow& r : rows) {
        const int64_t frames = r.n_frames.value_or(0);
        const auto length = static_cast<double>(frames);
        const double whole = r.speaker == "ann" ? 16000 : 8000;
        CHECK(length >= whole / 1.1 - 1);
        CHECK(length <= whole / 0.9 + 1);
        CHECK(read_audio(r.audio.string()).size() == static_cast<size_t>(frames));
        lengths.insert(frames);
    }
    CHECK(lengths.size() == 6);
    const auto files = contents(o.out);
    CHECK(augment(o).made == 0);
    o.out = folder / "two";
    o.jobs = 3;
    augment(o);
    CHECK(contents(o.out) == files);
    AugmentOptions bad = o;
    bad.fastest = 3;
    CHECK_THROWS_WITH_AS(augment(bad), doctest::Contains("speeds from 0.9 to 3"), UsageError);

    // the copies of a training speaker show up as a leak in a test set
    DataCheckOptions check;
    check.train = {report.manifest};
    check.test = {o.manifest};
    bool leak = false;
    for (const DataProblem& p : check_data(check).problems) leak |= p.kind == DataProblem::Kind::speaker_leak;
    CHECK(leak);
}
