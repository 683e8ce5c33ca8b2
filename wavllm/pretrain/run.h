#pragma once
// What the commands of pre-training share: how a run begins or goes on, and how it is shown.

#include <fmt/format.h>

#include <string>
#include <utility>

#include "data/progress.h"
#include "tensor/error.h"
#include "train/pretrain/loop.h"
#include "wavllm/command.h"

namespace wavllm {

/// Options of the command's own, beside --out and --resume, that were given. A resumed run has them in pretrain.json; throws
/// UsageError, since they would have no effect.
inline void refuse_beside_resume(const cli::App& app) {
    for (const std::string& name : app.given())
        if (name != "--out" && name != "--resume")
            throw UsageError("pretrain {}: a resumed run has its options in pretrain.json; leave {} out",
                             app.get_name(), name);
}

/// The folder `out` and the options of its run: made for those that were given, which are checked before anything is
/// written, or opened with its own.
template <class Options>
std::pair<PretrainFolder, Options> open_run(const cli::App& app, const std::string& out, bool resume,
                                            const Options& given) {
    if (resume)
        refuse_beside_resume(app);
    else
        given.check("pretrain " + app.get_name());
    PretrainFolder folder = resume ? PretrainFolder::open(out) : PretrainFolder::create(out, given.to_json());
    Options options = Options::from_json(folder.options(), (folder.path() / "pretrain.json").string());
    return {std::move(folder), std::move(options)};
}

/// Trains with a progress bar, beside which text(line) stands after each step. False: stopped by a signal, and how to go on
/// is said.
template <class Training, class Text>
bool train_to_end(const cli::App& app, const std::string& out, int64_t steps, Training& training, Text text) {
    Progress bar("pretrain", steps, "steps");
    bool first = true;
    const PretrainReport report = training.run([&](int64_t done, const nlohmann::ordered_json& line) {
        if (first) bar.resume_at(done - 1);
        first = false;
        bar.update(done, text(line));
    });
    bar.finish();
    if (report.stopped)
        fmt::print("stopped after step {}; go on with: wavllm pretrain {} --resume --out {}\n", report.steps_done,
                   app.get_name(), out);
    return !report.stopped;
}

}  // namespace wavllm
