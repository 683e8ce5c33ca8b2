// wavllm convert: from one checkpoint to another, tensor by tensor.

#include "models/convert/convert.h"

#include <array>
#include <map>
#include <optional>

#include "data/json.h"
#include "data/progress.h"
#include "models/checkpoint/identity.h"
#include "models/checkpoint/released.h"
#include "models/convert/config_json.h"
#include "models/convert/gguf.h"
#include "models/convert/hf_tokenizer.h"
#include "models/convert/peft.h"
#include "tensor/error.h"
#include "tensor/text.h"
#include "train/run_folder.h"
#include "wavllm/command.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/model_files.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

struct Options {
    std::string from, to, part = "all", naming, dtype, base, tokenizer;
    int64_t heads = 0, kv_heads = 0;
    double shard_gb = 0, alpha = 0;
    bool peft = false, as_json = false;
};

bool is_gguf_name(const std::string& file) {
    return fs::path(file).extension() == ".gguf";
}

/// given: by the flag, 0 if it is not. known: by the file, likewise. Where both say nothing it is `otherwise`.
int64_t stated(const char* flag, int64_t given, int64_t known, int64_t otherwise, const Checkpoint& from) {
    if (given > 0 && known > 0 && given != known)
        throw UsageError("convert: {} {}: {} says {}; leave the flag out", flag, given, from.path().string(), known);
    return known > 0 ? known : given > 0 ? given : otherwise;
}

ConvertOptions convert_options(const Options& o, const Checkpoint& from) {
    ConvertOptions result;
    for (const auto& [name, part] : {std::pair("whisper", ConvertPart::whisper),
                                     {"wavlm", ConvertPart::wavlm},
                                     {"llama", ConvertPart::llama},
                                     {"adapter", ConvertPart::adapter}})
        if (o.part == name) result.part = part;
    if (!o.naming.empty()) result.naming = o.naming == "hf" ? LlamaNaming::hugging_face : LlamaNaming::meta;
    if (is_gguf_name(o.to)) result.naming = LlamaNaming::gguf;
    for (const DType d :
         {DType::f64, DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_1, DType::q4_0, DType::int8})
        if (name(d) == o.dtype) result.dtype = d;
    // what the file says, or else the flags; of a part no configuration says it
    std::pair<int64_t, int64_t> known{0, 0};
    if (result.part == ConvertPart::all && result.naming != LlamaNaming::as_is) known = heads_of(from);
    result.heads = stated("--heads", o.heads, known.first, o.heads, from);
    result.kv_heads = stated("--kv-heads", o.kv_heads, known.second, result.heads, from);
    return result;
}

int done(const Options& o, ordered_json facts) {
    if (o.as_json)
        write_json(facts, "-");
    else
        for (const auto& [key, value] : facts.items())
            fmt::print("{} {}\n", key, printable(value.is_string() ? value.get<std::string>() : value.dump(), 400));
    return 0;
}

/// The LLaMA that a LoRA belongs to: --base, or the one that an adapter of ours names. Throws FileError if it is not the
/// one that the adapter was trained on.
LlamaConfig base_config(const Options& o, const std::string& named) {
    const std::string& base = o.base.empty() ? named : o.base;
    if (base.empty())
        throw UsageError(
            "convert: --base MODEL must say which LLaMA the LoRA belongs to (its sizes and the order of its "
            "rows)");
    const auto checkpoint = open_checkpoint(find_model(base).model());
    if (!named.empty()) check_adapter_base(o.from, {{"llm", {base, weights_identity(*checkpoint)}}});
    return llama_config(*checkpoint);
}

/// PEFT's LoRA has one strength, but a prompt adapter sets it anew for each instruction.
void expect_one_strength(const Options& o, const Checkpoint& from) {
    size_t tensors = 0;
    for (const StoredTensor& t : from.tensors()) tensors += is_prompt_adapter_name(t.name);
    if (tensors == 0) return;
    if (o.alpha <= 0)
        throw UsageError(
            "convert: {} has a prompt adapter ({} tensors), which sets LoRA's strength r for each instruction; "
            "PEFT's has one strength, alpha / rank: say which with --alpha; the prompt adapter is then left out",
            o.from, tensors);
    fmt::print(stderr,
               "wavllm: {}: its prompt adapter ({} tensors) is left out: LoRA's strength is --alpha / rank for every "
               "instruction, not r\n",
               o.from, tensors);
}

int to_peft(const Options& o) {
    const auto from = open_checkpoint(o.from);
    expect_one_strength(o, *from);
    LoraConfig lora{.alpha = o.alpha, .dropout = 0};
    std::string named;
    std::optional<std::array<bool, 4>> targets;
    const auto meta = from->metadata().find("__metadata__");
    if (meta != from->metadata().end() && meta->contains("preset")) {
        const Preset preset = adapter_preset(o.from);
        named = preset.model.llm;
        lora = {preset.lora.rank, o.alpha > 0 ? o.alpha : preset.lora.alpha, preset.lora.dropout};
        targets = lora_targets(preset.lora.targets);
    }
    if (meta != from->metadata().end() && meta->contains("lora") && (*meta)["lora"].is_string()) {  // from_peft's
        const json said = parse_json((*meta)["lora"].get<std::string>(), o.from);
        const auto number = [&](const char* key) {
            if (!said.is_object() || !said.contains(key) || !said[key].is_number())
                throw FileError("{}: the \"lora\" of its metadata has no number \"{}\"", o.from, key);
            return said[key].get<double>();
        };
        lora = {.alpha = o.alpha > 0 ? o.alpha : number("alpha"), .dropout = number("dropout")};
    }
    if (lora.alpha <= 0) throw UsageError("convert: {} does not say its LoRA's alpha; say --alpha", o.from);
    const LlamaConfig llama = base_config(o, named);
    const LoraFile file = lora_of_checkpoint(*from, llama, lora.alpha, lora.dropout, targets);
    write_peft_folder(o.to, file, llama, o.base.empty() ? named : o.base);
    return done(o, {{"wrote", o.to},
                    {"lora_tensors", file.tensors.size()},
                    {"rank", file.config.rank},
                    {"left_out", from->tensors().size() - file.tensors.size()}});
}

int from_peft(const Options& o) {
    if (fs::path(o.to).extension() != ".safetensors")
        throw UsageError("convert: a PEFT folder becomes one file; let {} end in .safetensors", o.to);
    const LoraFile file = read_peft_folder(o.from, base_config(o, ""));
    std::vector<TensorToStore> tensors;
    tensors.reserve(file.tensors.size());
    for (const auto& [name, t] : file.tensors)
        tensors.push_back({name,
                           t.dtype(),
                           {t.shape().begin(), t.shape().end()},
                           {static_cast<const std::byte*>(t.raw()), t.bytes()}});
    write_safetensors(
        o.to, tensors,
        {{"lora",
          ordered_json{{"rank", file.config.rank}, {"alpha", file.config.alpha}, {"dropout", file.config.dropout}}
              .dump()}});
    return done(o,
                {{"wrote", o.to},
                 {"lora_tensors", tensors.size()},
                 {"rank", file.config.rank},
                 {"note",
                  "a LoRA alone, which convert --peft turns into a folder again; transcribe --adapter and train.from "
                  "need a whole adapter"}});
}

/// How many tensors are of which type.
std::string types_of(const Plan& plan) {
    std::map<std::string_view, size_t> counts;
    for (const PlannedTensor& t : plan.tensors) ++counts[name(t.dtype)];
    std::string text;
    for (const auto& [type, count] : counts) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, type);
    return text;
}

/// Without the one that every file has.
std::string keys_of(const FileMetadata& metadata) {
    std::string text;
    for (const auto& [key, value] : metadata)
        if (key != "format") text += (text.empty() ? "" : ", ") + printable(key);
    return text;
}

/// Throws UsageError for flags that were given and mean nothing where `why`.
void refuse_flags(std::initializer_list<std::pair<const char*, bool>> given, const char* why) {
    for (const auto& [flag, is_given] : given)
        if (is_given) throw UsageError("convert: {}: {}; leave it out", flag, why);
}

int convert(const Options& o) {
    const bool of_peft = !o.peft && fs::exists(fs::path(o.from) / "adapter_config.json");
    if (o.peft || of_peft) {
        refuse_flags({{"--dtype", !o.dtype.empty()},
                      {"--part", o.part != "all"},
                      {"--naming", !o.naming.empty()},
                      {"--tokenizer", !o.tokenizer.empty()},
                      {"--shard-gb", o.shard_gb > 0},
                      {"--heads", o.heads > 0},
                      {"--kv-heads", o.kv_heads > 0}},
                     "a LoRA between PEFT's folder and a file is f32 and takes its names from --base");
        if (of_peft) refuse_flags({{"--alpha", o.alpha > 0}}, "PEFT's folder says it in adapter_config.json");
        return of_peft ? from_peft(o) : to_peft(o);
    }
    refuse_flags({{"--base", !o.base.empty()}, {"--alpha", o.alpha > 0}}, "it is for a LoRA (--peft, PEFT's folder)");
    const bool gguf = is_gguf_name(o.to),
               one_file = gguf || fs::path(o.to).extension() == ".safetensors" || is_torch_name(o.to);
    if (one_file && o.shard_gb > 0) throw UsageError("convert: --shard-gb is for a folder, and {} is a file", o.to);
    if (gguf && !o.naming.empty()) throw UsageError("convert: --naming {}: a GGUF file has its own", o.naming);
    if (!gguf && !o.tokenizer.empty()) throw UsageError("convert: --tokenizer is for FILE.gguf, which holds it");
    const fs::path source = find_model(o.from).model();
    const auto from = gguf ? open_with_config(source) : open_checkpoint(source);
    const ConvertOptions options = convert_options(o, *from);
    const Plan plan = plan_conversion(*from, options);
    const auto tensors = streamed(*from, plan);
    FileMetadata metadata = file_metadata(*from);
    if (options.part == ConvertPart::adapter) {  // what it stands on, or train.from would refuse it
        const AdapterFile adapter(source);
        for (auto& entry : adapter_metadata(adapter.preset(), adapter.base())) metadata.push_back(std::move(entry));
    }
    Progress bar("convert", 0, "B");
    const ConvertProgress progress = [&](uint64_t written, uint64_t total) {
        bar.set_total(static_cast<int64_t>(total));
        bar.update(static_cast<int64_t>(written));
    };
    ordered_json facts{{"wrote", o.to}, {"tensors", tensors.size()}, {"left_out", plan.left_out.size()}};
    if (gguf) {
        write_gguf_file(o.to, gguf_metadata(*from, options, plan, o.tokenizer), tensors, progress);
        facts["types"] = types_of(plan);
    } else if (one_file) {
        write_model_file(o.to, tensors, progress, metadata);
        if (const std::string keys = keys_of(metadata); is_torch_name(o.to) && !keys.empty())
            facts["note"] =
                fmt::format("{} has no place for the source's metadata ({}), which were left out", o.to, keys);
    } else {
        const ordered_json config = config_json(*from, options);
        write_model_folder(o.to, tensors, config, static_cast<uint64_t>(o.shard_gb * 1e9), progress, metadata);
        if (config.is_null()) facts["note"] = "no config.json: the source has none, and its sizes do not say all of it";
        if (from->format() == "gguf") {
            try {
                facts["tokenizer"] = write_hf_tokenizer(o.to, *from);
            } catch (const FileError& error) {  // the model is there; a tokenizer of another kind is the user's to add
                facts["note"] = fmt::format("no tokenizer: {}; put the model's own into the folder", error.what());
            }
        }
        if (fs::is_directory(o.from) && options.part == ConvertPart::all)
            facts["copied"] = copy_side_files(o.from, o.to);
    }
    bar.finish();
    return done(o, facts);
}

WAVLLM_COMMAND(
    convert,
    {"convert", "from one checkpoint to another: names, dtypes, GGUF, Hugging Face and PEFT folders",
     "wavllm convert smollm2-135m-instruct-q4_1 smollm2-hf --naming hf --dtype f16", [](cli::App& app) {
         auto o = std::make_shared<Options>();
         app.add_option("from", o->from, "file, folder or name in presets/sources.json; any that inspect reads")
             ->required();
         app.add_option(
                "to", o->to,
                "FILE.safetensors, FILE.pt (as torch.save), FILE.gguf (of a LLaMA), or a folder as Hugging Face's")
             ->required();
         app.add_option("--dtype", o->dtype,
                        "of real numbers (as stored); q8_0, q4_1, q4_0, int8: of a GGUF's matrices")
             ->one_of({"f64", "f32", "f16", "bf16", "q8_0", "q4_1", "q4_0", "int8"});
         app.add_option("--part", o->part, "of a released checkpoint (final.pt): whisper, wavlm, llama, adapter (all)")
             ->one_of({"all", "whisper", "wavlm", "llama", "adapter"});
         app.add_option("--naming", o->naming, "of a LLaMA, its rotary rows reordered: hf or meta (as it is)")
             ->one_of({"hf", "meta"});
         app.add_option("--heads", o->heads, "of the part, where its file does not say (LLaMA-2-7B: 32)")->positive();
         app.add_option("--kv-heads", o->kv_heads, "likewise (as --heads)")->positive();
         app.add_option(
             "--tokenizer", o->tokenizer,
             "of a GGUF: tokenizer.model, tokenizer.json, another GGUF, or their folder (what lies beside the source)");
         app.add_option("--shard-gb", o->shard_gb, "largest file of a folder (one file)")->positive();
         app.add_flag("--peft", o->peft,
                      "write the LoRA of an adapter as PEFT's folder; a PEFT folder is told by itself");
         app.add_option("--base", o->base, "the LLaMA that a LoRA belongs to (what the adapter names)");
         app.add_option("--alpha", o->alpha, "of a LoRA whose file does not say it")->positive();
         app.add_flag("--json", o->as_json, "one JSON object on stdout");
         return [o] { return convert(*o); };
     }});

}  // namespace

}  // namespace wavllm
