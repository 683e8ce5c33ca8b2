#pragma once
// A subcommand of the program. Each file in wavllm/ registers its own; main.cpp knows none by name.

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

namespace CLI {  // CLI11, which only main.cpp reads: it costs a file four seconds
class App;
class Option;
}  // namespace CLI

namespace wavllm {

/// Options that every subcommand takes.
struct GlobalOptions {
    int threads = 0;             ///< 0: the cores this process may use
    std::string device = "cpu";  ///< where models are put: cpu, sim (docs/simt.md) or cuda
    std::string fusion = "on";   ///< on, off, or names of fusions to switch off
    bool memory = false;         ///< print the memory account at the end
};

struct Command;

namespace cli {

/// An option of a command. Values that do not fit are refused before the command runs; --help says which do.
class Option {
public:
    explicit Option(CLI::Option* option) : option_(option) {}

    Option* required();
    /// --help shows what the variable holds now.
    Option* capture_default_str();
    /// One argument may hold several values, this between them.
    Option* delimiter(char between);

    Option* positive();
    Option* not_negative();
    Option* range(int least, int most);
    Option* range(double least, double most);
    Option* one_of(const std::vector<std::string>& values);

    bool given() const;

private:
    CLI::Option* option_;
};

/// The options and arguments that a command takes. The variables must live as long as the App.
class App {
public:
    explicit App(CLI::App& parser) : parser_(parser) {}
    App(const App&) = delete;
    App& operator=(const App&) = delete;

    /// names: "--rate", "--max-tokens,--max-new-tokens", or without dashes that of an argument known by its place.
    /// T: one of the types listed in main.cpp; a further one is added there.
    template <class T>
    Option* add_option(const std::string& names, T& variable, const std::string& description);
    Option* add_flag(const std::string& names, bool& variable, const std::string& description);
    App& add_subcommand(const Command& command);

    std::string get_name() const;
    /// The first names of the options of its own that the user gave.
    std::vector<std::string> given() const;
    CLI::App& parser() {
        return parser_;
    }

private:
    CLI::App& parser_;
    std::list<Option> options_;
    std::list<App> subcommands_;
};

}  // namespace cli

struct Command {
    std::string name, description, example;
    /// Adds the options to the subcommand and returns what runs it: the exit code, 0 only on success.
    std::function<std::function<int()>(cli::App&)> setup;
};

/// --no-cache of the commands that read manifests (feature_cache in wavllm/support/speech.h).
void add_no_cache(cli::App& app, bool& no_cache);
/// --frozen: what frozen weights are held in (frozen_dtype_names() in kernels/linear/packed_weight.h).
void add_frozen(cli::App& app, std::string& dtype);

/// Adds the parts of a command (`wavllm bench kernels`) as its subcommands, of which one must be given; what is returned
/// runs it.
std::function<int()> setup_parts(const std::string& command, cli::App& app);

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
