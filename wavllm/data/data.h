#pragma once
// A part of `wavllm data`. Each file in wavllm/data/ registers its own; data.cpp knows none by name.

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace wavllm {

struct DataPart {
    std::string name, description, example;
    /// Adds the options to the part's subcommand and returns what runs it.
    std::function<std::function<int()>(CLI::App&)> setup;
};

namespace detail {
bool register_data(DataPart part);
}

}  // namespace wavllm

#define WAVLLM_DATA(identifier, ...) \
    [[maybe_unused]] static const bool data_registered_##identifier = ::wavllm::detail::register_data(__VA_ARGS__)
