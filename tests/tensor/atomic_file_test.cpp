// Witness: the file system itself (content before and after, names in the folder). Write errors are forced by the
// system's file size limit, and by a tmpfs of 64 KiB.

#include "tensor/atomic_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tensor/error.h"
#include "tests/support/small_disk.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

size_t files_in(const std::filesystem::path& folder) {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) count += entry.exists();
    return count;
}

}  // namespace

TEST_CASE("atomic file: the new content appears whole at commit, and not before") {
    TempFolder folder;
    const auto path = folder.write("state", "old");
    {
        AtomicFile file(path);
        file.write("new");
        file.write(std::string(200000, 'x'));
        CHECK(read_all(path) == "old");
        file.commit();
        CHECK(file.bytes_written() == 200003);
        CHECK_THROWS_AS(file.commit(), FileError);
    }
    CHECK(read_all(path) == "new" + std::string(200000, 'x'));
    CHECK(files_in(folder.path()) == 1);
    { AtomicFile(path).write("never committed"); }
    CHECK(read_all(path).size() == 200003);
    CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("atomic file: a failed write keeps the old file, removes the temporary one and names the reason") {
    TempFolder folder;
    const auto path = folder.write("state", "old");
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{4096, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
    const std::string message = message_of<FileError>([&] { write_file_atomically(path, std::string(1 << 20, 'x')); });
    ::setrlimit(RLIMIT_FSIZE, &before);
    ::signal(SIGXFSZ, old_handler);
    CHECK(message.find("cannot write " + path.string() + ": File too large") == 0);
    CHECK(message.find("untouched") != std::string::npos);
    CHECK(read_all(path) == "old");
    CHECK(files_in(folder.path()) == 1);
    CHECK(message_of<FileError>([&] { write_file_atomically(folder / "no/such/folder", "x"); }).find("No such file") !=
          std::string::npos);
}

TEST_CASE("atomic file: a full disk is named, with what is free") {
    // In a child with a disk of its own. Where the system lets nobody mount one, the case above (a limit on file size) is all there
    // is, and this one says so by failing.
    TempFolder folder;
    const pid_t child = ::fork();
    if (child == 0) {
        if (!mount_small_disk(folder.path(), 64 << 10)) ::_exit(2);
        const auto path = folder.write("state", "old");
        const std::string message =
            message_of<FileError>([&] { write_file_atomically(path, std::string(1 << 20, 'x')); });
        const bool named = message.find("No space left on device") != std::string::npos &&
                           message.find("MiB are free") != std::string::npos;
        leave_small_disk(folder.path(), named && read_all(path) == "old" && files_in(folder.path()) == 1 ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFEXITED(status));
    CHECK_MESSAGE(WEXITSTATUS(status) != 2, "this user may not mount a tmpfs, not even in a namespace of its own");
    CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("atomic file: what a killed writer left is removed, a living writer's file is not") {
    TempFolder folder;
    const auto path = folder / "state";
    const auto dead = folder.write("state.tmp-1-0", "left");
    const auto living = folder.write("state.tmp-1-1", "being written");
    const int fd = ::open(living.c_str(), O_RDONLY | O_CLOEXEC);
    REQUIRE(::flock(fd, LOCK_EX) == 0);
    write_file_atomically(path, "x");
    CHECK_FALSE(std::filesystem::exists(dead));
    CHECK(std::filesystem::exists(living));
    ::close(fd);
}

TEST_CASE("atomic file: writers of one path at the same time do not take each other's file for a leftover") {
    TempFolder folder;
    const auto path = folder / "state";
    std::atomic<int> failures = 0;
    std::vector<std::thread> writers;
    for (const char letter : {'a', 'b', 'c'})
        writers.emplace_back([&, letter] {
            for (int i = 0; i < 300; ++i) {
                try {
                    AtomicFile file(path, Durability::process);
                    file.write(std::string(3000, letter));
                    file.commit();
                } catch (const FileError&) {
                    ++failures;
                }
            }
        });
    for (std::thread& writer : writers) writer.join();
    CHECK(failures == 0);
    const std::string content = read_all(path);
    CHECK(content == std::string(3000, content.empty() ? '?' : content[0]));
    CHECK(files_in(folder.path()) == 1);
}
