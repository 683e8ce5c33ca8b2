#include "data/split/split.h"

#include <algorithm>
#include <set>

#include "data/audio.h"
#include "data/check/check.h"
#include "data/check/word_runs.h"
#include "data/manifest.h"
#include "data/manifest_writer.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

std::string with_corpus(const ManifestRow& row) {
    const auto source = row.extra.find("source");
    return corpus_of(source == row.extra.end() ? "" : source->second) + "/" + row.speaker;
}

bool names(const std::vector<std::string>& list, const ManifestRow& row) {
    return std::find(list.begin(), list.end(), row.speaker) != list.end() ||
           std::find(list.begin(), list.end(), with_corpus(row)) != list.end();
}

void check_known(const std::vector<std::string>& list, const std::vector<ManifestRow>& rows, const char* flag) {
    for (const std::string& name : list) {
        if (std::any_of(rows.begin(), rows.end(), [&](const ManifestRow& r) { return names({name}, r); })) continue;
        std::set<std::string> known;
        for (const ManifestRow& r : rows) known.insert(r.speaker);
        const std::vector<std::string> sorted(known.begin(), known.end());
        throw UsageError("{}: there is no speaker \"{}\"; did you mean {}?", flag, printable(name),
                         nearest_name(name, sorted));
    }
}

SplitReport::Part write_part(const std::filesystem::path& file, std::vector<ManifestRow> rows, const WordRuns& apart) {
    SplitReport::Part part;
    part.manifest = file;
    part.dropped = static_cast<int64_t>(
        std::erase_if(rows, [&](const ManifestRow& r) { return apart.find(r.tgt_text).has_value(); }));
    if (rows.empty()) throw UsageError("{} would have no rows; name other speakers", file.string());
    std::set<std::string> speakers;
    for (const ManifestRow& r : rows) {
        speakers.insert(with_corpus(r));
        part.hours += static_cast<double>(r.n_frames.value_or(0)) / kSampleRate / 3600;
    }
    part.rows = static_cast<int64_t>(rows.size());
    part.speakers = static_cast<int64_t>(speakers.size());
    write_manifest(file, rows);
    return part;
}

}  // namespace

SplitReport split_manifest(const SplitOptions& o) {
    if (o.manifests.empty()) throw UsageError("--manifest is missing: name the manifest to split");
    if (o.out.empty()) throw UsageError("--out is missing: name the folder for the three manifests");
    if (o.test.empty() || o.valid.empty())
        throw UsageError("name the speakers of test and validation with --test-speakers and --valid-speakers");
    std::vector<ManifestRow> rows;
    for (const auto& file : o.manifests)
        for (ManifestRow& row : read_manifest(file)) {
            if (o.plain) row.tgt_text = plain_text(row.tgt_text);
            rows.push_back(std::move(row));
        }
    check_known(o.test, rows, "--test-speakers");
    check_known(o.valid, rows, "--valid-speakers");

    std::vector<ManifestRow> train, valid, test;
    for (ManifestRow& row : rows) {
        const bool in_test = names(o.test, row), in_valid = names(o.valid, row);
        if (in_test && in_valid) throw UsageError("speaker {} is named for validation and for test", with_corpus(row));
        (in_test ? test : in_valid ? valid : train).push_back(std::move(row));
    }
    WordRuns test_runs, both_runs;
    for (const ManifestRow& r : test) {
        test_runs.add(r.tgt_text);
        both_runs.add(r.tgt_text);
    }
    for (const ManifestRow& r : valid) both_runs.add(r.tgt_text);
    std::filesystem::create_directories(o.out);
    SplitReport report;
    report.test = write_part(o.out / "test.tsv", std::move(test), {});
    report.valid = write_part(o.out / "valid.tsv", std::move(valid), test_runs);
    report.train = write_part(o.out / "train.tsv", std::move(train), both_runs);
    return report;
}

}  // namespace wavllm
