// The program: finds the subcommand, applies the options common to all, turns exceptions into one line and an exit
// code.

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>

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
    CLI::App app{"wavllm: train and use a speech LLM (WavLLM), on a tensor library of its own", "wavllm"};
    app.require_subcommand(1);
    app.fallthrough();
    app.failure_message([&](const CLI::App*, const CLI::Error& e) { return usage_message(app, e, argc, argv); });
    GlobalOptions global;
    app.add_option("--threads", global.threads, "threads to use; results do not depend on it");
    app.add_option("--device", global.device,
                   "cpu; sim: CUDA kernels on an emulated GPU, slowly (docs/simt.md); cuda: a GPU");
    app.add_option("--fusion", global.fusion, "on, off, or names of fused ops to run as their composition");
    app.add_flag("--memory", global.memory, "print the memory account and its peaks at the end");
    int code = 0;
    for (auto& [name, command] : commands()) {
        CLI::App* sub = app.add_subcommand(name, command.description);
        sub->footer("Example:\n  " + command.example);
        auto body = std::make_shared<std::function<int()>>(command.setup(*sub));
        sub->callback([&, body] {
            apply(global);
            const DeviceScope device(parse_device(global.device));
            code = (*body)();
        });
    }
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e);
    }
    if (global.memory) std::fputs(memory::report().c_str(), stderr);
    return code;
}

}  // namespace

void add_no_cache(CLI::App& app, bool& no_cache) {
    app.add_flag("--no-cache", no_cache,
                 "keep the encoder's features in memory: 50 kB a second of speech, Whisper base");
}

void add_frozen(CLI::App& app, std::string& dtype) {
    const auto names = frozen_dtype_names();
    app.add_option(
           "--frozen,--panels", dtype,
           "frozen weights: f32, bf16, int8, q8_0, q4_1 (or q4), q4_0, or bf16 where the CPU multiplies it (auto)")
        ->check(CLI::IsMember(std::vector<std::string>(names.begin(), names.end())));
}

std::function<int()> setup_parts(const std::string& command, CLI::App& app) {
    app.require_subcommand(1);
    auto bodies = std::make_shared<std::map<CLI::App*, std::function<int()>>>();
    for (auto& [name, part] : parts_of(command)) {
        CLI::App* sub = app.add_subcommand(name, part.description);
        sub->footer("Example:\n  " + part.example);
        (*bodies)[sub] = part.setup(*sub);
    }
    return [bodies, &app] { return bodies->at(app.get_subcommands().front())(); };
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
