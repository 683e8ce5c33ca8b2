#include "models/preset/preset.h"

#include <algorithm>

#include "data/json.h"
#include "models/lora/lora.h"
#include "models/preset/ranges.h"
#include "models/preset/values.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

/// Every value by its dotted name, in the order they are written.
template <class Visit>
void each_value(Preset& p, Visit&& visit) {
    visit("name", &p.name);
    visit("model.whisper", &p.model.whisper);
    visit("model.wavlm", &p.model.wavlm);
    visit("model.llm", &p.model.llm);
    visit("model.chat_template", &p.model.chat_template);
    visit("model.random_weights", &p.model.random_weights);
    visit("model.tokenizer", &p.model.tokenizer);
    visit("model.encoder_padding", &p.model.encoder_padding);
    visit("model.frozen_dtype", &p.model.frozen_dtype);
    visit("model.norm_eps", &p.model.norm_eps);
    visit("adapter.mid", &p.adapter.mid);
    visit("adapter.acoustic_mid", &p.adapter.acoustic_mid);
    visit("adapter.dim", &p.adapter.dim);
    visit("adapter.taps", &p.adapter.taps);
    visit("adapter.bottleneck", &p.adapter.bottleneck);
    visit("adapter.out", &p.adapter.out);
    visit("adapter.output_norm", &p.adapter.output_norm);
    visit("connector.kind", &p.connector.kind);
    visit("connector.window", &p.connector.window);
    visit("connector.queries", &p.connector.queries);
    visit("connector.dim", &p.connector.dim);
    visit("connector.heads", &p.connector.heads);
    visit("connector.ffn", &p.connector.ffn);
    visit("connector.layers", &p.connector.layers);
    visit("connector.pool", &p.connector.pool);
    visit("lora.rank", &p.lora.rank);
    visit("lora.alpha", &p.lora.alpha);
    visit("lora.dropout", &p.lora.dropout);
    visit("lora.targets", &p.lora.targets);
    visit("prompt_adapter.hidden", &p.prompt_adapter.hidden);
    visit("prompt_adapter.clamp", &p.prompt_adapter.clamp);
    visit("decode.temperature", &p.decode.temperature);
    visit("decode.top_k", &p.decode.top_k);
    visit("decode.top_p", &p.decode.top_p);
    visit("decode.seed", &p.decode.seed);
    visit("decode.beams", &p.decode.beams);
    visit("decode.length_penalty", &p.decode.length_penalty);
    visit("decode.lora_scale", &p.decode.lora_scale);
    visit("decode.begin_with_bos", &p.decode.begin_with_bos);
    visit("decode.count_prompt", &p.decode.count_prompt);
    visit("data.train", &p.data.train);
    visit("data.valid", &p.data.valid);
    visit("data.test", &p.data.test);
    visit("data.prompt", &p.data.prompt);
    visit("data.batch_seconds", &p.data.batch_seconds);
    visit("data.batch_clips", &p.data.batch_clips);
    visit("data.bucket_batches", &p.data.bucket_batches);
    visit("data.max_new_tokens", &p.data.max_new_tokens);
    visit("ctc.merges", &p.ctc.merges);
    visit("ctc.draft", &p.ctc.draft);
    visit("ctc.frequent", &p.ctc.frequent);
    visit("ctc.random", &p.ctc.random);
    visit("ctc.drop_blanks", &p.ctc.drop_blanks);
    visit("ctc.blank_margin", &p.ctc.blank_margin);
    visit("ctc.drop_repeats", &p.ctc.drop_repeats);
    visit("train.steps", &p.train.steps);
    visit("train.accumulate", &p.train.accumulate);
    visit("train.seed", &p.train.seed);
    visit("train.from", &p.train.from);
    visit("train.from_changes", &p.train.from_changes);
    visit("train.adapter_rate", &p.train.adapter_rate);
    visit("train.lora_rate", &p.train.lora_rate);
    visit("train.prompt_rate", &p.train.prompt_rate);
    visit("train.trains", &p.train.trains);
    visit("train.warmup_steps", &p.train.warmup_steps);
    visit("train.decay", &p.train.decay);
    visit("train.final_rate", &p.train.final_rate);
    visit("train.beta1", &p.train.beta1);
    visit("train.beta2", &p.train.beta2);
    visit("train.eps", &p.train.eps);
    visit("train.weight_decay", &p.train.weight_decay);
    visit("train.clip_norm", &p.train.clip_norm);
    visit("train.checkpoint_activations", &p.train.checkpoint_activations);
    visit("train.save_every", &p.train.save_every);
    visit("train.keep", &p.train.keep);
    visit("train.validate_every", &p.train.validate_every);
    visit("train.validate_clips", &p.train.validate_clips);
    visit("train.adapter_dtype", &p.train.adapter_dtype);
}

/// The same for a stage; names are those within it.
template <class Visit>
void each_value(Stage& s, Visit&& visit) {
    visit("name", &s.name);
    visit("steps", &s.steps);
    visit("trains", &s.trains);
    visit("adapter_rate", &s.adapter_rate);
    visit("lora_rate", &s.lora_rate);
    visit("prompt_rate", &s.prompt_rate);
    visit("warmup_steps", &s.warmup_steps);
    visit("decay", &s.decay);
    visit("final_rate", &s.final_rate);
    visit("ce_weight", &s.ce_weight);
    visit("ctc_weight", &s.ctc_weight);
    visit("shares", &s.shares);
    visit("min_seconds", &s.min_seconds);
    visit("max_seconds", &s.max_seconds);
    visit("batch_seconds", &s.batch_seconds);
    visit("batch_clips", &s.batch_clips);
    visit("time_mask", &s.time_mask);
    visit("time_mask_frames", &s.time_mask_frames);
    visit("channel_mask", &s.channel_mask);
    visit("channel_mask_width", &s.channel_mask_width);
    visit("feature_dropout", &s.feature_dropout);
}

template <class T>
ValueTable table_of(T& t, const std::string& prefix = "") {
    ValueTable table;
    each_value(t, [&](const char* name, auto* value) { table.emplace(prefix + name, value); });
    return table;
}

/// Throws UsageError for an override of a value that every stage of the preset says itself: it would change nothing.
void check_reaches_stages(const std::string& text, const nlohmann::ordered_json& stages) {
    Stage s;
    const ValueTable of_stage = table_of(s);
    const std::string name = text.substr(0, text.find('='));
    const size_t dot = name.find('.');
    const std::string group = name.substr(0, dot), key = dot == std::string::npos ? "" : name.substr(dot + 1);
    if ((group != "train" && group != "data") || !of_stage.contains(key) || !stages.is_array() || stages.empty())
        return;
    std::vector<std::string> ways;
    for (const auto& stage : stages) {
        if (!stage.is_object() || !stage.contains(key)) return;
        const auto own = stage.find("name");
        const bool named = own != stage.end() && own->is_string();
        ways.push_back(fmt::format("--set stages.{}.{}", named ? printable(own->get<std::string>()) : "NAME", key));
    }
    throw UsageError("--set {}: every stage of this preset says its own {}; say {}{}", printable(text), key,
                     fmt::join(ways, " or "), key == "steps" ? " (and not --steps)" : "");
}

/// What a stage is where the preset does not say.
Stage default_stage(const Preset& p) {
    Stage s;
    s.steps = p.train.steps;
    s.adapter_rate = p.train.adapter_rate;
    s.lora_rate = p.train.lora_rate;
    s.prompt_rate = p.train.prompt_rate;
    s.trains = p.train.trains;
    s.warmup_steps = p.train.warmup_steps;
    s.decay = p.train.decay;
    s.final_rate = p.train.final_rate;
    s.batch_seconds = p.data.batch_seconds;
    s.batch_clips = p.data.batch_clips;
    return s;
}

void check_stage(const Preset& p, const Stage& s, const std::string& source) {
    const std::string at = fmt::format("{}: stage \"{}\"", source, printable(s.name));
    const auto expect = [&](bool good, const char* what) {
        if (!good) throw UsageError("{}: {}", at, what);
    };
    Stage copy = s;
    check_ranges(table_of(copy, "stage."), at);
    one_of(at, "trains", s.trains,
           {"adapter", "lora", "adapter+lora", "prompt", "adapter+prompt", "lora+prompt", "adapter+lora+prompt"});
    expect(!s.does_train("prompt") || p.prompt_adapter.hidden > 0,
           "it trains the prompt adapter, but prompt_adapter.hidden is 0: give it a size (the paper's has 1024)");
    one_of(at, "decay", s.decay, {"cosine", "linear", "constant"});
    expect(!s.name.empty() && s.name.find_first_of(".=") == std::string::npos,
           "a stage's name must not be empty nor contain '.' or '='");
    expect(s.ce_weight + s.ctc_weight > 0, "one of ce_weight and ctc_weight must be positive");
    expect(s.ce_weight > 0 || s.trains == "adapter",
           "without ce_weight the LLM does not run: it can only train the adapter");
    expect(s.max_seconds == 0 || s.max_seconds > s.min_seconds, "max_seconds must be 0 or above min_seconds");
    std::vector<std::string> sets;
    for (const auto& [name, path] : p.data.train) sets.push_back(name);
    double sum = 0;
    for (const auto& [name, share] : s.shares) {
        if (std::find(sets.begin(), sets.end(), name) == sets.end())
            throw UsageError("{}: shares: no training set \"{}\"; data.train has: {}", at, printable(name),
                             fmt::join(sets, ", "));
        sum += share;
    }
    expect(s.shares.empty() || sum > 0, "shares must not all be 0");
}

void check(const Preset& p, const std::string& source) {
    const auto expect = [&](bool good, const char* what) {
        if (!good) throw UsageError("{}: {}", source, what);
    };
    Preset copy = p;
    check_ranges(table_of(copy), source);
    one_of(source, "model.chat_template", p.model.chat_template, {"chatml", "llama2"});
    one_of(source, "model.encoder_padding", p.model.encoder_padding, {"30s", "tight"});
    one_of(source, "model.frozen_dtype", p.model.frozen_dtype,
           {"auto", "f32", "bf16", "int8", "q8_0", "q4_1", "q4_0", "q4"});
    one_of(source, "train.decay", p.train.decay, {"cosine", "linear", "constant"});
    one_of(source, "train.adapter_dtype", p.train.adapter_dtype, {"f32", "f16", "bf16"});
    expect(p.adapter.mid % 2 == 0, "adapter.mid must be even");
    expect(p.adapter.acoustic_mid % 2 == 0, "adapter.acoustic_mid must be even");
    expect(p.adapter.taps % 2 == 1, "adapter.taps must be odd");
    one_of(source, "connector.kind", p.connector.kind, {"wavllm", "qformer", "pooled"});
    const auto& c = p.connector;
    if (c.dim % c.heads != 0)
        throw UsageError("{}: connector.heads={} does not divide connector.dim={}", source, c.heads, c.dim);
    expect(c.kind != "pooled" || p.model.wavlm.empty(),
           "connector.kind=pooled hears Whisper alone; leave model.wavlm empty, or choose connector.kind wavllm or "
           "qformer");
    expect(
        c.kind == "wavllm" || !p.has_ctc(),
        "the CTC head (ctc_weight of a stage) is for connector.kind=wavllm: another connector's rows are not laid out "
        "for it");
    lora_targets(p.lora.targets);
    expect(p.decode.beams == 1 || p.decode.temperature == 0,
           "decode: beam search takes the likeliest texts and draws none; give either beams or a temperature");
    expect(p.decode.beams == 1 || !p.decode.count_prompt, "decode.count_prompt needs decode.beams=1");
    expect(!(p.decode.begin_with_bos && p.model.chat_template != "llama2"),
           "decode.begin_with_bos: only the llama2 template has a token of its own before </SPEECH> to put BOS for");
    expect(!(p.ctc.drop_blanks || p.ctc.draft) || p.has_ctc(),
           "ctc.drop_blanks and ctc.draft need a stage with ctc_weight: the head must be trained");
    expect(!p.ctc.drop_repeats || p.ctc.drop_blanks, "ctc.drop_repeats needs ctc.drop_blanks");
    expect(p.train.from_changes.empty() || !p.train.from.empty(),
           "train.from_changes says what may differ from the file in train.from, which is empty");
    if (!p.model.random_weights && !p.model.tokenizer.empty())
        throw UsageError(
            "{}: model.tokenizer={} is for random weights (model.random_weights): a model in files has its own "
            "tokenizer "
            "beside it; leave model.tokenizer empty",
            source, printable(p.model.tokenizer));
    bool lora_moves = !p.train.from.empty();
    for (const Stage& s : p.all_stages()) {
        check_stage(p, s, source);
        lora_moves = lora_moves || s.does_train("lora");
        if (s.does_train("prompt") && !lora_moves)
            throw UsageError(
                "{}: stage \"{}\" trains the prompt adapter on a LoRA whose B is still zero, so no gradient would "
                "reach "
                "it: begin with a first stage's file (train.from=FILE), train LoRA in a stage before, or train both "
                "(trains=adapter+lora+prompt)",
                source, printable(s.name));
    }
}

/// Throws UsageError for an override of a value that nothing would read in this preset.
void check_is_read(const Preset& p, const std::string& text) {
    const std::string name = text.substr(0, text.find('='));
    const std::string& kind = p.connector.kind;
    const auto expect = [&](bool read, const std::string& by) {
        if (!read)
            throw UsageError("--set {}: nothing would read it: {} is for {}", printable(text), printable(name), by);
    };
    if (name == "connector.pool")
        expect(kind == "pooled", "connector.kind=pooled");
    else if (name.starts_with("connector.") && name != "connector.kind")
        expect(kind == "qformer", "connector.kind=qformer");
    else if (name.starts_with("adapter.") && name != "adapter.output_norm")
        expect(kind == "wavllm", "connector.kind=wavllm");
    if (name == "adapter.acoustic_mid") expect(!p.model.wavlm.empty(), "a model with WavLM (model.wavlm)");
    if (name.starts_with("ctc.")) expect(p.has_ctc(), "a CTC head, which a stage with a ctc_weight has");
}

/// Stages of the preset's JSON, each on top of what `train` and `data` say, then overrides "stages.NAME.VALUE=...".
void read_stages(Preset& p, const nlohmann::ordered_json& list, const std::string& source,
                 std::span<const std::string> overrides) {
    if (!list.is_array()) throw UsageError("{}: \"stages\" must be a list of objects", source);
    p.stages.clear();
    for (const auto& json : list) {
        if (!json.is_object()) throw UsageError("{}: \"stages\" must be a list of objects", source);
        Stage s = default_stage(p);
        const std::string prefix = fmt::format("stages.{}.", json.value("name", std::to_string(p.stages.size())));
        assign_object(table_of(s, prefix), prefix, json, source);
        p.stages.push_back(s);
    }
    ValueTable table;
    for (Stage& s : p.stages) table.merge(table_of(s, "stages." + s.name + "."));
    for (size_t i = 0; i < p.stages.size(); ++i)
        for (size_t j = 0; j < i; ++j)
            if (p.stages[i].name == p.stages[j].name)
                throw UsageError("{}: two stages are called \"{}\"", source, p.stages[i].name);
    for (const std::string& text : overrides) override_value(table, text);
}

}  // namespace

std::vector<Stage> Preset::all_stages() const {
    return stages.empty() ? std::vector{default_stage(*this)} : stages;
}

int64_t Preset::total_steps() const {
    int64_t steps = 0;
    for (const Stage& s : all_stages()) steps += s.steps;
    return steps;
}

bool Preset::has_ctc() const {
    return std::any_of(stages.begin(), stages.end(), [](const Stage& s) { return s.ctc_weight > 0; });
}

Preset plain_recipe(const Preset& preset) {
    Preset p = preset;
    Stage s = p.all_stages().back();
    s.name = "plain";
    s.steps = preset.total_steps();
    s.trains = "adapter+lora";
    s.ce_weight = 1;
    s.ctc_weight = s.time_mask = s.channel_mask = s.feature_dropout = 0;
    p.stages = {s};
    p.adapter.output_norm = false;
    p.prompt_adapter.hidden = 0;
    p.ctc.drop_blanks = p.ctc.drop_repeats = p.ctc.draft = false;
    p.name += "-plain";
    return p;
}

nlohmann::ordered_json Preset::to_json() const {
    nlohmann::ordered_json json;
    Preset copy = *this;
    each_value(copy, [&](const std::string& key, const auto* value) {
        const size_t dot = key.find('.');
        (dot == std::string::npos ? json[key] : json[key.substr(0, dot)][key.substr(dot + 1)]) = value_json(*value);
    });
    for (Stage& s : copy.stages) {
        nlohmann::ordered_json stage;
        each_value(s, [&](const char* key, const auto* value) { stage[key] = value_json(*value); });
        json["stages"].push_back(stage);
    }
    return json;
}

Preset parse_preset(const nlohmann::ordered_json& json, const std::string& source,
                    std::span<const std::string> overrides) {
    if (!json.is_object()) throw UsageError("{}: a preset is a JSON object", source);
    Preset p;
    const ValueTable table = table_of(p);
    nlohmann::ordered_json values = json;
    values.erase("stages");
    assign_object(table, "", values, source);
    std::vector<std::string> for_stages;
    nlohmann::ordered_json stages = json.value("stages", nlohmann::ordered_json::array());
    for (const std::string& text : overrides) {
        if (text.find('=') == std::string::npos) throw UsageError("--set {}: expected NAME=VALUE", text);
        text.starts_with("stages.") ? for_stages.push_back(text) : override_value(table, text);
        check_reaches_stages(text, stages);
        if (text.starts_with("data.train=") && stages.is_array())
            for (auto& stage : stages)
                if (stage.is_object()) stage.erase("shares");
    }
    read_stages(p, stages, source, for_stages);
    check(p, source);
    for (const std::string& text : overrides) check_is_read(p, text);
    return p;
}

Preset with_overrides(const Preset& preset, std::span<const std::string> overrides) {
    return parse_preset(preset.to_json(), preset.name, overrides);
}

Preset load_preset(const std::filesystem::path& path, std::span<const std::string> overrides) {
    return parse_preset(read_json_file(path), path.string(), overrides);
}

}  // namespace wavllm
