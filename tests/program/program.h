#pragma once
// Runs the program that was built with these tests and catches what it says.

#include <sys/wait.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "tests/support/temp_folder.h"

namespace wavllm::tests {

struct ProgramResult {
    int code = -1;  ///< exit code; 128 + the signal if it died of one
    std::string out, err;

    /// Lines on stderr.
    int error_lines() const {
        int n = 0;
        for (const char c : err) n += c == '\n';
        return n;
    }
};

/// Single quotes around a word for the shell.
inline std::string quoted(const std::string& word) {
    std::string result = "'";
    for (const char c : word) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return result + "'";
}

/// Runs wavllm with these arguments and, on stdin, the content of a file (/dev/null unless given).
inline ProgramResult run_program(const std::vector<std::string>& arguments, const std::string& input = "/dev/null") {
    const TempFolder folder;
    std::string line = quoted(WAVLLM_PROGRAM);
    for (const std::string& a : arguments) line += " " + quoted(a);
    line += " <" + quoted(input) + " >" + quoted(folder / "out") + " 2>" + quoted(folder / "err");
    const int status = std::system(line.c_str());
    ProgramResult result;
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    result.out = read_all(folder / "out");
    result.err = read_all(folder / "err");
    return result;
}

}  // namespace wavllm::tests
