#include "data/synth/processes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "tensor/error.h"

namespace wavllm {

namespace {

struct Child {
    pid_t pid = -1;
    int fd = -1;
    int64_t item = 0;
    std::string answer;  ///< 'v' and the value's bytes, or 'e' and a message
};

void write_all(int fd, const std::string& bytes) {
    for (size_t at = 0; at < bytes.size();) {
        const ssize_t n = ::write(fd, bytes.data() + at, bytes.size() - at);
        if (n < 0 && errno != EINTR) return;  // the parent is gone
        if (n > 0) at += static_cast<size_t>(n);
    }
}

[[noreturn]] void run_child(int fd, pid_t parent, const ProcessWork& work, int64_t item) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a killed parent leaves no children at work
    // the parent's handlers (of a test program, say) are not for its children
    for (const int s : {SIGTERM, SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) ::signal(s, SIG_DFL);
    if (::getppid() != parent) ::_exit(1);
    std::string answer;
    try {
        const int64_t value = work.work(item);
        answer = "v" + std::string(reinterpret_cast<const char*>(&value), sizeof(value));
    } catch (const std::exception& error) {
        answer = std::string("e") + error.what();
    }
    write_all(fd, answer);
    ::_exit(0);  // no destructors: they belong to the parent
}

class Pool {
public:
    explicit Pool(const ProcessWork& work) : work_(work) {}
    ~Pool() {
        for (const Child& c : children_) {
            ::kill(c.pid, SIGKILL);
            ::waitpid(c.pid, nullptr, 0);
            ::close(c.fd);
        }
    }
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    void run() {
        int64_t item = 0;
        do {
            if (!children_.empty()) collect();
            while (children_.size() < static_cast<size_t>(work_.jobs) && work_.next(item)) start(item++);
        } while (!children_.empty());
    }

private:
    void start(int64_t item) {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) throw Error("cannot make a pipe: {}", std::strerror(errno));
        const pid_t parent = ::getpid();
        const pid_t pid = ::fork();
        if (pid < 0) {
            const int error = errno;
            ::close(ends[0]);
            ::close(ends[1]);
            throw Error("cannot start a process for {}: {}", work_.name(item), std::strerror(error));
        }
        if (pid == 0) run_child(ends[1], parent, work_, item);
        ::close(ends[1]);
        children_.push_back({pid, ends[0], item, {}});
    }

    /// Waits until a child says something; finishes those that have ended.
    void collect() {
        std::vector<pollfd> wait;
        wait.reserve(children_.size());
        for (const Child& c : children_) wait.push_back({c.fd, POLLIN, 0});
        if (::poll(wait.data(), wait.size(), -1) < 0 && errno != EINTR)
            throw Error("poll failed: {}", std::strerror(errno));
        for (size_t i = wait.size(); i-- > 0;) {
            if (wait[i].revents == 0) continue;
            char buffer[512];
            const ssize_t n = ::read(wait[i].fd, buffer, sizeof(buffer));
            if (n > 0) children_[i].answer.append(buffer, static_cast<size_t>(n));
            if (n != 0) continue;
            Child ended = std::move(children_[i]);
            children_.erase(children_.begin() + static_cast<int64_t>(i));
            finish(ended);
        }
    }

    void finish(const Child& c) {
        int status = 0;
        while (::waitpid(c.pid, &status, 0) < 0 && errno == EINTR) {
        }
        ::close(c.fd);
        if (c.answer.starts_with('e')) throw Error("{}: {}", work_.name(c.item), c.answer.substr(1));
        int64_t value = 0;
        if (c.answer.size() != 1 + sizeof(value))
            throw Error("{}: the process that worked on it ended by {} {}", work_.name(c.item),
                        WIFSIGNALED(status) ? "signal" : "exit code",
                        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        std::memcpy(&value, c.answer.data() + 1, sizeof(value));
        work_.done(c.item, value);
    }

    const ProcessWork& work_;
    std::vector<Child> children_;
};

}  // namespace

void run_in_processes(const ProcessWork& work) {
    if (work.jobs < 1) throw UsageError("{} processes were asked for; at least 1 is needed", work.jobs);
    Pool(work).run();
}

}  // namespace wavllm
