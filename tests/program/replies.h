#pragma once
// What `chat --json` says, turn by turn.

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/program/program.h"

namespace wavllm::tests {

/// One object a reply; the command must succeed.
inline std::vector<nlohmann::json> replies_of(const std::vector<std::string>& arguments,
                                              const std::string& input = "/dev/null") {
    const ProgramResult r = run_program(arguments, input);
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    std::vector<nlohmann::json> replies;
    std::istringstream lines(r.out);
    for (std::string line; std::getline(lines, line);) replies.push_back(nlohmann::json::parse(line));
    return replies;
}

}  // namespace wavllm::tests
