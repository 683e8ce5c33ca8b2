#include "models/download/pip.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <vector>

#include "tensor/error.h"
#include "tensor/text.h"

extern char** environ;

namespace wavllm {

namespace fs = std::filesystem;

namespace {

constexpr const char* kWayOut = "or name a local file or folder instead of the download";

/// A running program whose standard output and error come through one pipe. Killed if it outlives this object.
class Child {
public:
    Child(const std::vector<std::string>& command, const std::vector<std::string>& environment) {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw FileError("cannot make a pipe: {}", std::strerror(errno));
        output_ = ends[0];
        posix_spawn_file_actions_t actions;
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
        const auto pointers = [](const std::vector<std::string>& texts) {
            std::vector<char*> out;
            for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
            out.push_back(nullptr);
            return out;
        };
        // spawn, not fork: this process may have threads
        const int failed = ::posix_spawnp(&pid_, command[0].c_str(), &actions, nullptr, pointers(command).data(),
                                          pointers(environment).data());
        ::posix_spawn_file_actions_destroy(&actions);
        ::close(ends[1]);
        if (failed != 0) {
            pid_ = -1;
            ::close(output_);
            throw FileError("cannot run {}: {}; install it (Debian: apt-get install python3-pip), {}", command[0],
                            std::strerror(failed), kWayOut);
        }
    }
    ~Child() {
        ::close(output_);
        if (pid_ < 0) return;
        ::kill(pid_, SIGTERM);
        ::waitpid(pid_, nullptr, 0);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    /// More output, appended to `text`, or nothing within half a second. False at the end of the output.
    bool read(std::string& text) const {
        pollfd wait{output_, POLLIN, 0};
        if (::poll(&wait, 1, 500) <= 0) return true;
        std::array<char, 4096> buffer{};
        const ssize_t count = ::read(output_, buffer.data(), buffer.size());
        if (count < 0) return errno == EINTR;
        text.append(buffer.data(), static_cast<size_t>(count));
        return count > 0;
    }

    /// Waits for the end; the exit status, or 128 + signal.
    int wait() {
        int status = 0;
        while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }

private:
    pid_t pid_ = -1;
    int output_ = -1;
};

/// No name or version that a command line could take for something else (an option, a path, another address).
void check_plain(const std::string& what, const std::string& text) {
    const auto plain = [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
    };
    if (text.empty() || text.size() > 100 || !std::isalnum(static_cast<unsigned char>(text[0])) ||
        !std::all_of(text.begin(), text.end(), plain))
        throw UsageError("the {} \"{}\" is not a plain name of letters, digits, '.', '_' and '-'", what,
                         printable(text));
}

uint64_t bytes_under(const fs::path& folder) {
    uint64_t sum = 0;
    std::error_code failed;
    for (fs::recursive_directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed)) {
        std::error_code vanished;
        const uint64_t size = it->is_regular_file(vanished) ? it->file_size(vanished) : 0;
        if (!vanished) sum += size;
    }
    return sum;
}

std::string last_line(std::string_view text) {
    std::string_view best;
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
        if (line.find_first_not_of(" \t\r") != line.npos) best = line;
    }
    return printable(best, 300);
}

/// pip's last line does not say why it found nothing; the warnings before it do.
const char* advice(const std::string& output) {
    if (output.find("connection broken by") != std::string::npos)
        return "the package index cannot be reached: check the network";
    if (output.find("No space left on device") != std::string::npos)
        return "free some space or set WAVLLM_CACHE to a folder on a larger disk";
    return "check the network";
}

}  // namespace

fs::path pip_download(const std::string& package, const std::string& version, const fs::path& folder,
                      const std::function<void(uint64_t)>& on_bytes) {
    check_plain("package", package);
    check_plain("version", version);
    const fs::path wheels = folder / "wheel";
    const fs::path scratch = folder / "scratch";
    fs::create_directories(wheels);
    fs::create_directories(scratch);

    std::vector<std::string> environment;
    for (char** entry = environ; *entry != nullptr; ++entry)
        if (!std::string_view(*entry).starts_with("TMPDIR=")) environment.emplace_back(*entry);
    // pip downloads to its temporary folder first: ours, on the disk that is meant for it, where progress can be seen
    environment.push_back("TMPDIR=" + scratch.string());
    const std::vector<std::string> command{"python3",
                                           "-m",
                                           "pip",
                                           "download",
                                           "--quiet",
                                           "--no-deps",
                                           "--only-binary=:all:",
                                           "--no-cache-dir",
                                           "--no-input",
                                           "--disable-pip-version-check",
                                           "--dest",
                                           wheels.string(),
                                           package + "==" + version};

    Child child(command, environment);
    std::string output;
    while (child.read(output)) {
        if (output.size() > (1 << 20)) output.erase(0, output.size() - (1 << 16));
        if (on_bytes) on_bytes(bytes_under(folder));
    }
    const int status = child.wait();
    if (output.find("No module named pip") != std::string::npos)
        throw FileError(
            "cannot download {} {}: this python3 has no pip; install it (Debian: apt-get install "
            "python3-pip), {}",
            package, version, kWayOut);
    if (status != 0)
        throw FileError("cannot download {} {}: pip ended with status {}: {}; {}, {}", package, version, status,
                        last_line(output), advice(output), kWayOut);
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(wheels))
        if (entry.path().extension() == ".whl") found.push_back(entry.path());
    if (found.size() != 1)
        throw FileError("pip downloaded {} wheels for {} {}, but exactly one was expected", found.size(), package,
                        version);
    return found[0];
}

}  // namespace wavllm
