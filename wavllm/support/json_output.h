#pragma once
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "tensor/atomic_file.h"

namespace wavllm {

/// Writes JSON to a file in one step, or to stdout for "-". Strings of strangers may be no UTF-8: they are repaired.
inline void write_json(const nlohmann::ordered_json& json, const std::string& path) {
    const std::string text = json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    if (path == "-")
        std::fputs(text.c_str(), stdout);
    else
        write_file_atomically(path, text);
}

}  // namespace wavllm
