// wavllm data synth: speech from sentences.

#include "data/synth/synth.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "data/synth/voices.h"
#include "tensor/error.h"
#include "tensor/thread_pool.h"
#include "wavllm/command.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/table.h"

namespace wavllm {

namespace {

struct Options {
    SynthOptions synth;
    std::vector<std::string> sources;
    bool list_voices = false;
    std::string json;
};

/// "name:weight" pairs.
std::map<std::string, double> parse_sources(const std::vector<std::string>& pairs) {
    std::map<std::string, double> weights;
    for (const std::string& pair : pairs) {
        const size_t colon = pair.rfind(':');
        char* end = nullptr;
        const double weight = colon == std::string::npos ? 0 : std::strtod(pair.c_str() + colon + 1, &end);
        if (colon == std::string::npos || end == pair.c_str() + colon + 1 || *end != '\0')
            throw UsageError("--sources {}: expected NAME:WEIGHT, e.g. libritts:2", pair);
        weights[pair.substr(0, colon)] = weight;
    }
    return weights;
}

int list_voices() {
    Table table({"voice", "engine", "from", "size"}, {true, true, true, false});
    for (const Voice& v : all_voices())
        table.add({std::string(v.name), v.engine == SpeechEngine::flite ? "flite" : "espeak-ng", std::string(v.source),
                   fmt::format("{:.2f}", v.size)});
    table.print();
    return 0;
}

nlohmann::ordered_json to_json(const SynthReport& r) {
    nlohmann::ordered_json sets = nlohmann::ordered_json::array();
    for (const auto& s : r.sets)
        sets.push_back({{"manifest", s.manifest.string()},
                        {"clips", s.clips},
                        {"made", s.made},
                        {"dropped", s.dropped},
                        {"hours", s.hours},
                        {"share_below_8s", s.below_8s},
                        {"words", s.words},
                        {"word_types", s.word_types},
                        {"voices", s.voices}});
    return {{"seconds", r.seconds},
            {"sets", sets},
            {"sentences",
             {{"read", r.read}, {"unreadable", r.unreadable}, {"repeated", r.repeated}, {"excluded", r.excluded}}},
            {"passes", r.passes}};
}

int run(Options& o) {
    if (o.list_voices) return list_voices();
    o.synth.sources = parse_sources(o.sources);
    if (o.synth.jobs == 0) o.synth.jobs = num_threads();
    const SynthReport r = synthesize(o.synth);
    if (!o.json.empty()) {
        write_json(to_json(r), o.json);
        if (o.json == "-") return 0;
    }
    if (r.read > 0)
        fmt::print("{} lines of text: {} that would have to be guessed, {} repeated, {} too near to --exclude\n",
                   with_commas(static_cast<int64_t>(r.read)), with_commas(static_cast<int64_t>(r.unreadable)),
                   with_commas(static_cast<int64_t>(r.repeated)), with_commas(static_cast<int64_t>(r.excluded)));
    Table table({"manifest", "clips", "hours", "below 8 s", "voices", "words", "word types", "new", "dropped"}, {true});
    for (const auto& s : r.sets)
        table.add({s.manifest.string(), with_commas(s.clips), fmt::format("{:.2f}", s.hours),
                   fmt::format("{:.0f} %", 100 * s.below_8s), std::to_string(s.voices), with_commas(s.words),
                   with_commas(s.word_types), with_commas(s.made), with_commas(s.dropped)});
    table.print();
    fmt::print("in {:.0f} s\n", r.seconds);
    return 0;
}

WAVLLM_PART(
    data, synth,
    {"synth", "speech from sentences, by flite and espeak-ng, with manifests",
     "wavllm data synth --text samples/sentences.tsv --clips 4 --digits 20 --out /tmp/synth", [](cli::App& app) {
         auto o = std::make_shared<Options>();
         SynthOptions& s = o->synth;
         app.add_option("--text", s.text, "sentences: one a line, or TSV with a column text (and source); may be .gz");
         app.add_option("--out", s.out, "folder for train.tsv and audio/; what is there is kept");
         app.add_option("--hours", s.hours, "hours of speech");
         app.add_option("--clips", s.clips, "or: number of clips");
         app.add_option("--digits", s.digits, "clips of one spoken digit besides");
         app.add_option("--exclude", s.exclude,
                        "manifests (validation, test): sentences that share four words in a row with "
                        "them are not spoken");
         app.add_option("--seed", s.seed, "same seed, same files")->capture_default_str();
         app.add_option("--min-seconds", s.min_seconds, "shortest clip")->capture_default_str();
         app.add_option("--max-seconds", s.max_seconds, "longest clip")->capture_default_str();
         app.add_option("--voices", s.voices, "all, or names by commas; * at a name's end (espeak-us*)")
             ->capture_default_str();
         app.add_flag("--list-voices", o->list_voices, "only list the voices");
         app.add_option("--flite-share", s.flite_share, "share of clips by flite's voices")->capture_default_str();
         app.add_option("--slowest", s.slowest, "lowest tempo: 1 is the engines' own, read speech is around 0.75")
             ->capture_default_str();
         app.add_option("--fastest", s.fastest, "highest tempo")->capture_default_str();
         app.add_option("--room", s.effects.room, "share of clips in a room")->capture_default_str();
         app.add_option("--noise", s.effects.noise, "share of clips with noise")->capture_default_str();
         app.add_option("--band", s.effects.band, "share of clips through a narrow band")->capture_default_str();
         app.add_option("--quiet", s.effects.quiet, "share of very quiet clips")->capture_default_str();
         app.add_option("--valid-share", s.valid_share,
                        "also valid.tsv, with voices and sentences of its own: this share of the amount");
         app.add_option("--sources", o->sources, "weights of the text's sources: NAME:WEIGHT ...");
         s.jobs = 0;
         app.add_option("--jobs", s.jobs, "processes; 0: as --threads")->capture_default_str();
         app.add_option("--json", o->json, "write the result as JSON (-: to stdout)");
         return [o] { return run(*o); };
     }});

}  // namespace

}  // namespace wavllm
