// The program: finds the subcommand, applies the options common to all, turns exceptions into one line and an exit code.

#include <cstdio>
#include <map>
#include <memory>

#include "kernels/common/fusion.h"
#include "tensor/allocator.h"
#include "tensor/device.h"
#include "tensor/error.h"
#include "tensor/thread_pool.h"
#include "wavllm/command.h"

namespace wavllm {

namespace {

std::map<std::string, Command>& commands() {
    static auto* c = new std::map<std::string, Command>;
    return *c;
}

void apply(const GlobalOptions& options) {
    require_available(parse_device(options.device));
    if (options.threads < 0) throw UsageError("--threads {}: must be at least 1 (or 0 for all cores)", options.threads);
    if (options.threads > 0) set_num_threads(options.threads);
    set_fusion(options.fusion);
}

int run(int argc, char** argv) {
    CLI::App app{"wavllm: train and use a speech LLM (WavLLM), on a tensor library of its own", "wavllm"};
    app.require_subcommand(1);
    app.fallthrough();
    GlobalOptions global;
    app.add_option("--threads", global.threads, "threads to use; results do not depend on it");
    app.add_option("--device", global.device, "cpu (sim and cuda come later)");
    app.add_option("--fusion", global.fusion, "on, off, or names of fused ops to run as their composition");
    app.add_flag("--memory", global.memory, "print the memory account and its peaks at the end");
    int code = 0;
    for (auto& [name, command] : commands()) {
        CLI::App* sub = app.add_subcommand(name, command.description);
        sub->footer("Example:\n  " + command.example);
        auto body = std::make_shared<std::function<int()>>(command.setup(*sub));
        sub->callback([&, body] {
            apply(global);
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

std::filesystem::path home_folder() {
    const char* set = std::getenv("WAVLLM_HOME");
    const std::filesystem::path home = set ? set : WAVLLM_SOURCE_DIR;
    if (!std::filesystem::exists(home / "presets"))
        throw FileError("{} holds no presets/; set WAVLLM_HOME to the folder of the project", home.string());
    return home;
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
