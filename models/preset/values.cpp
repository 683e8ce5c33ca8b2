#include "models/preset/values.h"

#include <algorithm>

#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

ValuePointer find(const ValueTable& table, const std::string& name, const std::string& source) {
    const auto it = table.find(name);
    if (it != table.end()) return it->second;
    std::vector<std::string> known;
    for (const auto& [k, v] : table) known.push_back(k);
    throw UsageError("{}: unknown value \"{}\"; the nearest known one is \"{}\"", source, printable(name),
                     nearest_name(name, known));
}

const char* type_of(const ValuePointer& p) {
    static constexpr const char* names[] = {"a text",
                                            "a whole number",
                                            "a number",
                                            "true or false",
                                            "a manifest, or an object of manifests by name",
                                            "an object of numbers by name"};
    return names[p.index()];
}

/// Entries stand in the order of their names: what a run draws must not depend on how its preset was written.
template <class V>
void set_entry(std::vector<std::pair<std::string, V>>& entries, const std::string& name, V value) {
    const auto at = std::lower_bound(entries.begin(), entries.end(), name,
                                     [](const auto& entry, const std::string& n) { return entry.first < n; });
    if (at != entries.end() && at->first == name)
        at->second = std::move(value);
    else
        entries.emplace(at, name, std::move(value));
}

template <class Named, class Wrong>
void assign_named(Named& target, const nlohmann::ordered_json& v, const Wrong& wrong) {
    using V = typename Named::value_type::second_type;
    constexpr bool manifests = std::is_same_v<V, std::string>;
    target.clear();
    if constexpr (manifests)
        if (v.is_string()) {
            if (!v.get<std::string>().empty()) target.emplace_back("all", v.get<std::string>());
            return;
        }
    if (!v.is_object()) wrong();
    for (const auto& [name, entry] : v.items()) {
        if (manifests ? !entry.is_string() : !entry.is_number()) wrong();
        set_entry(target, name, entry.template get<V>());
    }
}

void assign(const ValuePointer& target, const std::string& name, const nlohmann::ordered_json& v,
            const std::string& source) {
    const auto wrong = [&] {
        throw UsageError("{}: \"{}\" must be {}, but is {}", source, name, type_of(target), printable(v.dump()));
    };
    std::visit(
        [&](auto* p) {
            using T = std::remove_pointer_t<decltype(p)>;
            if constexpr (std::is_same_v<T, Manifests> || std::is_same_v<T, Shares>) {
                return assign_named(*p, v, wrong);
            } else {
                if constexpr (std::is_same_v<T, std::string>) {
                    if (!v.is_string()) wrong();
                } else if constexpr (std::is_same_v<T, bool>) {
                    if (!v.is_boolean()) wrong();
                } else if constexpr (std::is_same_v<T, int64_t>) {
                    if (!v.is_number_integer()) wrong();
                } else {
                    if (!v.is_number()) wrong();
                }
                *p = v.get<T>();
            }
        },
        target);
}

bool holds_names(const ValueTable& table, const std::string& name) {
    const auto it = table.find(name);
    return it != table.end() &&
           (std::holds_alternative<Manifests*>(it->second) || std::holds_alternative<Shares*>(it->second));
}

}  // namespace

void assign_object(const ValueTable& table, const std::string& prefix, const nlohmann::ordered_json& object,
                   const std::string& source) {
    for (const auto& [key, v] : object.items()) {
        const std::string name = prefix + key;
        if (v.is_object() && !holds_names(table, name))
            assign_object(table, name + ".", v, source);
        else
            assign(find(table, name, source), name, v, source);
    }
}

void override_value(const ValueTable& table, const std::string& text) {
    const std::string source = "--set " + text;
    const size_t equals = text.find('=');
    const std::string name = text.substr(0, equals), value = text.substr(equals + 1);
    const nlohmann::ordered_json parsed = nlohmann::ordered_json::parse(value, nullptr, false);
    const nlohmann::ordered_json v = parsed.is_discarded() ? nlohmann::ordered_json(value) : parsed;
    const size_t dot = name.rfind('.');
    if (dot != std::string::npos && holds_names(table, name.substr(0, dot))) {
        const std::string whole = name.substr(0, dot), entry = name.substr(dot + 1);
        const auto wrong = [&] { throw UsageError("{}: {} is no value for it", source, printable(value)); };
        return std::visit(
            [&](auto* p) {
                using T = std::remove_pointer_t<decltype(p)>;
                if constexpr (std::is_same_v<T, Manifests>)
                    set_entry(*p, entry, value);
                else if constexpr (std::is_same_v<T, Shares>)
                    v.is_number() ? set_entry(*p, entry, v.get<double>()) : wrong();
            },
            table.at(whole));
    }
    const ValuePointer target = find(table, name, source);
    if (std::holds_alternative<std::string*>(target)) return void(*std::get<std::string*>(target) = value);
    assign(target, name, v, source);
}

void one_of(const std::string& source, const std::string& name, const std::string& v,
            std::initializer_list<const char*> allowed) {
    for (const char* a : allowed)
        if (v == a) return;
    throw UsageError("{}: \"{}\" must be one of {}, but is \"{}\"", source, name, fmt::join(allowed, ", "),
                     printable(v));
}

}  // namespace wavllm
