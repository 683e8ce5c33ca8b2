// wavllm bench: how fast this build is on this machine.

#include "wavllm/bench/bench.h"

#include <map>
#include <memory>

#include "wavllm/command.h"

namespace wavllm {

namespace {

std::map<std::string, BenchPart>& parts() {
    static auto* p = new std::map<std::string, BenchPart>;
    return *p;
}

WAVLLM_COMMAND(bench, {"bench", "how fast this build is on this machine: single ops, fusions, a model, a training step",
                       "wavllm bench ops --op rms_norm", [](CLI::App& app) {
                           app.require_subcommand(1);
                           auto bodies = std::make_shared<std::map<CLI::App*, std::function<int()>>>();
                           for (auto& [name, part] : parts()) {
                               CLI::App* sub = app.add_subcommand(name, part.description);
                               sub->footer("Example:\n  " + part.example);
                               (*bodies)[sub] = part.setup(*sub);
                           }
                           return [bodies, &app] { return bodies->at(app.get_subcommands().front())(); };
                       }});

}  // namespace

bool detail::register_bench(BenchPart part) {
    const std::string name = part.name;
    parts()[name] = std::move(part);
    return true;
}

}  // namespace wavllm
