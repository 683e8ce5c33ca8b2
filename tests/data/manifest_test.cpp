// Manifests in both forms. Witness: rows written by hand, and the manifests of the shared speech data.
#include "data/manifest.h"

#include <doctest/doctest.h>

#include <fstream>

#include "tensor/error.h"
#include "tests/support/shared.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

const std::string kHeader = "id\taudio\tprompt\ttgt_text\twith_speech\tn_frames\tstart_frame\tend_frame\n";

/// The error of a manifest with this text; it must be one line that begins with the manifest's path.
std::string message(const std::string& text, const std::string& name = "m.tsv") {
    const TempFolder folder;
    const std::filesystem::path path = folder.write(name, text);
    try {
        read_manifest(path);
    } catch (const FileError& error) {
        const std::string what = error.what();
        CHECK(what.rfind(path.string(), 0) == 0);
        CHECK(what.find('\n') == std::string::npos);
        return what.substr(path.string().size());
    }
    return "no error";
}

}  // namespace

TEST_CASE("manifest: columns in any order, unknown ones kept, no quoting") {
    const TempFolder folder;
    const auto rows = read_manifest(folder.write(
        "m.tsv",
        "tgt_text\tcolour\tid\tspeaker\twith_speech\taudio\tprompt\tend_frame\tstart_frame\tn_frames\ttask\n"
        "he said \"no\"\tred\ta\tanna\tTrue\tclips/a.wav\tWhat?\t200\t100\t12345\tasr\n"
        "\tblue\tb\t\tFalse\t\tgr\xC3\xBC\xC3\x9F\t\t\t\t\n"
        "x\tgreen\tc\tbert\ttrue\t/abs/c.flac\t\"quoted\t\t7\t\tsqa\n"));
    REQUIRE(rows.size() == 3);
    CHECK(rows[0].id == "a");
    CHECK(rows[0].audio == folder.path() / "clips/a.wav");
    CHECK(rows[0].tgt_text == "he said \"no\"");
    CHECK(rows[0].prompt == "What?");
    CHECK(rows[0].with_speech);
    CHECK(rows[0].start_frame == 100);
    CHECK(rows[0].end_frame == 200);
    CHECK(rows[0].n_frames == 12345);
    CHECK(rows[0].speaker == "anna");
    CHECK(rows[0].task == "asr");
    CHECK(rows[0].extra == std::map<std::string, std::string>{{"colour", "red"}});
    CHECK(rows[0].where == (folder.path() / "m.tsv").string() + ":2");
    CHECK_FALSE(rows[1].with_speech);
    CHECK(rows[1].audio.empty());
    CHECK(rows[1].tgt_text == "");
    CHECK_FALSE(rows[1].n_frames.has_value());
    CHECK(rows[1].prompt == "gr\xC3\xBC\xC3\x9F");
    CHECK(rows[2].audio == "/abs/c.flac");
    CHECK(rows[2].prompt == "\"quoted");
    CHECK(rows[2].start_frame == 7);
    CHECK_FALSE(rows[2].end_frame.has_value());
}

TEST_CASE("manifest: byte order mark, CRLF, empty lines, no line end at the end of the file") {
    const TempFolder folder;
    const auto rows = read_manifest(
        folder.write("m.tsv", "\xEF\xBB\xBFid\taudio\tprompt\ttgt_text\r\n\r\na\ta.wav\tp\tone two\r\nb\tb.wav\tp\tt"));
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].id == "a");
    CHECK(rows[0].tgt_text == "one two");
    CHECK(rows[0].with_speech);  // the default
    CHECK(rows[0].where == (folder.path() / "m.tsv").string() + ":3");
    CHECK(rows[1].tgt_text == "t");
}

TEST_CASE("manifest: JSONL has the same names and types") {
    const TempFolder folder;
    const std::string text =
        "\xEF\xBB\xBF{\"id\": \"a\", \"audio\": \"a.wav\", \"prompt\": \"p\\tq\", \"tgt_text\": \"\\u00fc\", "
        "\"n_frames\": 16000, \"with_speech\": true, \"extra_list\": [1, 2], \"speaker\": \"s\"}\r\n"
        "{\"id\": 7, \"audio\": null, \"prompt\": \"p\", \"tgt_text\": \"t\", \"with_speech\": false}\n\n"
        "{\"id\": \"c\", \"audio\": \"c.wav\", \"prompt\": \"\", \"tgt_text\": \"\", \"with_speech\": \"True\", "
        "\"start_frame\": \"5\", \"end_frame\": 6}";
    for (const char* name : {"m.jsonl", "other.txt"}) {
        const auto rows = read_manifest(folder.write(name, text));
        REQUIRE(rows.size() == 3);
        CHECK(rows[0].audio == folder.path() / "a.wav");
        CHECK(rows[0].prompt == "p\tq");
        CHECK(rows[0].tgt_text == "\xC3\xBC");
        CHECK(rows[0].n_frames == 16000);
        CHECK(rows[0].extra.at("extra_list") == "[1,2]");
        CHECK(rows[0].speaker == "s");
        CHECK(rows[1].id == "7");
        CHECK_FALSE(rows[1].with_speech);
        CHECK(rows[2].start_frame == 5);
        CHECK(rows[2].end_frame == 6);
        CHECK(rows[2].where.ends_with(std::string(name) + ":4"));
    }
}

TEST_CASE("manifest: errors name the file, the line and what is wrong") {
    CHECK(message("") == ": the manifest has no rows; expected a header row and one row for each clip");
    CHECK(message(kHeader).find("the manifest has no rows") != std::string::npos);
    CHECK(message("", "m.jsonl").find("the manifest has no rows; expected one JSON object a line") !=
          std::string::npos);
    CHECK(message("id\tprompt\nx\ty\n").find(":1: the header row lacks audio, tgt_text; found: id, prompt") == 0);
    CHECK(message("id,audio,prompt,tgt_text\n").find(":1: the header row lacks id, audio, prompt, tgt_text") == 0);
    CHECK(message("id\taudio\tprompt\ttgt_text\tid\n") == ":1: the column 'id' is given twice");
    CHECK(message(kHeader + "a\ta.wav\tp\tt\tTrue\t1\t\t\n\nb\tb.wav\tp\n") ==
          ":4: the row has 3 fields; the header row has 8 (separated by tabs)");
    CHECK(message(kHeader + "a\ta.wav\tp\tt\tTrue\t1\t\t\t\n").find(":2: the row has 9 fields") == 0);
    for (const char* bad : {"x", "1.5", "-1", "1e5", "99999999999999999999", " 3", "3 "})
        CHECK(message(kHeader + "a\ta.wav\tp\tt\tTrue\t1\t" + bad + "\t\n")
                  .find(":2: start_frame is '" + std::string(bad)) == 0);
    CHECK(message(kHeader + "a\ta.wav\tp\tt\tTrue\tmany\t\t\n").find(":2: n_frames is 'many'") == 0);
    CHECK(message(kHeader + "a\ta.wav\tp\tt\tmaybe\t1\t\t\n") == ":2: with_speech is 'maybe'; expected True or False");
    CHECK(message(kHeader + "a\ta.wav\tp\tt\tTrue\t1\t9\t9\n") ==
          ":2: row 'a': end_frame 9 is not after start_frame 9");
    CHECK(message(kHeader + "a\t\tp\tt\tTrue\t1\t\t\n").find(":2: row 'a' has no audio") == 0);
    CHECK(message(kHeader + "\ta.wav\tp\tt\tTrue\t1\t\t\n") == ":2: the id is empty");
    CHECK(message(kHeader + "a\ta.wav\tp\t\xFFt\tTrue\t1\t\t\n").find(":2: byte 11 of the line is not UTF-8") == 0);

    CHECK(message("{\"id\": \"a\", ", "m.jsonl").find(":1: not a JSON object on one line") == 0);
    CHECK(message("[1]", "m.jsonl") == ":1: expected a JSON object, found array");
    CHECK(message("{\"id\": \"a\", \"audio\": \"a.wav\"}", "m.jsonl") == ":1: the object lacks prompt, tgt_text");
    CHECK(message("{\"id\": \"a\", \"audio\": [], \"prompt\": \"\", \"tgt_text\": \"\"}", "m.jsonl") ==
          ":1: audio is an array; expected text");
    CHECK(message("{\"id\": \"a\", \"audio\": \"a\", \"prompt\": \"\", \"tgt_text\": \"\", \"end_frame\": 1.5}",
                  "m.jsonl")
              .find(":1: end_frame is '1.5'") == 0);
    CHECK(message("{\"x\": " + std::string(100000, '['), "m.jsonl").find(":1: the JSON is nested deeper") == 0);
    CHECK_THROWS_WITH_AS(read_manifest("/no/such/manifest.tsv"),
                         "/no/such/manifest.tsv: cannot open the manifest: No such file or directory", FileError);
    CHECK_THROWS_WITH_AS(read_manifest("/"), "/: is a folder; expected a manifest file", FileError);
}

TEST_CASE("manifest: a row whose audio is missing") {
    const TempFolder folder;
    folder.write("a.wav", "x");
    const auto path = folder.write("m.tsv",
                                   "id\taudio\tprompt\ttgt_text\twith_speech\na\ta.wav\tp\tt\tTrue\n"
                                   "text\tnone.wav\tp\tt\tFalse\ngone\tgone.wav\tp\tt\tTrue\n");
    auto rows = read_manifest(path);
    CHECK_THROWS_WITH_AS(
        check_audio_exists(rows),
        (path.string() + ":4: the audio of row 'gone' does not exist: " + (folder.path() / "gone.wav").string())
            .c_str(),
        FileError);
    rows.pop_back();
    CHECK_NOTHROW(check_audio_exists(rows));
}

TEST_CASE("manifest: the shared speech manifests load and their audio is there") {
    for (const auto& [name, count] : {std::pair{"asr.tsv", 249u}, {"digits.tsv", 600u}, {"wavllm.tsv", 9u}}) {
        CAPTURE(name);
        const auto rows = read_manifest(tests::shared(std::string("data/speech/") + name));
        CHECK(rows.size() == count);
        CHECK_NOTHROW(check_audio_exists(rows));
        for (const auto& row : rows) CHECK(row.extra.count("licence") == 1);
    }
}
