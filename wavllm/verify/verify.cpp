#include "wavllm/verify/verify.h"

#include "data/json.h"
#include "models/checkpoint/checkpoint.h"
#include "wavllm/verify/golden_folder.h"
#include "wavllm/verify/real/real.h"
#include "wavllm/verify/tiny.h"
#include "wavllm/verify/torch_files.h"

namespace wavllm::verify {

namespace {

namespace fs = std::filesystem;

struct TinyFamily {
    const char* name;
    void (*check)(Tiny&);
};
// In this order: a later one goes on from what an earlier one computed.
constexpr TinyFamily kTiny[] = {{"tables", check_tables},
                                {"tokens", check_tokens},
                                {"whisper", check_whisper},
                                {"wavlm", check_wavlm},
                                {"bridge", check_bridge},
                                {"llama", check_llama},
                                {"prompt adapter", check_prompt_adapter},
                                {"stages", check_stages},
                                {"training", check_training},
                                {"decoding", check_decoding}};

struct RealFamily {
    const char* name;
    void (*check)(Real&);
};
constexpr RealFamily kReal[] = {
    {"tokenizers", check_real_tokenizers}, {"smollm2", check_smollm2}, {"whisper-base", check_whisper_base}};

/// A missing or damaged file ends everything with one line; whatever else goes wrong is this family's failure.
template <class Families, class State>
void run_all(const Families& families, State& state, Comparison& c) {
    for (const auto& family : families) try {
            family.check(state);
        } catch (const FileError&) {
            throw;
        } catch (const Error& e) {
            c.broke(family.name, e.what());
        }
}

/// The folder that holds speech/ and tokenizer/: "data" beside the golden folder, or beside the one it lies in.
fs::path data_folder(const Options& options) {
    if (!options.data.empty()) return options.data;
    fs::path folder = fs::absolute(options.golden).lexically_normal();
    for (int up = 0; up < 3; ++up) {
        if (fs::exists(folder / "data" / "tokenizer")) return folder / "data";
        folder = folder.parent_path();
    }
    throw FileError("{}: no folder data/tokenizer beside it; say where it is with --data", options.golden.string());
}

void dump(const Comparison& c, const fs::path& folder) {
    fs::create_directories(folder);
    std::map<std::string, std::vector<Comparison::Value>> files;
    for (Comparison::Value& v : c.values()) {
        v.value = v.value.to_contiguous();
        files[v.file].push_back(std::move(v));
    }
    for (const auto& [file, values] : files) {
        std::vector<TensorToStore> tensors;
        for (const auto& v : values)
            tensors.push_back({v.name,
                               v.value.dtype(),
                               {v.value.shape().begin(), v.value.shape().end()},
                               {static_cast<const std::byte*>(v.value.raw()), v.value.bytes()}});
        const bool as_is = file.ends_with(".safetensors");
        write_safetensors(folder / (as_is ? file : file + ".safetensors"), tensors);
    }
}

}  // namespace

Report run(const Options& options) {
    const fs::path& golden = options.golden;
    const bool tiny = fs::exists(golden / "case.json"), real = fs::exists(golden / "smollm2.json");
    if (!tiny && !real)
        throw FileError("{}: {}; --golden wants a folder that holds case.json or smollm2.json", golden.string(),
                        fs::exists(golden) ? "no golden values here" : "no such folder");
    Comparison c(options.only);
    try {
        if (tiny) {
            nlohmann::json description = read_json_file(golden / "case.json");
            expect_tiny(c, golden, description);
            Tiny state(c, golden, data_folder(options), std::move(description));
            run_all(kTiny, state, c);
            check_torch_files(c, golden);
        }
        if (real) {
            Real state{c, golden, data_folder(options), options.sources};
            run_all(kReal, state, c);
        }
    } catch (const nlohmann::json::exception& e) {
        throw FileError("{}: its JSON is not that of a golden folder: {}", golden.string(), e.what());
    }
    if (!options.dump.empty()) dump(c, options.dump);
    return c.report();
}

}  // namespace wavllm::verify
