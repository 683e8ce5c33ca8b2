#pragma once
// A subcommand of the program. Each file in wavllm/ registers its own; main.cpp knows none by name.

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace wavllm {

/// Options that every subcommand takes.
struct GlobalOptions {
    int threads = 0;             ///< 0: the cores this process may use
    std::string device = "cpu";  ///< where models are put: cpu, sim (docs/simt.md) or cuda
    std::string fusion = "on";   ///< on, off, or names of fusions to switch off
    bool memory = false;         ///< print the memory account at the end
};

struct Command {
    std::string name, description, example;
    /// Adds the options to the subcommand and returns what runs it: the exit code, 0 only on success.
    std::function<std::function<int()>(CLI::App&)> setup;
};

/// --no-cache of the commands that read manifests (feature_cache in wavllm/support/speech.h).
void add_no_cache(CLI::App& app, bool& no_cache);
/// --frozen: what frozen weights are held in (frozen_dtype_names() in kernels/linear/packed_weight.h).
void add_frozen(CLI::App& app, std::string& dtype);

/// Adds the parts of a command (`wavllm bench kernels`) as its subcommands, of which one must be given; what is returned
/// runs it.
std::function<int()> setup_parts(const std::string& command, CLI::App& app);

namespace detail {
bool register_command(Command command);
bool register_part(const std::string& command, Command part);
}  // namespace detail

}  // namespace wavllm

#define WAVLLM_COMMAND(identifier, ...) \
    [[maybe_unused]] static const bool command_registered_##identifier = ::wavllm::detail::register_command(__VA_ARGS__)

/// A part of a command that has parts: WAVLLM_PART(bench, ops, {...}). Each file in wavllm/bench/ and wavllm/data/
/// registers its own; bench.cpp and data.cpp know none by name.
#define WAVLLM_PART(command, identifier, ...)                                     \
    [[maybe_unused]] static const bool part_registered_##command##_##identifier = \
        ::wavllm::detail::register_part(#command, __VA_ARGS__)
