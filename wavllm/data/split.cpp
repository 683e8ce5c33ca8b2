// wavllm data split: one manifest into three, by speaker and text.

#include "data/split/split.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "wavllm/command.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/table.h"

namespace wavllm {

namespace {

struct Options {
    SplitOptions split;
    std::string json;
};

int run(const Options& o) {
    const SplitReport r = split_manifest(o.split);
    nlohmann::ordered_json json;
    Table table({"manifest", "rows", "speakers", "hours", "left out"}, {true});
    for (const auto& [name, p] : {std::pair("train", &r.train), {"valid", &r.valid}, {"test", &r.test}}) {
        json[name] = {{"manifest", p->manifest.string()},
                      {"rows", p->rows},
                      {"speakers", p->speakers},
                      {"hours", p->hours},
                      {"left_out", p->dropped}};
        table.add({p->manifest.string(), with_commas(p->rows), with_commas(p->speakers),
                   fmt::format("{:.3f}", p->hours), with_commas(p->dropped)});
    }
    if (!o.json.empty()) write_json(json, o.json);
    if (o.json != "-") table.print();
    return 0;
}

WAVLLM_PART(data, split,
            {"split", "training, validation and test by speaker, without four words in a row in common",
             "wavllm data split --manifest samples/sentences.tsv --test-speakers 1688 --valid-speakers 1998 --out "
             "/tmp/split",
             [](cli::App& app) {
                 auto o = std::make_shared<Options>();
                 SplitOptions& s = o->split;
                 app.add_option("--manifest", s.manifests, "manifests to part");
                 app.add_option("--test-speakers", s.test, "names, or corpus/name, by commas")->delimiter(',');
                 app.add_option("--valid-speakers", s.valid, "the same; all others go to training")->delimiter(',');
                 app.add_flag("--plain", s.plain, "texts in lower case and without punctuation");
                 app.add_option("--out", s.out, "folder for train.tsv, valid.tsv and test.tsv");
                 app.add_option("--json", o->json, "write the result as JSON (-: to stdout)");
                 return [o] { return run(*o); };
             }});

}  // namespace

}  // namespace wavllm
