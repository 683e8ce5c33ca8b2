// wavllm verify: this build against a folder of reference tensors.

#include "wavllm/verify/verify.h"

#include <cstdio>

#include "tensor/model_dtype.h"
#include "wavllm/command.h"
#include "wavllm/support/home.h"
#include "wavllm/verify/report.h"

namespace wavllm {

namespace {

std::function<int()> setup(cli::App& app) {
    auto options = std::make_shared<verify::Options>();
    auto json = std::make_shared<bool>(false);
    auto dtype = std::make_shared<std::string>("f32");
    app.add_option("--golden", options->golden, "folder of reference tensors: with case.json or smollm2.json")
        ->required();
    app.add_option("--dump", options->dump, "write what was computed here, as safetensors of the same names");
    app.add_option("--only", options->only, "compare only tensors whose \"file name\" contains this");
    app.add_option("--data", options->data,
                   "folder with speech/ and tokenizer/ (default: found beside the golden one)");
    app.add_option("--dtype", *dtype,
                   "f32, or f64: the same code with every tensor and every op in double, on the cpu, held to float32's "
                   "last digit");
    app.add_flag("--json", *json, "print the report as JSON");
    return [=] {
        options->dtype = parse_model_dtype(*dtype);
        options->sources = home_folder() / "presets" / "sources.json";
        const verify::Report report = verify::run(*options);
        std::fputs(*json ? (verify::json_of(report).dump(2) + "\n").c_str() : verify::text_of(report).c_str(), stdout);
        return report.passed() ? 0 : 1;
    };
}

WAVLLM_COMMAND(verify, {.name = "verify",
                        .description = "compare this build with a folder of reference tensors",
                        .example = "wavllm verify --golden ../shared/golden --dump /tmp/computed",
                        .setup = setup});

}  // namespace

}  // namespace wavllm
