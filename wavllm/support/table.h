#pragma once
// Columns that line up, for people.

#include <cstdio>
#include <string>
#include <vector>

namespace wavllm {

class Table {
public:
    /// left: which columns are text (aligned left); the others are numbers (aligned right).
    explicit Table(std::vector<std::string> header, std::vector<bool> left = {});
    void add(std::vector<std::string> row);
    void print(std::FILE* out = stdout) const;

private:
    std::vector<std::vector<std::string>> rows_;
    std::vector<bool> left_;
};

/// "134,515,008".
std::string with_commas(int64_t value);

}  // namespace wavllm
