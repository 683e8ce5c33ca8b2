// The program: finds the subcommand, applies the options common to all, turns exceptions into one line and an exit
// code. CLI11, which reads command lines, is known here alone: App and Option in command.h stand for it.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>

#include "kernels/common/fusion.h"
#include "kernels/linear/packed_weight.h"
#include "tensor/allocator.h"
#include "tensor/device.h"
#include "tensor/error.h"
#include "tensor/text.h"
#include "tensor/thread_pool.h"
#include "wavllm/command.h"

namespace wavllm {

namespace {

std::map<std::string, Command>& commands() {
    static auto* c = new std::map<std::string, Command>;
    return *c;
}

std::map<std::string, Command>& parts_of(const std::string& command) {
    static auto* p = new std::map<std::string, std::map<std::string, Command>>;
    return (*p)[command];
}

void apply(const GlobalOptions& options) {
    if (options.threads < 0) throw UsageError("--threads {}: must be at least 1 (or 0 for all cores)", options.threads);
    if (options.threads > 0) set_num_threads(options.threads);
    set_fusion(options.fusion);
}

/// A mistake on the command line as one line that says what to do next.
std::string usage_message(const CLI::App& app, const CLI::Error& e, int argc, char** argv) {
    std::string message = e.what();
    std::replace(message.begin(), message.end(), '\n', ' ');
    std::vector<std::string> known;
    for (const auto& [name, command] : commands()) known.push_back(name);
    const std::string first = argc > 1 ? argv[1] : "";
    const bool named = std::find(known.begin(), known.end(), first) != known.end();
    if (!named && !first.empty() && first[0] != '-')
        message = fmt::format("no subcommand \"{}\"; did you mean {}?", printable(first), nearest_name(first, known));
    else if (!first.empty() && !named && !app.get_option_no_throw(first.substr(0, first.find('='))))
        message = fmt::format("unknown option {}", printable(first));
    else if (!named && e.get_name() == "RequiredError")
        message = fmt::format("name a subcommand: {}", fmt::join(known, ", "));
    return fmt::format("wavllm: {} (see wavllm {}--help)\n", message, named ? first + " " : "");
}

int run(int argc, char** argv) {
    CLI::App parser{"wavllm: train and use a speech LLM (WavLLM), on a tensor library of its own", "wavllm"};
    parser.require_subcommand(1);
    parser.fallthrough();
    parser.failure_message([&](const CLI::App*, const CLI::Error& e) { return usage_message(parser, e, argc, argv); });
    cli::App app(parser);
    GlobalOptions global;
    app.add_option("--threads", global.threads, "threads to use; results do not depend on it");
    app.add_option("--device", global.device,
                   "cpu; sim: CUDA kernels on an emulated GPU, slowly (docs/simt.md); cuda: a GPU");
    app.add_option("--fusion", global.fusion, "on, off, or names of fused ops to run as their composition");
    app.add_flag("--memory", global.memory, "print the memory account and its peaks at the end");
    int code = 0;
    for (auto& [name, command] : commands()) {
        cli::App& sub = app.add_subcommand(command);
        auto body = std::make_shared<std::function<int()>>(command.setup(sub));
        sub.parser().callback([&, body] {
            apply(global);
            const DeviceScope device(parse_device(global.device));
            code = (*body)();
        });
    }
    try {
        parser.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return parser.exit(e);
    }
    if (global.memory) std::fputs(memory::report().c_str(), stderr);
    return code;
}

}  // namespace

namespace cli {

Option* Option::required() {
    option_->required();
    return this;
}

Option* Option::capture_default_str() {
    option_->capture_default_str();
    return this;
}

Option* Option::delimiter(char between) {
    option_->delimiter(between);
    return this;
}

Option* Option::positive() {
    option_->check(CLI::PositiveNumber);
    return this;
}

Option* Option::not_negative() {
    option_->check(CLI::NonNegativeNumber);
    return this;
}

Option* Option::range(int least, int most) {
    option_->check(CLI::Range(least, most));
    return this;
}

Option* Option::range(double least, double most) {
    option_->check(CLI::Range(least, most));
    return this;
}

Option* Option::one_of(const std::vector<std::string>& values) {
    option_->check(CLI::IsMember(values));
    return this;
}

bool Option::given() const {
    return option_->count() > 0;
}

template <class T>
Option* App::add_option(const std::string& names, T& variable, const std::string& description) {
    return &options_.emplace_back(parser_.add_option(names, variable, description));
}

Option* App::add_flag(const std::string& names, bool& variable, const std::string& description) {
    return &options_.emplace_back(parser_.add_flag(names, variable, description));
}

App& App::add_subcommand(const Command& command) {
    CLI::App* sub = parser_.add_subcommand(command.name, command.description);
    sub->footer("Example:\n  " + command.example);
    return subcommands_.emplace_back(*sub);
}

std::string App::get_name() const {
    return parser_.get_name();
}

std::vector<std::string> App::given() const {
    std::vector<std::string> names;
    for (const CLI::Option* option : parser_.get_options())
        if (option->count() > 0) names.push_back(option->get_name());
    return names;
}

template Option* App::add_option(const std::string&, int&, const std::string&);
template Option* App::add_option(const std::string&, int64_t&, const std::string&);
template Option* App::add_option(const std::string&, uint64_t&, const std::string&);
template Option* App::add_option(const std::string&, double&, const std::string&);
template Option* App::add_option(const std::string&, std::optional<int64_t>&, const std::string&);
template Option* App::add_option(const std::string&, std::optional<double>&, const std::string&);
template Option* App::add_option(const std::string&, std::string&, const std::string&);
template Option* App::add_option(const std::string&, std::filesystem::path&, const std::string&);
template Option* App::add_option(const std::string&, std::vector<std::string>&, const std::string&);
template Option* App::add_option(const std::string&, std::vector<std::filesystem::path>&, const std::string&);

}  // namespace cli

void add_no_cache(cli::App& app, bool& no_cache) {
    app.add_flag("--no-cache", no_cache,
                 "keep the encoder's features in memory: 50 kB a second of speech, Whisper base");
}

void add_frozen(cli::App& app, std::string& dtype) {
    const auto names = frozen_dtype_names();
    app.add_option("--frozen,--panels", dtype,
                   "frozen weights: f32, bf16, int8, q8_0, q4_1 (or q4), q4_0; auto: those of the adapter's preset, "
                   "otherwise bf16 "
                   "where the CPU multiplies it")
        ->one_of({names.begin(), names.end()});
}

std::function<int()> setup_parts(const std::string& command, cli::App& app) {
    app.parser().require_subcommand(1);
    auto bodies = std::make_shared<std::map<CLI::App*, std::function<int()>>>();
    for (auto& [name, part] : parts_of(command)) {
        cli::App& sub = app.add_subcommand(part);
        (*bodies)[&sub.parser()] = part.setup(sub);
    }
    return [bodies, &app] { return bodies->at(app.parser().get_subcommands().front())(); };
}

bool detail::register_part(const std::string& command, Command part) {
    const std::string name = part.name;
    parts_of(command)[name] = std::move(part);
    return true;
}

bool detail::register_command(Command command) {
    const std::string name = command.name;
    commands()[name] = std::move(command);
    return true;
}

}  // namespace wavllm

int main(int argc, char** argv) {
    try {
        return wavllm::run(argc, argv);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "wavllm: %s\n", e.what());
        return 1;
    }
}
