#pragma once
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "infer/wer.h"
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

inline nlohmann::ordered_json to_json(const ErrorCounts& c) {
    return {{"rate", c.rate()},
            {"reference", c.reference},
            {"substitutions", c.substitutions},
            {"deletions", c.deletions},
            {"insertions", c.insertions}};
}

/// The four rates as members of `to`.
inline void add_rates(nlohmann::ordered_json& to, const ErrorRates& rates) {
    to["wer_raw"] = to_json(rates.words);
    to["wer_normalized"] = to_json(rates.normal_words);
    to["cer_raw"] = to_json(rates.characters);
    to["cer_normalized"] = to_json(rates.normal_characters);
}

}  // namespace wavllm
