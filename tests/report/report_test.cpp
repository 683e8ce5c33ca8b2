// The report of a run: every section has what the run left, hostile text stays text, a killed run has a report too.
// Witness: the run's own files, read here in other ways.

#include "wavllm/report/report.h"

#include <doctest/doctest.h>

#include <fstream>

#include "data/audio.h"
#include "infer/wer.h"
#include "models/sha256.h"
#include "tensor/thread_pool.h"
#include "tests/program/program.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int64_t kCtcSteps = 6, kJointSteps = 10, kSteps = kCtcSteps + kJointSteps;
const std::string kHostile = "</script><img src=x onerror=alert(1)>";

/// A tiny staged run; its validation clips have a recording and names that would like to be HTML. Stops as a killed
/// process does, without a word, before step `kill_at`.
void run_in(const fs::path& folder, const fs::path& audio, int64_t kill_at = -1) {
    Wavllm model = tiny_ctc_model();
    auto examples = tiny_examples(22);
    for (size_t i = 10; i < examples.size(); ++i) {
        examples[i].id = fmt::format("{} {}", kHostile, i);
        examples[i].audio = audio;
        examples[i].span = {0, 1600 * static_cast<int64_t>(i)};
        examples[i].speaker = "\"quoted\" & <b>";
    }
    const auto part = [&](const char* name, ptrdiff_t first, ptrdiff_t end) {
        return ExampleSet{name, {examples.begin() + first, examples.begin() + end}};
    };
    const std::vector<ExampleSet> train{part("few", 0, 3), part("many", 3, 10)},
        valid{part("a", 10, 20), part("b", 20, 22)};
    const NumberTokenizer tokenizer;
    RunFolder run = RunFolder::create(folder, tiny_staged_preset(kCtcSteps, kJointSteps));
    Trainer::Callbacks callbacks;
    callbacks.step = [&](int64_t step, const Stage&, const StepResult&, double) {
        if (step + 1 == kill_at) throw std::runtime_error("killed");
    };
    Trainer trainer(model, tokenizer, train, valid, run, callbacks);
    if (kill_at < 0)
        trainer.run();
    else
        CHECK_THROWS_WITH(trainer.run(), "killed");
}

/// A second and more of a quiet tone.
fs::path recording(const TempFolder& temp) {
    std::vector<float> samples(40000);
    for (size_t i = 0; i < samples.size(); ++i) samples[i] = 0.1f * std::sin(static_cast<float>(i) * 0.2f);
    write_wav16(temp / "tone.wav", samples);
    return temp / "tone.wav";
}

size_t occurrences(const std::string& text, const std::string& part) {
    size_t n = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
    return n;
}

std::vector<Json> lines_of(const fs::path& path) {
    std::vector<Json> lines;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) lines.push_back(Json::parse(line));
    return lines;
}

}  // namespace

TEST_CASE("a report holds what its run left, section by section") {
    const TempFolder temp;
    const fs::path run = temp / "run";
    run_in(run, recording(temp));
    const Json d = report_data(run);

    CHECK(d["name"] == "tiny");
    CHECK(d["complete"] == true);
    CHECK(d["totals"]["steps"] == kSteps);
    const auto metrics = lines_of(run / "metrics.jsonl");
    double audio = 0;
    for (const Json& line : metrics) audio += line.value("audio_seconds", 0.0);
    CHECK(d["totals"]["audio_seconds"].get<double>() == doctest::Approx(audio));

    REQUIRE(d["stages"].size() == 2);
    CHECK(d["stages"][1]["begin"] == kCtcSteps);
    CHECK(d["stages"][0]["rates"]["lora"] == 0);
    CHECK(d["train"]["step"].size() == kSteps);
    CHECK(d["train"]["ce"][0].is_null());  // the first stage is CTC alone
    CHECK(d["train"]["ctc"][0].is_number());
    CHECK(d["train"]["grad_norm_lora"][kSteps - 1].is_number());
    CHECK((d["train"]["set"][0] == "few" || d["train"]["set"][0] == "many"));

    SUBCASE("the newest figures are those of the last validation, and of the answers that were kept") {
        for (const Json& f : d["figures"]) {
            const std::string set = f["set"];
            CAPTURE(set);
            ErrorRates llm, ctc;
            for (const Json& line : lines_of(run / fmt::format("validations/step-{:06}.jsonl", kSteps))) {
                if (line["set"] != set) continue;
                llm.add(line["reference"].get<std::string>(), line["llm"].get<std::string>());
                ctc.add(line["reference"].get<std::string>(), line["ctc"].get<std::string>());
            }
            CHECK(f["step"] == kSteps);
            CHECK(f["clips"] == (set == "a" ? 10 : 2));
            CHECK(f["llm"]["wer"].get<double>() == doctest::Approx(llm.normal_words.rate()));
            CHECK(f["ctc"]["cer"].get<double>() == doctest::Approx(ctc.normal_characters.rate()));
        }
    }
    SUBCASE("examples run from the best to the worst, can be heard, and have a history") {
        std::vector<double> rates;
        for (const Json& e : d["examples"]) {
            if (e["set"] == "a") rates.push_back(e["llm"]["wer"]);
            CHECK(e["audio"].get<std::string>().starts_with("data:audio/flac;base64,"));
            CHECK(e["history"].size() >= 2);
            CHECK(e["history"][0]["head"] == "ctc");
            CHECK(!e["ctc"]["words"].empty());
        }
        CHECK(rates.size() == 8);
        CHECK(std::is_sorted(rates.begin(), rates.end()));
        CHECK(d["examples"].size() == 10);
    }
    SUBCASE("attention has a row a token and a column a frame in every map") {
        REQUIRE(!d["attention"]["clips"].empty());
        for (const Json& clip : d["attention"]["clips"]) {
            const size_t cells = clip["tokens"].size() * clip["frames"].get<size_t>();
            CHECK(clip["maps"].size() == 1 + 2);  // the sharpest heads, and two layers
            for (const Json& map : clip["maps"]) CHECK(map["data"].get<std::string>().size() == (cells + 2) / 3 * 4);
        }
    }
    SUBCASE("memory and time are of this run") {
        const Json& m = d["machine"];
        CHECK(m["timing"]["step"].size() == kSteps);
        CHECK(m["memory"]["total_peak"].get<double>() > 0);
        REQUIRE(m["profile"].size() == 2);
        CHECK(m["profile"][0]["steps"] == kCtcSteps);
        for (const Json& p : m["profile"]) {
            double sum = 0, ce = 0;
            for (const Json& op : p["ops"]) {
                sum += op["forward"].get<double>() + op["backward"].get<double>() + op["other"].get<double>();
                if (op["op"] == "cross_entropy") ce = op["forward"];
            }
            double steps = 0;
            for (size_t i = 0; i < kSteps; ++i)
                if ((i < kCtcSteps) == (p["stage"] == "ctc")) steps += m["timing"]["seconds"][i].get<double>();
            // the parts make up the steps, up to what passes between an op and the end of its step
            CHECK(sum <= steps);
            CHECK(sum > 0.8 * steps);
            CHECK((ce > 0) == (p["stage"] == "joint"));
        }
    }
    SUBCASE("hashes and configuration") {
        CHECK(d["hashes"].back()["sha256"] == sha256_file(run / "adapter.safetensors"));
        CHECK(d["config"]["stages"].size() == 2);
        bool warm = false;
        for (const Json& a : d["additions"]) warm = warm || (a["name"] == "CTC warm start" && a["on"] == true);
        CHECK(warm);
    }
}

TEST_CASE("the page is one file: its data reads back, whatever it says stays text, and it asks for nothing else") {
    const TempFolder temp;
    run_in(temp / "run", recording(temp));
    CHECK(write_report(temp / "run") == temp / "run/report.html");
    const std::string page = read_all(temp / "run/report.html");
    CHECK(page.starts_with("<!doctype html>"));
    for (const char* tag : {"html", "head", "body", "main", "header", "nav", "footer", "title", "style"}) {
        CAPTURE(tag);
        CHECK(occurrences(page, fmt::format("<{}>", tag)) + occurrences(page, fmt::format("<{} ", tag)) == 1);
        CHECK(occurrences(page, fmt::format("</{}>", tag)) == 1);
    }
    CHECK(occurrences(page, "<script") == 2);
    CHECK(occurrences(page, "</script") == 2);
    CHECK(occurrences(page, "<img") == 0);
    const std::string begin = "id=\"data\">";
    const size_t from = page.find(begin) + begin.size();
    const Json read = Json::parse(page.substr(from, page.find("</script>", from) - from));
    CHECK(read == report_data(temp / "run"));
    bool hostile = false;
    for (const Json& e : read["examples"]) hostile = hostile || e["id"].get<std::string>().starts_with(kHostile);
    CHECK(hostile);
    // no network: no address but the name of SVG's namespace
    CHECK(occurrences(page, "http") == occurrences(page, "http://www.w3.org/2000/svg"));
    for (const char* word : {"fetch(", "XMLHttpRequest", "@import", "url(", "<link", "innerHTML"}) {
        CAPTURE(word);
        CHECK(occurrences(page, word) == 0);
    }
}

TEST_CASE("a run that was killed, or has only begun, has a report") {
    const TempFolder temp;
    run_in(temp / "run", temp / "no such recording.wav", 9);
    for (const char* file : {"run/metrics.jsonl", "run/timing.jsonl", "run/clips.jsonl"})
        std::ofstream(temp / file, std::ios::app) << "{\"step\": 9, \"loss\": 1.2";
    const Json d = report_data(temp / "run");
    CHECK(d["complete"] == false);
    CHECK(d["totals"]["steps"] == 9);
    CHECK(d["train"]["step"].size() == 9);
    CHECK(d["examples"][0]["audio_missing"] == "recording not found");
    CHECK_NOTHROW(write_report(temp / "run"));

    RunFolder::create(temp / "new", tiny_preset(3));
    const Json empty = report_data(temp / "new");
    CHECK(empty["figures"].empty());
    CHECK(empty["examples"].empty());
    CHECK(empty["train"]["step"].empty());
    CHECK_NOTHROW(write_report(temp / "new"));
}

TEST_CASE("the same configuration gives the same report, but for the machine") {
    const TempFolder temp;
    const fs::path audio = recording(temp);
    const int before = num_threads();
    set_num_threads(1);
    run_in(temp / "one", audio);
    set_num_threads(2);
    run_in(temp / "two", audio);
    set_num_threads(before);
    Json one = report_data(temp / "one"), two = report_data(temp / "two");
    one.erase("machine");
    two.erase("machine");
    CHECK(one == two);
}

TEST_CASE("answers to a test set join the report, both heads") {
    const TempFolder temp;
    run_in(temp / "run", recording(temp));
    const auto examples = tiny_examples(2);
    Evaluation llm, ctc;
    for (const SpeechExample& e : examples) {
        llm.answers.push_back({e.id, e.reference, e.reference, {}});
        ctc.answers.push_back({e.id, e.reference, "", {}});
    }
    const RunFolder run = RunFolder::open(temp / "run");
    record_evaluation(run, {"test", pointers(examples), &llm, nullptr});
    record_evaluation(run, {"test", pointers(examples), nullptr, &ctc});
    record_evaluation(run, {"test", pointers(examples), nullptr, nullptr, &llm});  // as if both had said so together
    const Json f = report_data(temp / "run")["figures"].back();
    CHECK(f["kind"] == "test");
    CHECK(f["clips"] == 2);
    CHECK(f["llm"]["wer"] == 0);
    CHECK(f["llm"]["accuracy"] == 1);
    CHECK(f["ctc"]["wer"] == 1);
    CHECK(f["joint"] == f["llm"]);
}

TEST_CASE("wavllm report says what is wrong with a folder that holds no run") {
    const TempFolder temp;
    CHECK_THROWS_WITH_AS(report_data(temp.path()), doctest::Contains("no run is there"), UsageError);
    const ProgramResult r = run_program({"report", temp.path().string()});
    CHECK(r.code == 1);
    CHECK(r.error_lines() == 1);
    CHECK(r.err.find("no run is there") != std::string::npos);
    RunFolder::create(temp / "run", tiny_preset(3));
    const ProgramResult good = run_program({"report", (temp / "run").string()});
    CHECK(good.code == 0);
    CHECK(good.out == (temp / "run/report.html").string() + "\n");
}
