#include "models/preset/preset.h"

#include <map>
#include <variant>

#include "data/json.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

using Pointer = std::variant<std::string*, int64_t*, double*, bool*>;

/// Every value by its dotted name, in the order they are written.
template <class Visit>
void each_value(Preset& p, Visit&& visit) {
    visit("name", &p.name);
    visit("model.whisper", &p.model.whisper);
    visit("model.llm", &p.model.llm);
    visit("model.chat_template", &p.model.chat_template);
    visit("model.encoder_padding", &p.model.encoder_padding);
    visit("model.frozen_dtype", &p.model.frozen_dtype);
    visit("adapter.mid", &p.adapter.mid);
    visit("adapter.dim", &p.adapter.dim);
    visit("adapter.bottleneck", &p.adapter.bottleneck);
    visit("adapter.output_norm", &p.adapter.output_norm);
    visit("lora.rank", &p.lora.rank);
    visit("lora.alpha", &p.lora.alpha);
    visit("lora.dropout", &p.lora.dropout);
    visit("data.train", &p.data.train);
    visit("data.valid", &p.data.valid);
    visit("data.test", &p.data.test);
    visit("data.prompt", &p.data.prompt);
    visit("data.batch_seconds", &p.data.batch_seconds);
    visit("data.batch_clips", &p.data.batch_clips);
    visit("data.bucket_batches", &p.data.bucket_batches);
    visit("data.max_new_tokens", &p.data.max_new_tokens);
    visit("train.steps", &p.train.steps);
    visit("train.accumulate", &p.train.accumulate);
    visit("train.seed", &p.train.seed);
    visit("train.adapter_rate", &p.train.adapter_rate);
    visit("train.lora_rate", &p.train.lora_rate);
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
}

std::map<std::string, Pointer> table_of(Preset& p) {
    std::map<std::string, Pointer> table;
    each_value(p, [&](const char* name, auto* value) { table.emplace(name, value); });
    return table;
}

Pointer find(const std::map<std::string, Pointer>& table, const std::string& name, const std::string& source) {
    const auto it = table.find(name);
    if (it != table.end()) return it->second;
    std::vector<std::string> known;
    for (const auto& [k, v] : table) known.push_back(k);
    throw UsageError("{}: unknown value \"{}\"; the nearest known one is \"{}\"", source, printable(name),
                     nearest_name(name, known));
}

const char* type_of(const Pointer& p) {
    static constexpr const char* names[] = {"a text", "a whole number", "a number", "true or false"};
    return names[p.index()];
}

void assign(const Pointer& target, const std::string& name, const nlohmann::json& v, const std::string& source) {
    const auto wrong = [&] {
        throw UsageError("{}: \"{}\" must be {}, but is {}", source, name, type_of(target), printable(v.dump()));
    };
    std::visit(
        [&](auto* p) {
            using T = std::remove_pointer_t<decltype(p)>;
            if constexpr (std::is_same_v<T, std::string>) {
                if (!v.is_string()) wrong();
            } else if constexpr (std::is_same_v<T, bool>) {
                if (!v.is_boolean()) wrong();
            } else if constexpr (std::is_same_v<T, int64_t>) {
                if (!v.is_number_integer()) wrong();
            } else {
                if (!v.is_number()) wrong();
            }
            *p = v.get<T>();
        },
        target);
}

void assign_object(const std::map<std::string, Pointer>& table, const std::string& prefix, const nlohmann::json& object,
                   const std::string& source) {
    for (const auto& [key, v] : object.items()) {
        const std::string name = prefix + key;
        if (v.is_object())
            assign_object(table, name + ".", v, source);
        else
            assign(find(table, name, source), name, v, source);
    }
}

void override_value(const std::map<std::string, Pointer>& table, const std::string& text) {
    const std::string source = "--set " + text;
    const size_t equals = text.find('=');
    if (equals == std::string::npos) throw UsageError("{}: expected NAME=VALUE", source);
    const std::string name = text.substr(0, equals), value = text.substr(equals + 1);
    const Pointer target = find(table, name, source);
    if (std::holds_alternative<std::string*>(target)) return void(*std::get<std::string*>(target) = value);
    const nlohmann::json v = nlohmann::json::parse(value, nullptr, false);
    assign(target, name, v.is_discarded() ? nlohmann::json(value) : v, source);
}

void check(const Preset& p, const std::string& source) {
    const auto expect = [&](bool good, const char* what) {
        if (!good) throw UsageError("{}: {}", source, what);
    };
    const auto one_of = [&](const char* name, const std::string& v, std::initializer_list<const char*> allowed) {
        for (const char* a : allowed)
            if (v == a) return;
        throw UsageError("{}: \"{}\" must be one of {}, but is \"{}\"", source, name, fmt::join(allowed, ", "),
                         printable(v));
    };
    one_of("model.chat_template", p.model.chat_template, {"chatml", "llama2"});
    one_of("model.encoder_padding", p.model.encoder_padding, {"30s", "tight"});
    one_of("model.frozen_dtype", p.model.frozen_dtype, {"f32", "bf16"});
    one_of("train.decay", p.train.decay, {"cosine", "linear", "constant"});
    constexpr int64_t kLargest = 1 << 20;
    expect(p.adapter.mid > 0 && p.adapter.mid % 2 == 0 && p.adapter.mid < kLargest,
           "adapter.mid must be positive and even");
    expect(p.adapter.dim > 0 && p.adapter.dim < kLargest && p.adapter.bottleneck > 0 && p.adapter.bottleneck < kLargest,
           "adapter.dim and adapter.bottleneck must be positive");
    expect(p.lora.rank > 0 && p.lora.rank < kLargest, "lora.rank must be positive");
    expect(p.lora.dropout >= 0 && p.lora.dropout < 1, "lora.dropout must be at least 0 and below 1");
    expect(p.data.batch_seconds > 0 && p.data.batch_clips > 0 && p.data.bucket_batches > 0 && p.data.max_new_tokens > 0,
           "data.batch_seconds, batch_clips, bucket_batches and max_new_tokens must be positive");
    expect(p.train.steps > 0 && p.train.accumulate > 0 && p.train.seed >= 0,
           "train.steps and accumulate must be positive, seed not negative");
    expect(p.train.warmup_steps >= 0 && p.train.adapter_rate >= 0 && p.train.lora_rate >= 0,
           "train.warmup_steps and learning rates must not be negative");
    expect(p.train.beta1 >= 0 && p.train.beta1 < 1 && p.train.beta2 >= 0 && p.train.beta2 < 1,
           "train.beta1 and beta2 must be in [0, 1)");
    expect(p.train.save_every > 0 && p.train.keep > 0 && p.train.validate_every >= 0 && p.train.validate_clips >= 0,
           "train.save_every and keep must be positive, validate_every and validate_clips not negative");
}

}  // namespace

nlohmann::ordered_json Preset::to_json() const {
    nlohmann::ordered_json json;
    Preset copy = *this;
    each_value(copy, [&](const std::string& key, const auto* value) {
        const size_t dot = key.find('.');
        (dot == std::string::npos ? json[key] : json[key.substr(0, dot)][key.substr(dot + 1)]) = *value;
    });
    return json;
}

Preset parse_preset(const nlohmann::json& json, const std::string& source, std::span<const std::string> overrides) {
    if (!json.is_object()) throw UsageError("{}: a preset is a JSON object", source);
    Preset p;
    const auto table = table_of(p);
    assign_object(table, "", json, source);
    for (const std::string& text : overrides) override_value(table, text);
    check(p, source);
    return p;
}

Preset load_preset(const std::filesystem::path& path, std::span<const std::string> overrides) {
    return parse_preset(read_json_file(path), path.string(), overrides);
}

}  // namespace wavllm
