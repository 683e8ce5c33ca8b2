// wavllm data augment: altered copies of recordings.

#include "data/synth/augment.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tensor/thread_pool.h"
#include "wavllm/command.h"
#include "wavllm/support/json_output.h"

namespace wavllm {

namespace {

struct Options {
    AugmentOptions augment;
    std::string json;
};

int run(Options& o) {
    if (o.augment.jobs == 0) o.augment.jobs = num_threads();
    const AugmentReport r = augment(o.augment);
    if (!o.json.empty()) {
        write_json({{"manifest", r.manifest.string()},
                    {"rows", r.rows},
                    {"clips", r.clips},
                    {"made", r.made},
                    {"hours", r.hours}},
                   o.json);
        if (o.json == "-") return 0;
    }
    fmt::print("{}: {} copies of {} recordings, {:.2f} h ({} made now)\n", r.manifest.string(), r.clips, r.rows,
               r.hours, r.made);
    return 0;
}

WAVLLM_PART(
    data, augment,
    {"augment", "altered copies of recordings: speed, room, noise, level",
     "wavllm data augment --manifest samples/sentences.tsv --copies 2 --out /tmp/augmented", [](cli::App& app) {
         auto o = std::make_shared<Options>();
         AugmentOptions& a = o->augment;
         a.jobs = 0;
         app.add_option("--manifest", a.manifest, "the recordings");
         app.add_option("--out", a.out, "folder for augmented.tsv and audio/; what is there is kept");
         app.add_option("--copies", a.copies, "of each recording")->capture_default_str();
         app.add_option("--seed", a.seed, "same seed, same files")->capture_default_str();
         app.add_option("--slowest", a.slowest, "lowest speed")->capture_default_str();
         app.add_option("--fastest", a.fastest, "highest speed")->capture_default_str();
         app.add_option("--room", a.effects.room, "share of clips in a room")->capture_default_str();
         app.add_option("--noise", a.effects.noise, "share of clips with noise")->capture_default_str();
         app.add_option("--band", a.effects.band, "share of clips through a narrow band")->capture_default_str();
         app.add_option("--quiet", a.effects.quiet, "share of very quiet clips")->capture_default_str();
         app.add_option("--jobs", a.jobs, "processes; 0: as --threads")->capture_default_str();
         app.add_option("--json", o->json, "write the result as JSON (-: to stdout)");
         return [o] { return run(*o); };
     }});

}  // namespace

}  // namespace wavllm
