// The leak check and the split. Witness: manifests written by hand, one fault of each kind.
#include "data/check/check.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "data/audio.h"
#include "data/check/word_runs.h"
#include "data/flac.h"
#include "data/manifest.h"
#include "data/split/split.h"
#include "tensor/error.h"
#include "tests/program/program.h"
#include "tests/support/shared.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

using Kind = DataProblem::Kind;

const std::string kHeader = "id\taudio\tn_frames\tprompt\ttgt_text\tspeaker\tsource\n";

/// A manifest whose rows have audio of their own: 100 samples of a value that no other row has.
class Data {
public:
    std::string row(const std::string& id, const std::string& text, const std::string& speaker,
                    const std::string& source = "x", const std::string& audio = "", int frames = 100) {
        const std::vector<float> samples(100, 0.001f * static_cast<float>(++rows_));
        folder.write(id + ".flac", encode_flac16(samples, kSampleRate));
        return fmt::format("{}\t{}\t{}\tp\t{}\t{}\t{}\n", id, audio.empty() ? id + ".flac" : audio, frames, text,
                           speaker, source);
    }
    std::filesystem::path manifest(const std::string& name, const std::string& rows) const {
        return folder.write(name + ".tsv", kHeader + rows);
    }
    const TempFolder folder;

private:
    int rows_ = 0;
};

std::map<Kind, int> kinds(const DataCheckReport& report) {
    std::map<Kind, int> count;
    for (const DataProblem& p : report.problems) ++count[p.kind];
    return count;
}

}  // namespace

TEST_CASE("data check: words are compared without case and punctuation") {
    CHECK(plain_text("The \"forty-two line\" Bible, isn't it? 'Yes'") == "the forty two line bible isn't it yes");
    WordRuns runs;
    runs.add("One two, three FOUR five", 7);
    CHECK(runs.find("zero two-three four five six").value().owner == 7);
    CHECK(runs.find("zero two-three four five six").value().run == "two three four five");
    CHECK(!runs.find("one two three"));
    CHECK(!runs.find("one two four three five"));
}

TEST_CASE("data check: sound splits pass") {
    Data d;
    DataCheckOptions o;
    o.train = {d.manifest("train", d.row("a", "we saw the red house there", "ann") + d.row("b", "seven", "ann"))};
    o.valid = {d.manifest("valid", d.row("c", "we saw the blue house there", "bob") + d.row("d", "seven", "bob"))};
    o.test = {d.manifest("test", d.row("e", "seven", "cid", "y/clean"))};
    const DataCheckReport report = check_data(o);
    CHECK(report.problems.empty());
    CHECK(report.splits[0].rows == 2);
    CHECK(report.splits[0].speakers == 1);
    CHECK(report.splits[0].words == 7);
    CHECK(report.splits[0].word_types == 7);
    CHECK(std::abs(report.splits[0].hours - 200.0 / 16000 / 3600) < 1e-9);
    CHECK(report.splits[2].sources == std::vector<std::string>{"y"});
}

TEST_CASE("data check: each kind of fault is found, with manifest, line and id") {
    Data d;
    DataCheckOptions o;
    const std::string train = d.row("a", "we saw the red house", "ann") + d.row("b", "two", "bob|cid") +
                              d.row("c", "three", "dan") + d.row("a", "four", "ann");
    o.train = {d.manifest("train", train)};
    const std::string valid = d.row("e", "five", "cid") + d.row("f", "he SAW the red, house", "eve") +
                              d.row("g", "...", "eve") + d.row("h", "six", "eve", "x", "", 102) +
                              d.row("i", "six", "eve", "x", "", 101);
    o.valid = {d.manifest("valid", valid)};
    // another name and another container for the samples of c
    write_wav16((d.folder / "copy.wav").string(), read_audio((d.folder / "c.flac").string()));
    const std::string test = d.row("j", "seven", "fay", "x", "copy.wav") +
                             d.row("k", "eight", "fay", "x", "none.flac") + d.row("l", "nine", "ann", "y");
    o.test = {d.manifest("test", test)};

    const DataCheckReport report = check_data(o);
    const auto count = kinds(report);
    CHECK(count.at(Kind::speaker_leak) == 2);  // cid; ann, although of another corpus
    CHECK(count.at(Kind::text_leak) == 1);
    CHECK(count.at(Kind::audio_leak) == 1);
    CHECK(count.at(Kind::unreadable) == 1);
    CHECK(count.at(Kind::wrong_length) == 1);
    CHECK(count.at(Kind::empty_text) == 1);
    CHECK(count.at(Kind::duplicate_id) == 1);
    const auto problem = [&](Kind kind) {
        return *std::find_if(report.problems.begin(), report.problems.end(),
                             [&](const DataProblem& p) { return p.kind == kind; });
    };
    CHECK(problem(Kind::text_leak).id == "a");
    CHECK(problem(Kind::text_leak).where.ends_with("train.tsv:2"));
    CHECK(problem(Kind::text_leak).what.find("\"saw the red house\" is in train and in valid: f (") == 0);
    CHECK(problem(Kind::audio_leak).id == "j");
    CHECK(problem(Kind::wrong_length).id == "h");
    CHECK(problem(Kind::unreadable).what.find("none.flac") != std::string::npos);
    CHECK(problem(Kind::duplicate_id).where.ends_with("train.tsv:5"));

    o.speakers_by_corpus = true;
    CHECK(kinds(check_data(o)).at(Kind::speaker_leak) == 1);
}

TEST_CASE("data split: parts by speaker, and training loses what the others say too") {
    Data d;
    SplitOptions o;
    const std::string rows = d.row("a", "We saw the red house.", "ann") + d.row("b", "he saw the red house", "bob") +
                             d.row("c", "she saw the red house", "cid") + d.row("d", "Yes, it is so!", "dan") +
                             d.row("e", "no one", "bob", "y") + d.row("f", "no two", "cid");
    o.manifests = {d.manifest("all", rows)};
    o.out = d.folder / "out";
    o.test = {"x/bob"};
    o.valid = {"cid"};
    o.plain = true;
    const SplitReport report = split_manifest(o);
    CHECK(report.test.rows == 1);
    CHECK(report.valid.rows == 1);
    CHECK(report.valid.dropped == 1);
    CHECK(report.train.rows == 2);  // dan, and bob of the other corpus
    CHECK(report.train.dropped == 1);
    CHECK(read_manifest(o.out / "train.tsv").at(0).tgt_text == "yes it is so");
    DataCheckOptions check;
    check.train = {o.out / "train.tsv"};
    check.valid = {o.out / "valid.tsv"};
    check.test = {o.out / "test.tsv"};
    check.speakers_by_corpus = true;
    CHECK(check_data(check).problems.empty());

    o.test = {"bbo"};
    CHECK(message_of<UsageError>([&] { split_manifest(o); }).find("did you mean bob?") != std::string::npos);
    o.test = {"cid"};
    CHECK(message_of<UsageError>([&] { split_manifest(o); }).find("validation and for test") != std::string::npos);
}

TEST_CASE("data split: the shared recordings part into splits that pass the check") {
    const TempFolder folder;
    SplitOptions o;
    o.manifests = {shared("data/speech/asr.tsv")};
    o.out = folder / "real";
    o.test = {"1688", "2033",         "2414",           "2609", "3080", "1089",
              "2412", "unknown-male", "unknown-female", "aew",  "axb",  "jfk"};
    o.valid = {"1998",
               "3005",
               "speaker_14599080134788979042",
               "speaker_9259611973823601065",
               "speaker_5452472707103026757",
               "speaker_3253893332590681638",
               "speaker_13785082164540292671"};
    o.plain = true;
    const SplitReport report = split_manifest(o);
    CHECK(report.test.speakers >= 6);
    CHECK(report.train.rows + report.train.dropped + report.valid.rows + report.valid.dropped + report.test.rows ==
          249);
    DataCheckOptions check;
    check.train = {report.train.manifest};
    check.valid = {report.valid.manifest};
    check.test = {report.test.manifest};
    for (const DataProblem& p : check_data(check).problems) FAIL_CHECK(p.where << ": " << p.id << ": " << p.what);
}

TEST_CASE("program: data explains itself, and its parts end as they should") {
    for (const std::string part : {"synth", "augment", "check", "split"}) {
        CAPTURE(part);
        CHECK(run_program({"data", part, "--help"}).out.find("Example:\n  wavllm data " + part) != std::string::npos);
    }
    Data d;
    const std::string train = d.manifest("train", d.row("a", "one", "ann")).string();
    const std::string test = d.manifest("test", d.row("b", "two", "bob")).string();
    const std::string leak = d.manifest("leak", d.row("c", "two", "ann")).string();
    CHECK(run_program({"data", "check", "--train", train, "--test", test}).code == 0);
    const ProgramResult found = run_program({"data", "check", "--train", train, "--test", leak});
    CHECK(found.code == 1);
    CHECK(found.out.find("speaker leak: " + leak + ":2: row c: speaker ann is in train and in test: a (") !=
          std::string::npos);
    const ProgramResult json = run_program({"data", "check", "--train", train, "--test", leak, "--json", "-"});
    CHECK(json.code == 1);
    CHECK(nlohmann::json::parse(json.out).at("problems").at(0).at("id") == "c");
    CHECK(run_program({"data", "check"}).error_lines() == 1);
    const ProgramResult none = run_program({"data", "synth"});
    CHECK(none.code != 0);
    CHECK(none.error_lines() == 1);
    const std::string out = (d.folder / "synth").string();
    const ProgramResult made = run_program({"data", "synth", "--digits", "2", "--out", out, "--json", "-"});
    REQUIRE(made.code == 0);
    CHECK(nlohmann::json::parse(made.out).at("sets").at(0).at("clips") == 2);
}
