#include "wavllm/support/origin.h"

#include <ctime>
#include <fstream>
#include <iterator>

#include "kernels/linear/packed_weight.h"
#include "models/sha256.h"
#include "tensor/atomic_file.h"
#include "tensor/text.h"
#include "tensor/thread_pool.h"
#include "train/start.h"
#include "wavllm/report/report.h"
#include "wavllm/support/home.h"
#include "wavllm/support/model_files.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

void add_file(ordered_json& files, const std::string& what, const std::string& name, const fs::path& path) {
    files.push_back({{"what", what}, {"name", name}, {"sha256", sha256_file(path)}});
}

/// The name of a model's file, without the digest that the download cache puts before it.
void add_model_file(ordered_json& files, const std::string& what, const std::string& model, const fs::path& path) {
    const std::string digest = sha256_file(path), prefix = digest.substr(0, 16) + "-";
    std::string name = path.filename().string();
    if (name.starts_with(prefix)) name = name.substr(prefix.size());
    files.push_back({{"what", what}, {"name", fmt::format("{}: {}", model, name)}, {"sha256", digest}});
}

/// The files of a model, whether it has a name, is a file, or is a folder.
void add_model(ordered_json& files, const std::string& what, const std::string& name, bool random) {
    if (random) return files.push_back({{"what", what}, {"name", name + " (random weights)"}, {"sha256", ""}});
    for (const auto& [role, path] : find_model(name).files) {
        if (!fs::is_directory(path)) {
            add_model_file(files, what, name, path);
            continue;
        }
        std::vector<fs::path> inside;
        for (const auto& entry : fs::directory_iterator(path))
            if (entry.is_regular_file()) inside.push_back(entry.path());
        std::sort(inside.begin(), inside.end());
        for (const fs::path& file : inside) add_model_file(files, what, name, file);
    }
}

void add_manifests(ordered_json& files, const char* what, const Manifests& manifests) {
    for (const auto& [set, manifest] : manifests) {
        const fs::path path = home_folder() / manifest;
        if (fs::exists(path)) add_file(files, what, fmt::format("{}: {}", set, manifest), path);
    }
}

std::string processor() {
    std::ifstream in("/proc/cpuinfo");
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    return "";
}

/// As it was typed, but without the program's folder.
std::string command_line() {
    std::ifstream in("/proc/self/cmdline", std::ios::binary);
    const std::string all{std::istreambuf_iterator<char>(in), {}};
    std::string text;
    for (size_t begin = 0; begin < all.size();) {
        const size_t end = std::min(all.find('\0', begin), all.size());
        std::string word = all.substr(begin, end - begin);
        if (begin == 0) word = fs::path(word).filename().string();
        if (word.empty() || word.find_first_of(" \t'\"$&|;<>()*?\\") != std::string::npos) {
            std::string quoted;
            for (char c : word) c == '\'' ? quoted += "'\\''" : quoted += c;
            word = "'" + quoted + "'";
        }
        text += (text.empty() ? "" : " ") + word;
        begin = end + 1;
    }
    return valid_utf8(text);
}

std::string now_utc() {
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    gmtime_r(&now, &utc);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &utc);
    return text;
}

}  // namespace

void record_origin(RunFolder& run, const System& system) {
    const Preset& p = run.preset();
    ordered_json files = ordered_json::array(), parameters = ordered_json::object();
    add_model(files, "speech encoder", p.model.whisper, p.model.random_weights);
    if (!p.model.wavlm.empty()) add_model(files, "acoustic encoder", p.model.wavlm, p.model.random_weights);
    add_model(files, "language model", p.model.llm, p.model.random_weights);
    if (!p.train.from.empty()) add_file(files, "start", p.train.from, start_file(p.train.from, home_folder()));
    add_manifests(files, "training clips", p.data.train);
    add_manifests(files, "validation clips", p.data.valid);
    add_manifests(files, "test clips", p.data.test);
    for (const Parameter& parameter : system.model->parameters())
        parameters[parameter.group] = parameters.value(parameter.group, int64_t{0}) + parameter.tensor.numel();
    write_file_atomically(run.path() / "base.json",
                          ordered_json{{"files", files}, {"parameters", parameters}}.dump(4) + '\n');

    const DType frozen = frozen_dtype(p.model.frozen_dtype);
    run.log_timing({{"session",
                     {{"started", now_utc()},
                      {"threads", num_threads()},
                      {"version", WAVLLM_VERSION},
                      {"commit", built_commit()},
                      {"compiler", fmt::format("GCC {}", __VERSION__)},
                      {"cpu", processor()},
                      {"arithmetic", frozen == DType::f32 ? "f32" : "bf16 products, f32 sums"},
                      {"command", command_line()}}}});
}

}  // namespace wavllm
