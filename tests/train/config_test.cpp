// Presets, schedules and the sampler. Witness: values computed by hand, and the promises in their headers.

#include <doctest/doctest.h>

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
    CHECK(p.data.train == "some/file.tsv");
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
    CHECK_THROWS_AS(parse("[]"), UsageError);
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
