#include "wavllm/support/table.h"

#include <fmt/format.h>

namespace wavllm {

namespace {

/// Characters on the screen: UTF-8 continuation bytes take no column.
size_t width(const std::string& text) {
    size_t n = 0;
    for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
    return n;
}

}  // namespace

Table::Table(std::vector<std::string> header, std::vector<bool> left) : left_(std::move(left)) {
    left_.resize(header.size(), false);
    rows_.push_back(std::move(header));
}

void Table::add(std::vector<std::string> row) {
    row.resize(rows_.front().size());
    rows_.push_back(std::move(row));
}

void Table::print(std::FILE* out) const {
    std::vector<size_t> widest(rows_.front().size());
    for (const auto& row : rows_)
        for (size_t i = 0; i < row.size(); ++i) widest[i] = std::max(widest[i], width(row[i]));
    for (const auto& row : rows_) {
        std::string line;
        for (size_t i = 0; i < row.size(); ++i) {
            const std::string pad(widest[i] - width(row[i]), ' ');
            line += left_[i] ? row[i] + pad : pad + row[i];
            line += "  ";
        }
        line.erase(line.find_last_not_of(' ') + 1);
        fmt::print(out, "{}\n", line);
    }
}

std::string with_commas(int64_t value) {
    std::string text = std::to_string(value);
    for (auto i = static_cast<int64_t>(text.size()) - 3; i > (value < 0 ? 1 : 0); i -= 3)
        text.insert(static_cast<size_t>(i), ",");
    return text;
}

}  // namespace wavllm
