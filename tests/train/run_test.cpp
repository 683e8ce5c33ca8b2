// A run on disk: killed anywhere and resumed it ends in the same bytes; a full disk loses nothing that was saved.
// Witness: an uninterrupted run.

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "autograd/tape.h"
#include "tensor/atomic_file.h"
#include "tensor/thread_pool.h"
#include "tests/support/small_disk.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

namespace fs = std::filesystem;

constexpr int64_t kCtcSteps = 8, kJointSteps = 12, kSteps = kCtcSteps + kJointSteps;

/// A run of two stages on two sets of clips: CTC, masks, sampling of sets and classes, and what is frozen between.
TrainReport run_in(const fs::path& folder, bool resume, const std::function<void(int64_t)>& after_step = {}) {
    Wavllm model = tiny_ctc_model();
    const auto examples = tiny_examples(14);
    const auto set = [&](const char* name, size_t first, size_t n) {
        return ExampleSet{
            name,
            {examples.begin() + static_cast<ptrdiff_t>(first), examples.begin() + static_cast<ptrdiff_t>(first + n)}};
    };
    const std::vector<ExampleSet> train{set("few", 0, 3), set("many", 3, 7)}, valid{set("valid", 10, 4)};
    const NumberTokenizer tokenizer;
    RunFolder run =
        resume ? RunFolder::open(folder) : RunFolder::create(folder, tiny_staged_preset(kCtcSteps, kJointSteps));
    Trainer::Callbacks callbacks;
    if (after_step) callbacks.step = [&](int64_t step, const Stage&, const StepResult&, double) { after_step(step); };
    return Trainer(model, tokenizer, train, valid, run, callbacks).run();
}

/// Runs f in a child process and returns how it ended.
int in_child(const std::function<void()>& f) {
    const int before = num_threads();
    set_num_threads(1);  // threads do not survive a fork
    const pid_t child = fork();
    if (child == 0) {
        f();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    set_num_threads(before);
    return status;
}

}  // namespace

TEST_CASE("killed at any step and resumed, a run ends in the same files, byte for byte") {
    const TempFolder temp;
    const fs::path whole = temp.path() / "whole";
    const TrainReport report = run_in(whole, false);
    CHECK(report.steps_done == kSteps);
    CHECK(!report.stopped);
    REQUIRE(fs::exists(whole / "adapter.safetensors"));
    for (const int64_t kill_after : {0, 4, 7, 8, 13, 19}) {
        CAPTURE(kill_after);
        const fs::path killed = temp.path() / fmt::format("killed{}", kill_after);
        const int status = in_child([&] {
            run_in(killed, false, [&](int64_t step) {
                if (step == kill_after) raise(SIGKILL);
            });
        });
        REQUIRE(WIFSIGNALED(status));
        CHECK(!fs::exists(killed / "adapter.safetensors"));
        const TrainReport resumed = run_in(killed, true);
        CHECK(resumed.steps_done == kSteps);
        CHECK(read_all(killed / "adapter.safetensors") == read_all(whole / "adapter.safetensors"));
        CHECK(read_all(killed / "metrics.jsonl") == read_all(whole / "metrics.jsonl"));
        CHECK(read_all(killed / "config.json") == read_all(whole / "config.json"));
        const auto last = fmt::format("checkpoints/step-{:06}.safetensors", kSteps);
        CHECK(read_all(killed / last) == read_all(whole / last));
    }
}

TEST_CASE("Ctrl-C saves after the step it meets, and the run goes on from there") {
    const TempFolder temp;
    const TrainReport stopped = run_in(temp.path() / "run", false, [](int64_t step) {
        if (step == 7) raise(SIGINT);
    });
    CHECK(stopped.stopped);
    CHECK(stopped.steps_done == 8);
    CHECK(fs::exists(temp.path() / "run/checkpoints/step-000008.safetensors"));
    run_in(temp.path() / "run", true);
    run_in(temp.path() / "whole", false);
    CHECK(read_all(temp.path() / "run/adapter.safetensors") == read_all(temp.path() / "whole/adapter.safetensors"));
}

TEST_CASE("only the newest checkpoints are kept, and nothing else is left behind") {
    const TempFolder temp;
    run_in(temp.path() / "run", false);
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(temp.path() / "run/checkpoints"))
        names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    CHECK(names == std::vector<std::string>{"step-000018.safetensors", "step-000020.safetensors"});
}

namespace {

/// Trains in a folder whose disk fills up, or whose files may not grow; exits with what it found.
enum DiskResult { kAsPromised = 40, kNoError, kWrongError, kLost, kNoMount };

int fill_disk(const fs::path& folder, size_t disk_bytes, const std::string& whole_adapter, bool use_mount) {
    return in_child([&] {
        if (use_mount && !mount_small_disk(folder, disk_bytes)) _exit(kNoMount);
        const auto leave = [&](DiskResult result) {
            if (use_mount) leave_small_disk(folder, result);
            _exit(result);
        };
        signal(SIGXFSZ, SIG_IGN);
        const rlimit small{2000, 2000};
        try {
            run_in(folder / "run", false, [&](int64_t step) {
                if (step == 4 && !use_mount) setrlimit(RLIMIT_FSIZE, &small);
            });
            leave(kNoError);
        } catch (const FileError& e) {
            if (std::string(e.what()).find("step-000006.safetensors") == std::string::npos) leave(kWrongError);
        }
        const fs::path checkpoints = folder / "run/checkpoints";
        if (!fs::exists(checkpoints / "step-000003.safetensors") || fs::exists(checkpoints / "step-000006.safetensors"))
            leave(kLost);
        if (!use_mount) leave(kAsPromised);
        // room is made, and the run goes on to the same end
        grow_small_disk(folder, 64 << 20);
        run_in(folder / "run", true);
        leave(read_all(folder / "run/adapter.safetensors") == whole_adapter ? kAsPromised : kLost);
    });
}

}  // namespace

TEST_CASE("a disk that is full while a checkpoint is written is one error, and what was saved before is intact") {
    const TempFolder temp;
    run_in(temp.path() / "whole", false);
    const std::string whole = read_all(temp.path() / "whole/adapter.safetensors");
    const size_t checkpoint =
        fs::file_size(temp.path() / fmt::format("whole/checkpoints/step-{:06}.safetensors", kSteps));
    fs::create_directories(temp.path() / "disk");
    int status = fill_disk(temp.path() / "disk", checkpoint + checkpoint / 2, whole, true);
    REQUIRE(WIFEXITED(status));
    if (WEXITSTATUS(status) == kNoMount) {
        // This system lets nobody mount: a limit on file size meets the writer at the same place.
        status = fill_disk(temp.path() / "disk", 0, whole, false);
        REQUIRE(WIFEXITED(status));
    }
    CHECK(WEXITSTATUS(status) == kAsPromised);
}

TEST_CASE("a run is not overwritten, and a folder without one cannot be resumed") {
    const TempFolder temp;
    RunFolder::create(temp.path() / "run", tiny_preset(1));
    CHECK_THROWS_WITH_AS(RunFolder::create(temp.path() / "run", tiny_preset(1)), doctest::Contains("--resume"),
                         UsageError);
    CHECK_THROWS_WITH_AS(RunFolder::open(temp.path() / "none"), doctest::Contains("no run is there"), UsageError);
}

TEST_CASE("a checkpoint of another model is an error that names the tensor") {
    const TempFolder temp;
    run_in(temp.path() / "run", false);
    Parameters other{
        {"audio_encoder.projector.bias", constant_parameter({5}, 0, "audio_encoder.projector.bias"), "adapter"}};
    CHECK_THROWS_WITH_AS(load_adapter(temp.path() / "run/adapter.safetensors", other),
                         doctest::Contains("audio_encoder.projector.bias"), FileError);
    CHECK(adapter_preset(temp.path() / "run/adapter.safetensors").name == "tiny");
}

TEST_CASE("an adapter whose preset is no text is refused") {
    const TempFolder temp;
    const std::string header =
        R"({"__metadata__": {"preset": 3}, "x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})";
    std::string bytes(8, '\0');
    bytes[0] = static_cast<char>(header.size());
    write_file_atomically(temp.path() / "x.safetensors", bytes + header + std::string(4, '\0'));
    CHECK_THROWS_WITH_AS(adapter_preset(temp.path() / "x.safetensors"), doctest::Contains("no preset"), FileError);
}

TEST_CASE("an adapter knows its base: on another one it is refused, and both are named") {
    const TempFolder temp;
    RunFolder run = RunFolder::create(temp.path() / "run", tiny_preset(1));
    const Wavllm model = tiny_model();
    const BaseModels base{{"whisper", {"whisper-base", std::string(64, 'a')}},
                          {"llm", {"some llm", std::string(64, 'b')}}};
    run.set_base(base);
    run.save_adapter(model.parameters());
    CHECK(adapter_base(run.adapter_file()) == base);
    check_adapter_base(run.adapter_file(), base);
    BaseModels other = base;
    other["llm"] = {"/models/another", std::string(64, 'c')};
    const std::string line = message_of<FileError>([&] { check_adapter_base(run.adapter_file(), other); });
    CHECK(line.find("the llm \"some llm\" (weights bbbbbbbbbbbbbbbb") != std::string::npos);
    CHECK(line.find("\"/models/another\" (weights cccccccccccccccc") != std::string::npos);
    // the same weights under another name or path are the same base
    other["llm"] = {"/models/another", std::string(64, 'b')};
    check_adapter_base(run.adapter_file(), other);
    // what says nothing, or not everything, cannot be held to anything
    for (const BaseModels& known : {BaseModels{}, BaseModels{{"llm", base.at("llm")}}}) {
        run.set_base(known);
        run.save_adapter(model.parameters());
        CHECK(adapter_base(run.adapter_file()) == known);
        CHECK_THROWS_WITH_AS(check_adapter_base(run.adapter_file(), base), doctest::Contains("does not say which"),
                             FileError);
    }
    run.set_base(base);
    run.save_adapter(model.parameters());
    const BaseModels without{{"llm", base.at("llm")}};
    CHECK_THROWS_WITH_AS(check_adapter_base(run.adapter_file(), without),
                         doctest::Contains("trained with the whisper \"whisper-base\", but is to be loaded without"),
                         FileError);
    // what is no hash is shown whole: the seed at its end is all that differs
    run.set_base({{"llm", {"llama-micro", "drawn at random from seed 1"}}});
    run.save_adapter(model.parameters());
    const BaseModels drawn{{"llm", {"llama-micro", "drawn at random from seed 2"}}};
    const std::string seeds = message_of<FileError>([&] { check_adapter_base(run.adapter_file(), drawn); });
    CHECK_MESSAGE(seeds.find("from seed 1") < seeds.find("from seed 2"), seeds);
    CHECK(seeds.find("from seed 2") != std::string::npos);
}
