// wavllm data cache: the encoder's features of whole manifests, made ahead of the runs that read them.

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "data/progress.h"
#include "wavllm/command.h"
#include "wavllm/support/home.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/speech.h"
#include "wavllm/support/table.h"

namespace wavllm {

namespace {

struct Options {
    std::string preset = "small-digits", json;
    std::vector<std::string> set, manifests;
};

std::vector<std::filesystem::path> manifests_of(const Preset& preset, const std::filesystem::path& home) {
    std::vector<std::filesystem::path> paths;
    for (const Manifests* sets : {&preset.data.train, &preset.data.valid, &preset.data.test})
        for (const auto& [name, path] : *sets) paths.push_back(home / path);
    return paths;
}

int run(const Options& o) {
    const std::filesystem::path home = home_folder();
    const System system = load_system(load_preset(preset_path(o.preset, home), o.set));
    std::vector<std::filesystem::path> manifests(o.manifests.begin(), o.manifests.end());
    if (manifests.empty()) manifests = manifests_of(system.preset, home);
    if (manifests.empty())
        throw UsageError("data cache: the preset \"{}\" names no manifests; give --manifest", system.preset.name);
    const auto cache = open_feature_cache(system);
    EncodeSummary s;
    load_with_progress(system, cache.get(), manifests, "clips", &s);
    const double rate = s.wall > 0 ? s.encoded / s.wall : 0;
    if (!o.json.empty())
        write_json({{"clips", s.clips},
                    {"found", s.from_cache},
                    {"seconds", s.seconds},
                    {"encoded_seconds", s.encoded},
                    {"wall_seconds", s.wall},
                    {"times_real_time", rate},
                    {"bytes", s.cache_bytes},
                    {"folder", cache->folder().string()}},
                   o.json);
    if (o.json == "-") return 0;
    fmt::print("{} clips, {} of speech; {} were there", with_commas(static_cast<int64_t>(s.clips)),
               format_duration(s.seconds), with_commas(static_cast<int64_t>(s.from_cache)));
    if (s.encoded > 0)
        fmt::print(", {} were encoded in {} ({:.0f} x real time)", format_duration(s.encoded), format_duration(s.wall),
                   rate);
    fmt::print("\n{} in {}\n", format_bytes(static_cast<double>(s.cache_bytes)), cache->folder().string());
    return 0;
}

WAVLLM_PART(data, cache,
            {"cache", "encode manifests ahead of a run; may be stopped at any time and goes on where it was",
             "wavllm data cache --preset small-digits --manifest samples/digits_test.tsv", [](cli::App& app) {
                 auto o = std::make_shared<Options>();
                 app.add_option("--preset", o->preset, "says which encoder and padding")->capture_default_str();
                 app.add_option("--set", o->set, "override a value: model.encoder_padding=30s (may be given again)");
                 app.add_option("--manifest", o->manifests, "TSV or JSONL (default: those of the preset)");
                 app.add_option("--json", o->json, "write the result as JSON (-: to stdout)");
                 return [o] { return run(*o); };
             }});

}  // namespace

}  // namespace wavllm
