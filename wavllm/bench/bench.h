#pragma once
// A part of `wavllm bench`. Each file in wavllm/bench/ registers its own; bench.cpp knows none by name.

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace wavllm {

struct BenchPart {
    std::string name, description, example;
    /// Adds the options to the part's subcommand and returns what runs it.
    std::function<std::function<int()>(CLI::App&)> setup;
};

namespace detail {
bool register_bench(BenchPart part);
}

}  // namespace wavllm

#define WAVLLM_BENCH(identifier, ...) \
    [[maybe_unused]] static const bool bench_registered_##identifier = ::wavllm::detail::register_bench(__VA_ARGS__)
