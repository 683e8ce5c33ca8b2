// wavllm data: training data, made and checked.

#include "wavllm/data/data.h"

#include <map>
#include <memory>

#include "wavllm/command.h"

namespace wavllm {

namespace {

std::map<std::string, DataPart>& parts() {
    static auto* p = new std::map<std::string, DataPart>;
    return *p;
}

WAVLLM_COMMAND(data, {"data", "training data: speech from text, altered copies of recordings, splits, and their check",
                      "wavllm data synth --digits 20 --out synth", [](CLI::App& app) {
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

bool detail::register_data(DataPart part) {
    const std::string name = part.name;
    parts()[name] = std::move(part);
    return true;
}

}  // namespace wavllm
