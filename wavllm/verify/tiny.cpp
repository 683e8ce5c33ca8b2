#include "wavllm/verify/tiny.h"

#include <algorithm>

#include "data/json.h"
#include "kernels/common/check.h"

namespace wavllm::verify {

using nlohmann::json;

TinyModel::TinyModel(const std::filesystem::path& folder, const json& sizes)
    : checkpoint_(open_checkpoint(folder / "model.safetensors")),
      released_(*checkpoint_, {.whisper = sizes.at("whisper").at("heads"), .llama = sizes.at("llama").at("heads")}),
      llama_(std::make_shared<const Llama>(released_.llama())) {}

Wavllm TinyModel::fresh(int stage) const {
    return released_.model(llama_, /*with_prompt_adapter=*/stage == 2);
}

Tiny::Tiny(Comparison& comparison, std::filesystem::path golden, std::filesystem::path data_folder, json case_json)
    : c(comparison),
      folder(std::move(golden)),
      data(std::move(data_folder)),
      description(std::move(case_json)),
      tokens(read_json_file(folder / "tokens.json")),
      model(folder, description.at("config")) {
    const auto ids = [](const json& j) { return j.get<std::vector<int32_t>>(); };
    for (const auto& [name, fact] : description.at("facts").at("samples").items()) {
        const json& rows = tokens.at("rows");
        size_t row = 0;
        while (row < rows.size() && rows[row].at("prompt") != fact.at("prompt")) ++row;
        if (row == rows.size())
            throw FileError("{}: no row has the prompt of sample {}", (folder / "tokens.json").string(), name);
        samples.push_back({name,
                           row,
                           {ids(tokens.at("left")), ids(rows[row].at("right")), ids(rows[row].at("target_ids")),
                            ids(rows[row].at("prompt_adapter"))},
                           fact.at("speech_tokens"),
                           fact.at("chunks"),
                           fact.at("whisper_frames_kept")});
    }
}

bool Tiny::wants_sequences() const {
    return std::any_of(samples.begin(), samples.end(), [&](const Sample& s) { return c.wanted("llama_" + s.name); });
}

bool Tiny::wants_encoders() const {
    if (model_dtype() == DType::f64 && c.wanted("train_")) return true;  // own_alone
    return c.wanted("audio_") || wants_sequences() || c.wanted("decode_") || c.wanted("case.json");
}

Tensor equal_borders(int64_t sequences, int64_t rows) {
    const std::vector<int64_t> lengths(static_cast<size_t>(sequences), rows);
    return kernels::make_borders(lengths);
}

Tensor rows_of(const Tensor& t, const Tensor& borders, int64_t i) {
    const int64_t* b = borders.data<int64_t>();
    return t.slice(0, b[i], b[i + 1]).to_contiguous();
}

Tensor every_nth(const Tensor& t, int64_t step) {
    const int64_t n = (t.shape().last() + step - 1) / step;
    const std::vector<double> all = t.values();
    std::vector<double> some;
    for (int64_t r = 0; r < t.rows(); ++r)
        for (int64_t i = 0; i < n; ++i) some.push_back(all[static_cast<size_t>(r * t.shape().last() + i * step)]);
    return Tensor::from(some, t.shape().with(t.rank() - 1, n)).to(t.dtype());
}

}  // namespace wavllm::verify
