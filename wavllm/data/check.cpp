// wavllm data check: leaks between splits, and rows that do not hold what they say.

#include "data/check/check.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "data/progress.h"
#include "tensor/text.h"
#include "wavllm/command.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/table.h"

namespace wavllm {

namespace {

constexpr size_t kShown = 10;  // problems of one kind

struct Options {
    DataCheckOptions check;
    std::string json;
};

nlohmann::ordered_json to_json(const DataCheckReport& r) {
    nlohmann::ordered_json splits = nlohmann::ordered_json::object(), problems = nlohmann::ordered_json::array();
    for (const SplitSummary& s : r.splits)
        splits[s.name] = {{"rows", s.rows},
                          {"hours", s.hours},
                          {"longest_seconds", s.longest},
                          {"speakers", s.speakers},
                          {"rows_without_speaker", s.rows_without_speaker},
                          {"sources", s.sources},
                          {"words", s.words},
                          {"word_types", s.word_types}};
    for (const DataProblem& p : r.problems)
        problems.push_back({{"kind", name_of(p.kind)}, {"where", p.where}, {"id", p.id}, {"what", p.what}});
    return {{"passed", r.problems.empty()}, {"splits", splits}, {"problems", problems}, {"seconds", r.seconds}};
}

void print_problems(const DataCheckReport& r) {
    size_t shown = 0;
    for (size_t i = 0; i < r.problems.size(); ++i) {
        const DataProblem& p = r.problems[i];
        shown = i > 0 && r.problems[i - 1].kind == p.kind ? shown + 1 : 1;
        if (shown <= kShown)
            fmt::print("{}: {}: row {}: {}\n", name_of(p.kind), p.where, printable(p.id), printable(p.what, 400));
        const bool last = i + 1 == r.problems.size() || r.problems[i + 1].kind != p.kind;
        if (last && shown > kShown) fmt::print("{}: {} more (see --json)\n", name_of(p.kind), shown - kShown);
    }
}

int run(Options& o) {
    Progress bar("check", 0, "rows");
    o.check.progress = [&](int64_t done, int64_t total) {
        bar.set_total(total);
        bar.update(done);
    };
    const DataCheckReport r = check_data(o.check);
    bar.finish();
    if (!o.json.empty()) write_json(to_json(r), o.json);
    if (o.json != "-") {
        Table table({"split", "sources", "rows", "hours", "longest", "speakers", "without", "words", "word types"},
                    {true, true});
        for (const SplitSummary& s : r.splits)
            if (s.rows > 0)
                table.add({s.name, fmt::format("{}", fmt::join(s.sources, " ")), with_commas(s.rows),
                           fmt::format("{:.2f}", s.hours), fmt::format("{:.1f} s", s.longest), with_commas(s.speakers),
                           with_commas(s.rows_without_speaker), with_commas(s.words), with_commas(s.word_types)});
        table.print();
        print_problems(r);
        fmt::print("{}\n", r.problems.empty() ? "no problem found" : fmt::format("{} problems", r.problems.size()));
    }
    return r.problems.empty() ? 0 : 1;
}

WAVLLM_PART(data, check,
            {"check", "leaks between training, validation and test; every row's audio, length and text",
             "wavllm data check --train samples/digits_train.tsv --valid samples/digits_valid.tsv --test "
             "samples/digits_test.tsv",
             [](cli::App& app) {
                 auto o = std::make_shared<Options>();
                 app.add_option("--train", o->check.train, "manifests");
                 app.add_option("--valid", o->check.valid, "manifests");
                 app.add_option("--test", o->check.test, "manifests");
                 app.add_flag("--speakers-by-corpus", o->check.speakers_by_corpus,
                              "one speaker name in two corpora (column source) is two people");
                 app.add_option("--json", o->json, "write all as JSON (-: to stdout)");
                 return [o] { return run(*o); };
             }});

}  // namespace

}  // namespace wavllm
