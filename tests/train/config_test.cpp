// Presets, schedules and the sampler. Witness: values computed by hand, and the promises in their headers.

#include <doctest/doctest.h>

#include <array>
#include <set>

#include "models/preset/preset.h"
#include "tensor/error.h"
#include "train/sampler.h"
#include "train/schedule.h"

using namespace wavllm;

TEST_CASE("a preset: defaults, values, overrides, and back to JSON") {
    const auto json = nlohmann::json::parse(R"({"name": "x", "lora": {"rank": 8}, "train": {"adapter_rate": 1}})");
    const std::vector<std::string> set{"lora.alpha=16", "data.train=some/file.tsv",
                                       "train.checkpoint_activations=true"};
    const Preset p = parse_preset(json, "x.json", set);
    CHECK(p.lora.rank == 8);
    CHECK(p.lora.alpha == 16);
    CHECK(p.train.adapter_rate == 1);
    CHECK(p.data.train == Manifests{{"all", "some/file.tsv"}});
    CHECK(p.train.checkpoint_activations);
    CHECK(p.train.beta2 == doctest::Approx(0.98));
    CHECK(parse_preset(nlohmann::json::parse(p.to_json().dump()), "again").to_json() == p.to_json());
}

TEST_CASE("what is wrong in a preset is named, with the nearest right name") {
    const auto parse = [](const char* text, std::vector<std::string> set = {}) {
        parse_preset(nlohmann::json::parse(text), "p.json", set);
    };
    CHECK_THROWS_WITH_AS(parse(R"({"lora": {"rnak": 8}})"),
                         doctest::Contains("\"lora.rnak\"; the nearest known one is \"lora.rank\""), UsageError);
    CHECK_THROWS_WITH_AS(parse("{}", {"train.step=3"}), doctest::Contains("\"train.steps\""), UsageError);
    CHECK_THROWS_WITH_AS(parse("{}", {"train.steps"}), doctest::Contains("NAME=VALUE"), UsageError);
    CHECK_THROWS_WITH_AS(parse("{}", {"train.steps=many"}), doctest::Contains("must be a whole number"), UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"lora": {"rank": 8.5}})"), doctest::Contains("must be a whole number"), UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"lora": 3})"), doctest::Contains("unknown value \"lora\""), UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"train": {"decay": "cosinus"}})"), doctest::Contains("cosine, linear, constant"),
                         UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"lora": {"dropout": 1}})"), doctest::Contains("lora.dropout"), UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"adapter": {"taps": 4}})"), doctest::Contains("adapter.taps"), UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"ctc": {"drop_repeats": true}})"), doctest::Contains("drop_blanks"), UsageError);
    CHECK_THROWS_AS(parse("[]"), UsageError);
}

TEST_CASE("every number of a preset has a range") {
    const auto parse = [](std::vector<std::string> set, const char* text = "{}") {
        return parse_preset(nlohmann::json::parse(text), "p.json", set);
    };
    for (const std::string set :
         {"train.clip_norm=-1", "train.weight_decay=-3", "train.eps=-1", "train.eps=0", "lora.alpha=-4", "lora.alpha=0",
          "train.prompt_rate=-1", "train.final_rate=-0.5", "train.final_rate=2", "decode.length_penalty=1e300",
          "train.adapter_rate=1e300", "data.batch_seconds=0", "train.seed=-1", "model.norm_eps=1"}) {
        CAPTURE(set);
        CHECK_THROWS_WITH_AS(parse({set}), doctest::Contains((set.substr(0, set.find('=')) + " must be").c_str()),
                             UsageError);
    }
    for (const char* set : {"train.clip_norm=nan", "train.clip_norm=inf", "train.clip_norm=1e999"})
        CHECK_THROWS_AS(parse({set}), UsageError);
    const char* stages = R"({"data": {"train": {"a": "a.tsv"}},
        "stages": [{"name": "s", "ctc_weight": 0.5, "shares": {"a": 1}}]})";
    for (const std::string set : {"ctc_weight=-1", "ce_weight=1e300", "time_mask=1", "prompt_rate=-1", "steps=0"}) {
        CAPTURE(set);
        CHECK_THROWS_WITH_AS(parse({"stages.s." + set}, stages),
                             doctest::Contains((set.substr(0, set.find('=')) + " must be").c_str()), UsageError);
    }
    CHECK_THROWS_WITH_AS(parse({"stages.s.shares.a=-1"}, stages), doctest::Contains("the share of \"a\" must be"),
                         UsageError);
    // a number that was forgotten there would be refused here: the defaults and these stages name all of them
    CHECK(parse({}, stages).stages.size() == 1);
    CHECK(parse({"train.clip_norm=0", "train.weight_decay=0.1", "ctc.blank_margin=-1"}, stages).train.clip_norm == 0);
}

TEST_CASE("an override that nothing would read is refused, with what it is for") {
    const auto parse = [](std::vector<std::string> set) {
        return parse_preset(nlohmann::ordered_json::object(), "p.json", set);
    };
    CHECK_THROWS_WITH_AS(parse({"connector.window=3"}), doctest::Contains("connector.kind=qformer"), UsageError);
    CHECK_THROWS_WITH_AS(parse({"connector.pool=3"}), doctest::Contains("connector.kind=pooled"), UsageError);
    CHECK_THROWS_WITH_AS(parse({"adapter.mid=32", "connector.kind=qformer"}),
                         doctest::Contains("connector.kind=wavllm"), UsageError);
    CHECK_THROWS_WITH_AS(parse({"adapter.acoustic_mid=32"}), doctest::Contains("model.wavlm"), UsageError);
    CHECK_THROWS_WITH_AS(parse({"ctc.merges=32"}), doctest::Contains("ctc_weight"), UsageError);
    CHECK_THROWS_WITH_AS(parse({"model.tokenizer=/nope"}), doctest::Contains("random weights"), UsageError);
    CHECK(parse({"connector.kind=qformer", "connector.window=3"}).connector.window == 3);
    CHECK(parse({"model.tokenizer=/nope", "model.random_weights=true"}).model.tokenizer == "/nope");
    CHECK(parse({"adapter.output_norm=false", "connector.kind=pooled", "connector.pool=3"}).connector.pool == 3);
}

TEST_CASE("stages: what they do not say they take from train and data; overrides by name; and back to JSON") {
    const auto json = nlohmann::json::parse(R"({
        "data": {"train": {"synth": "s.tsv", "real": "r.tsv"}, "batch_seconds": 50},
        "train": {"adapter_rate": 0.25, "steps": 7},
        "stages": [{"name": "ctc", "trains": "adapter", "ce_weight": 0, "ctc_weight": 1, "steps": 40},
                   {"name": "joint", "shares": {"synth": 3, "real": 1}, "ctc_weight": 0.2}]})");
    const std::vector<std::string> set{"stages.joint.shares.real=2", "stages.ctc.adapter_rate=0.5",
                                       "train.warmup_steps=3", "data.train.digits=d.tsv"};
    const Preset p = parse_preset(json, "x.json", set);
    CHECK(p.data.train == Manifests{{"digits", "d.tsv"}, {"real", "r.tsv"}, {"synth", "s.tsv"}});
    REQUIRE(p.stages.size() == 2);
    CHECK(p.stages[0].adapter_rate == 0.5);
    CHECK(p.stages[1].adapter_rate == 0.25);
    CHECK(p.stages[0].warmup_steps == 3);
    CHECK(p.stages[1].batch_seconds == 50);
    CHECK(p.stages[1].steps == 7);
    CHECK(p.stages[1].shares == Shares{{"real", 2}, {"synth", 3}});
    CHECK(p.total_steps() == 47);
    CHECK(p.has_ctc());
    CHECK(parse_preset(nlohmann::json::parse(p.to_json().dump()), "again").to_json() == p.to_json());

    // sets of one's own: the file's shares speak of others
    const Preset own = parse_preset(json, "x.json", std::vector<std::string>{"data.train=own.tsv"});
    REQUIRE(own.data.train.size() == 1);
    CHECK(own.data.train.front().second == "own.tsv");
    CHECK(own.stages[1].shares.empty());

    const Preset plain = plain_recipe(p);
    REQUIRE(plain.stages.size() == 1);
    CHECK(plain.total_steps() == 47);
    CHECK(!plain.has_ctc());
    CHECK(!plain.adapter.output_norm);
    CHECK(plain.stages[0].trains == "adapter+lora");
    CHECK(plain.stages[0].shares == p.stages[1].shares);

    // without stages: one, of what train and data say
    const Preset single = parse_preset(nlohmann::json::parse(R"({"train": {"steps": 9, "lora_rate": 0.125}})"), "y");
    CHECK(single.stages.empty());
    CHECK(single.all_stages().front().steps == 9);
    CHECK(single.all_stages().front().lora_rate == 0.125);
}

TEST_CASE("an override that every stage of the preset covers is an error that names the way") {
    const auto json = nlohmann::json::parse(R"({"train": {"steps": 7},
        "stages": [{"name": "a", "trains": "adapter", "steps": 40}, {"name": "b", "steps": 5}]})");
    const auto parse = [&](const char* set) { return parse_preset(json, "p.json", std::vector<std::string>{set}); };
    CHECK_THROWS_WITH_AS(parse("train.steps=3"), doctest::Contains("stages.a.steps or --set stages.b.steps"),
                         UsageError);
    CHECK(parse("train.trains=lora").stages[1].trains == "lora");  // a says its own, b does not
    CHECK(parse("stages.b.steps=3").total_steps() == 43);
    CHECK(parse("train.keep=3").train.keep == 3);
}

TEST_CASE("what is wrong in a stage is named") {
    const auto parse = [](const char* text, std::vector<std::string> set = {}) {
        parse_preset(nlohmann::json::parse(text), "p.json", set);
    };
    CHECK_THROWS_WITH_AS(parse(R"({"stages": [{"name": "a", "stepz": 1}]})"),
                         doctest::Contains("\"stages.a.stepz\"; the nearest known one is \"stages.a.steps\""),
                         UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"stages": [{"name": "a"}]})", {"stages.b.steps=1"}),
                         doctest::Contains("\"stages.a.steps\""), UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"stages": [{"name": "a"}, {"name": "a"}]})"), doctest::Contains("two stages"),
                         UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"stages": [{"name": "a", "shares": {"x": 1}}]})"),
                         doctest::Contains("no training set \"x\""), UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"stages": [{"name": "a", "ce_weight": 0}]})"), doctest::Contains("must be positive"),
                         UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"stages": [{"name": "a", "ce_weight": 0, "ctc_weight": 1}]})"),
                         doctest::Contains("only train the adapter"), UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"stages": [{"name": "a.b"}]})"), doctest::Contains("stage's name"), UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"stages": {"a": {}}})"), doctest::Contains("list of objects"), UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"stages": [{"name": "a", "trains": "llm"}]})"),
                         doctest::Contains("adapter, lora, adapter+lora"), UsageError);
}

TEST_CASE("mixed sampler: sets by their shares, clips by their lengths, every set through its own epochs") {
    std::vector<double> a, b, none;
    for (int i = 0; i < 60; ++i) a.push_back(1 + i % 10);
    for (int i = 0; i < 20; ++i) b.push_back(2);
    const std::vector<MixedSampler::Set> sets{{"a", a, 3}, {"b", b, 1}, {"off", none, 0}};
    const SamplerConfig config{.batch_seconds = 20, .batch_clips = 5, .bucket_batches = 2, .seed = 3};
    MixedSampler sampler(sets, config, 2, 8), later(sets, config, 2, 8);
    std::array<int, 3> batches{};
    std::vector<std::set<size_t>> epoch(2);
    for (int n = 0; n < 400; ++n) {
        const auto batch = sampler.batch(n);
        ++batches[batch.set];
        for (size_t clip : *batch.clips) {
            const double s = batch.set == 0 ? a[clip] : b[clip];
            CHECK(s >= 2);
            CHECK(s <= 8);
            epoch[batch.set].insert(clip);
        }
    }
    CHECK(batches[2] == 0);
    CHECK(batches[0] > 260);  // 300 expected
    CHECK(batches[0] < 340);
    CHECK(epoch[0].size() == 42);  // 7 of 10 lengths
    CHECK(epoch[1].size() == 20);
    const std::vector<size_t> want = *sampler.batch(57).clips;
    CHECK(*later.batch(57).clips == want);  // asked in another order
    CHECK_THROWS_WITH_AS(MixedSampler(sets, config, 11, 0), doctest::Contains("\"a\" has no clip"), UsageError);
}

TEST_CASE("schedule: warm-up, then the decay that was chosen") {
    const Schedule cosine{.steps = 110, .warmup_steps = 10, .decay = "cosine", .final_rate = 0.1};
    CHECK(cosine.factor(0) == doctest::Approx(0.1));
    CHECK(cosine.factor(9) == doctest::Approx(1));
    CHECK(cosine.factor(10) == doctest::Approx(1));
    CHECK(cosine.factor(60) == doctest::Approx(0.55));
    CHECK(cosine.factor(110) == doctest::Approx(0.1));
    CHECK(Schedule{.steps = 100, .warmup_steps = 0, .decay = "linear"}.factor(25) == doctest::Approx(0.75));
    CHECK(Schedule{.steps = 100, .warmup_steps = 4, .decay = "constant"}.factor(99) == 1);
}

TEST_CASE("sampler: every clip once an epoch, batches within their limits, the same for the same seed") {
    std::vector<double> seconds;
    for (int i = 0; i < 50; ++i) seconds.push_back(0.5 + i % 13);
    Sampler a(seconds, {.batch_seconds = 30, .batch_clips = 6, .bucket_batches = 3, .seed = 4});
    Sampler b(seconds, {.batch_seconds = 30, .batch_clips = 6, .bucket_batches = 3, .seed = 4});
    Sampler c(seconds, {.batch_seconds = 30, .batch_clips = 6, .bucket_batches = 3, .seed = 5});
    b.batch(40);  // asked in another order
    std::multiset<size_t> seen;
    int64_t n = 0;
    while (seen.size() < 100) {
        double sum = 0;
        const auto batch = a.batch(n);
        CHECK(batch.size() <= 6);
        CHECK(batch == b.batch(n));
        for (size_t i : batch) {
            seen.insert(i);
            sum += seconds[i];
        }
        CHECK(sum <= 30);
        ++n;
        if (seen.size() == 50)
            for (size_t i = 0; i < 50; ++i) CHECK(seen.count(i) == 1);
    }
    for (size_t i = 0; i < 50; ++i) CHECK(seen.count(i) == 2);
    bool differs = false;
    for (int64_t i = 0; i < 5; ++i) differs = differs || a.batch(i) != c.batch(i);
    CHECK(differs);
    CHECK_THROWS_AS(Sampler({}, {}), UsageError);
    CHECK_THROWS_WITH_AS(Sampler({40.0}, {}), doctest::Contains("batch_seconds"), UsageError);
}
