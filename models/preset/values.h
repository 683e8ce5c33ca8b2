#pragma once
// Values by name: what a preset and its stages are read from, written to and overridden through.

#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>

#include "models/preset/preset.h"

namespace wavllm {

using ValuePointer = std::variant<std::string*, int64_t*, double*, bool*, Manifests*, Shares*>;
/// Where each value of some struct lies, by its dotted name.
using ValueTable = std::map<std::string, ValuePointer>;

/// Sets the values that `object` has; names of nested objects are joined by dots behind `prefix`. `source` names the
/// JSON in errors. Throws UsageError for an unknown name (with the nearest known one) and for a wrong type.
void assign_object(const ValueTable& table, const std::string& prefix, const nlohmann::ordered_json& object,
                   const std::string& source);
/// "lora.rank=16"; "data.train.speech=x.tsv" sets one entry of data.train. Throws UsageError likewise.
void override_value(const ValueTable& table, const std::string& text);
/// Throws UsageError if v is none of these.
void one_of(const std::string& source, const std::string& name, const std::string& v,
            std::initializer_list<const char*> allowed);

template <class T>
nlohmann::ordered_json value_json(const T& v) {
    if constexpr (std::is_same_v<T, Manifests> || std::is_same_v<T, Shares>) {
        nlohmann::ordered_json object = nlohmann::ordered_json::object();
        for (const auto& [name, entry] : v) object[name] = entry;
        return object;
    } else {
        return v;
    }
}

}  // namespace wavllm
