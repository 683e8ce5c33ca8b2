// wavllm eval: a trained adapter's answers to a manifest, and how right they are.

#include <cstdio>
#include <nlohmann/json.hpp>

#include "data/progress.h"
#include "tensor/atomic_file.h"
#include "train/record.h"
#include "wavllm/command.h"
#include "wavllm/report/report.h"
#include "wavllm/support/decode_flags.h"
#include "wavllm/support/home.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/speech.h"

namespace wavllm {

namespace {

struct Options {
    std::string run, adapter, manifest, out, head = "llm", frozen = "auto";
    int64_t batch = 16;
    DecodeFlags decode;
    double ctc_weight = 0.4;
    bool json = false, no_cache = false, has_ctc_weight = false;
};

void check_flags(const System& system, const Options& o) {
    if (o.head != "llm" && (o.decode.temperature || !o.decode.compat.empty()))
        throw UsageError("--temperature and --compat are for --head llm");
    const auto& stored = system.preset.decode;
    if (o.head == "joint" && (stored.temperature > 0 || stored.begin_with_bos || stored.count_prompt))
        throw UsageError(
            "--head joint finds the likeliest text, but the adapter's preset (--compat released) draws it: say --head "
            "llm");
    if (o.head == "ctc" && o.decode.lora_scale)
        throw UsageError("--lora-scale: LoRA is in the LLM, which --head ctc does not use");
    o.decode.check_used(with_overrides(system.preset, o.decode.overrides()), o.head);
}

Evaluation ask(const System& system, const std::vector<SpeechExample>& examples, const Options& o) {
    if (o.head == "ctc") return evaluate_by_ctc(*system.model, *system.tokenizer, pointers_to(examples));
    Progress bar("answer", static_cast<int64_t>(examples.size()), "clips");
    AnswerOptions options = answer_options(with_overrides(system.preset, o.decode.overrides()));
    options.batch = o.batch;
    options.ctc_weight = o.ctc_weight;
    options.beams = o.decode.beams.value_or(options.beams);
    options.progress = [&](size_t done, size_t) { bar.update(static_cast<int64_t>(done)); };
    const auto by = o.head == "joint" ? evaluate_jointly : evaluate;
    Evaluation e = by(*system.model, *system.tokenizer, pointers_to(examples), options);
    bar.finish();
    return e;
}

/// The LLM's answers that the limit of new tokens ended, not EOS.
int64_t cut(const Evaluation& e, const System& system, const Options& o) {
    if (o.head != "llm") return 0;
    return std::count_if(e.answers.begin(), e.answers.end(), [&](const Answer& a) {
        return a.tokens.empty() || a.tokens.back() != system.tokenizer->eos();
    });
}

int eval(const Options& o) {
    if (o.run.empty() == o.adapter.empty()) throw UsageError("eval: give either --run FOLDER or --adapter FILE");
    if (o.batch < 1) throw UsageError("--batch {}: must be at least 1", o.batch);
    if (o.has_ctc_weight && o.head != "joint")
        throw UsageError("--ctc-weight: --head {} weighs nothing; give --head joint, or leave --ctc-weight out",
                         o.head);
    const std::filesystem::path home = home_folder();
    const std::filesystem::path file =
        o.adapter.empty() ? RunFolder::open(o.run).adapter_file() : std::filesystem::path(o.adapter);
    const System system = load_adapter_system(file, o.frozen);
    check_flags(system, o);
    if (o.manifest.empty() && system.preset.data.test.empty())
        throw UsageError("eval: the adapter's preset names no test set; give --manifest FILE");
    const std::filesystem::path manifest =
        o.manifest.empty() ? home / system.preset.data.test.front().second : std::filesystem::path(o.manifest);
    const auto cache = feature_cache(system, o.no_cache);
    const auto examples = load_with_progress(system, cache.get(), manifest, "clips");
    const Evaluation e = ask(system, examples, o);
    const int64_t cut_answers = cut(e, system, o);
    if (!o.run.empty()) {
        AnsweredSet answered{manifest.stem().string(), pointers_to(examples)};
        (o.head == "ctc" ? answered.ctc : o.head == "joint" ? answered.joint : answered.llm) = &e;
        record_evaluation(RunFolder::open(o.run), answered);
        write_report(o.run);
    }
    if (!o.out.empty()) {
        std::string lines;
        for (const Answer& a : e.answers)
            lines += nlohmann::ordered_json{{"id", a.id}, {"reference", a.reference}, {"answer", a.text}}.dump() + '\n';
        write_file_atomically(o.out, lines);
    }
    if (o.json) {
        nlohmann::ordered_json j = {{"adapter", file.string()}, {"manifest", manifest.string()},
                                    {"head", o.head},           {"clips", e.answers.size()},
                                    {"exact", e.exact},         {"accuracy", e.accuracy()}};
        if (o.head == "llm") j["cut"] = cut_answers;
        add_rates(j, e.rates);
        write_json(j, "-");
    } else {
        if (cut_answers > 0)
            std::printf("%ld answers were cut at the limit of new tokens (data.max_new_tokens of the preset)\n",
                        cut_answers);
        std::printf("%s\nraw:        %s\nnormalised: %s\n", summary(e).c_str(),
                    format_rates(e.rates.words, e.rates.characters).c_str(),
                    format_rates(e.rates.normal_words, e.rates.normal_characters).c_str());
    }
    return 0;
}

}  // namespace

WAVLLM_COMMAND(eval, {"eval", "WER, CER and exact answers of a trained adapter on a manifest",
                      "wavllm eval --run runs/small-digits --manifest samples/digits_test.tsv", [](cli::App& app) {
                          auto o = std::make_shared<Options>();
                          app.add_option("--run", o->run, "folder of a run; the result joins its report");
                          app.add_option("--adapter", o->adapter, "an adapter.safetensors");
                          app.add_option("--manifest", o->manifest, "TSV or JSONL (default: data.test of the preset)");
                          app.add_option("--out", o->out, "write every answer here, one JSON object a line");
                          app.add_option("--head", o->head,
                                         "llm; ctc: the adapter's own cheap decoder; joint: a beam search by both")
                              ->one_of({"llm", "ctc", "joint"})
                              ->capture_default_str();
                          const cli::Option* ctc_weight =
                              app.add_option("--ctc-weight", o->ctc_weight, "of the CTC head in --head joint")
                                  ->range(0.0, 1.0)
                                  ->capture_default_str();
                          add_decode_flags(app, o->decode, true);
                          add_frozen(app, o->frozen);
                          app.add_option("--batch", o->batch, "requests decoded together")->capture_default_str();
                          app.add_flag("--json", o->json, "print the result as JSON");
                          add_no_cache(app, o->no_cache);
                          return [o, ctc_weight] {
                              o->has_ctc_weight = ctc_weight->given();
                              return eval(*o);
                          };
                      }});

}  // namespace wavllm
