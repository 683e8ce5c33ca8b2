// Witnesses: files put together byte by byte from the formats' descriptions (small_files.h), and the reference tensors
// of golden/, which were written by the original safetensors library.

#include "models/checkpoint/checkpoint.h"

#include <doctest/doctest.h>

#include "tensor/error.h"
#include "tests/checkpoint/small_files.h"
#include "tests/support/shared.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

template <class T>
std::vector<T> numbers(const StoredTensor& tensor) {
    std::vector<T> out(tensor.bytes.size() / sizeof(T));
    std::memcpy(out.data(), tensor.bytes.data(), out.size() * sizeof(T));
    return out;
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

std::string open_error(const TempFolder& folder, const std::string& content) {
    const auto path = folder.write("bad", content);
    return message_of<FileError>([&] { open_checkpoint(path); });
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("gguf: metadata of every kind, tensors with shapes outermost first") {
    TempFolder folder;
    const auto file = open_checkpoint(folder.write("model", small_gguf()));
    CHECK(file->format() == "gguf");
    const auto& facts = file->metadata();
    CHECK(facts["general.alignment"] == 64);
    CHECK(facts["name"] == "tiny");
    CHECK(facts["flag"] == true);
    CHECK(facts["eps"] == 0.5);
    CHECK(facts["nested"] == nlohmann::json::parse(R"([[-1,2],["x"]])"));
    CHECK(facts["big"] == UINT64_MAX);
    REQUIRE(file->tensors().size() == 2);
    CHECK(file->at("a").shape == std::vector<int64_t>{2, 3});
    CHECK(numbers<float>(file->at("a")) == std::vector<float>{1, 2, 3, 4, 5, 6});
    CHECK(file->at("b").dtype == DType::q8_0);
    CHECK(file->at("b").bytes.size() == 34);
    std::vector<float> values(32);
    dequantize(DType::q8_0, file->at("b").bytes.data(), values.data(), 32);
    CHECK(values[31] == 31.0f);
    CHECK(file->find("c") == nullptr);
    CHECK(contains(message_of<FileError>([&] { file->at("bb"); }), "nearest name is \"b\""));
}

TEST_CASE("gguf: damaged files end in an error that says what is wrong") {
    TempFolder folder;
    const std::string good = small_gguf();
    CHECK(
        contains(open_error(folder, replaced(good, std::string("GGUF\3", 5), std::string("GGUF\2", 5))), "version 2"));
    CHECK(contains(open_error(folder, replaced(good, "name", "flag")), "\"flag\" is there twice"));
    Bytes q6;
    q6.raw("GGUF").put<uint32_t>(3).put<uint64_t>(1).put<uint64_t>(0).gguf_string("w");
    q6.put<uint32_t>(1).put<uint64_t>(256).put<uint32_t>(14).put<uint64_t>(0).pad(32);
    const std::string message = open_error(folder, q6.text);
    CHECK(contains(message, "\"w\" has the type Q6_K"));
    CHECK(contains(message, "Q4_1"));
    for (size_t length = 0; length < good.size(); ++length) CHECK(open_error(folder, good.substr(0, length)) != "");
    // an array of 2^60 elements in a file of a few bytes
    Bytes huge;
    huge.raw("GGUF").put<uint32_t>(3).put<uint64_t>(0).put<uint64_t>(1).gguf_string("k");
    huge.put<uint32_t>(9).put<uint32_t>(0).put<uint64_t>(uint64_t{1} << 60);
    CHECK(contains(open_error(folder, huge.text), "elements"));
    // a shape whose product overflows to a small number
    Bytes wide;
    wide.raw("GGUF").put<uint32_t>(3).put<uint64_t>(1).put<uint64_t>(0).gguf_string("w").put<uint32_t>(2);
    wide.put<uint64_t>(uint64_t{1} << 32).put<uint64_t>(uint64_t{1} << 32).put<uint32_t>(0).put<uint64_t>(0).pad(32);
    CHECK(contains(open_error(folder, wide.text), "63 bits"));
    // arrays of arrays of arrays ...
    Bytes deep;
    deep.raw("GGUF").put<uint32_t>(3).put<uint64_t>(0).put<uint64_t>(1).gguf_string("k").put<uint32_t>(9);
    for (int i = 0; i < 10000; ++i) deep.put<uint32_t>(9).put<uint64_t>(1);
    CHECK(contains(open_error(folder, deep.text), "nests arrays"));
    // two tensors on the same bytes
    Bytes overlap;
    overlap.raw("GGUF").put<uint32_t>(3).put<uint64_t>(2).put<uint64_t>(0);
    for (const char* name : {"p", "q"})
        overlap.gguf_string(name).put<uint32_t>(1).put<uint64_t>(4).put<uint32_t>(0).put<uint64_t>(0);
    overlap.pad(32).raw(std::string(16, '\0'));
    CHECK(contains(open_error(folder, overlap.text), "overlap"));
}

TEST_CASE("ctranslate2: tensors, integer scalars as settings, aliases") {
    TempFolder folder;
    const auto file = open_checkpoint(folder.write("model.bin", small_ctranslate2()));
    CHECK(file->format() == "ctranslate2");
    CHECK(file->metadata()["spec"] == "TestSpec");
    CHECK(file->metadata()["revision"] == 3);
    CHECK(file->metadata()["settings"]["encoder/num_heads"] == -8);
    CHECK(numbers<float>(file->at("w")) == std::vector<float>{1, 2, 3, 4});
    CHECK(file->at("v").bytes.data() == file->at("w").bytes.data());
    CHECK(file->at("v").shape == std::vector<int64_t>{2, 2});
    CHECK(file->at("h").dtype == DType::f16);
    CHECK(open_checkpoint(folder.path())->find("h") != nullptr);

    Bytes int8;
    int8.put<uint32_t>(6).ct2_string("S").put<uint32_t>(3).put<uint32_t>(1);
    int8.ct2_string("w").put<uint8_t>(1).put<uint32_t>(2).put<uint8_t>(1).put<uint32_t>(2).raw("ab").put<uint32_t>(0);
    CHECK(contains(open_error(folder, int8.text), "convert it again as float32"));
    const std::string good = small_ctranslate2();
    for (size_t length = 0; length < good.size(); ++length) CHECK(open_error(folder, good.substr(0, length)) != "");
    CHECK(contains(open_error(folder, good + "x"), "1 bytes follow"));
}

TEST_CASE("safetensors: reading, and what the format forbids") {
    TempFolder folder;
    const auto file = open_checkpoint(folder.write("model", small_safetensors()));
    CHECK(file->format() == "safetensors");
    CHECK(file->metadata()["__metadata__"]["k"] == "v");
    REQUIRE(file->tensors().size() == 3);
    CHECK(file->tensors()[0].name == "z");  // the order of the data
    CHECK(file->at("a").shape == std::vector<int64_t>{1, 3});
    CHECK(numbers<int64_t>(file->at("s")) == std::vector<int64_t>{-5});

    const auto bad = [&](const char* header) { return open_error(folder, safetensors_of(header, "12345678")); };
    CHECK(contains(bad(R"({"a":{"dtype":"F8","shape":[1],"data_offsets":[0,1]}})"), "type F8"));
    CHECK(contains(bad(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})"), "cut off"));
    CHECK(contains(bad(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})"), "need 8 bytes"));
    CHECK(contains(bad(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})"), "whole numbers"));
    CHECK(contains(bad(R"({"a":{"dtype":"F32","shape":[4611686018427387904,8],"data_offsets":[0,0]}})"), "63 bits"));
    CHECK(contains(bad(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},
                           "b":{"dtype":"U8","shape":[3],"data_offsets":[2,5]}})"),
                   "overlap"));
    CHECK(contains(bad(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},
                           "a":{"dtype":"U8","shape":[3],"data_offsets":[3,6]}})"),
                   "twice"));
    CHECK(contains(bad(R"({"a":{"dtype":"U8","shape":[3]}})"), "data_offsets"));
    CHECK(contains(bad(("{\"a\":" + std::string(100000, '[')).c_str()), "nested deeper"));
    CHECK(contains(bad("{\"\xFF\":1}"), "not valid JSON"));
    CHECK(open_error(folder, "") == (folder / "bad").string() + ": the file is empty (0 bytes)");
    CHECK(contains(open_error(folder, "This is a text file, not a model.\n"), "not a checkpoint"));
}

TEST_CASE("safetensors: a folder in parts") {
    TempFolder folder;
    folder.write("one.safetensors", safetensors_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "A"));
    folder.write("two.safetensors", safetensors_of(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "B"));
    folder.write("config.json", R"({"hidden_size":4})");
    const char* index = "model.safetensors.index.json";
    folder.write(index, R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
    const auto model = open_checkpoint(folder.path());
    CHECK(model->tensors().size() == 2);
    CHECK(numbers<char>(model->at("b")) == std::vector<char>{'B'});
    CHECK(model->metadata()["config"]["hidden_size"] == 4);
    folder.write(index, R"({"weight_map":{"a":"../one.safetensors"}})");
    CHECK(contains(message_of<FileError>([&] { open_checkpoint(folder.path()); }), "in this folder"));
    folder.write(index, R"({"weight_map":{"a":"one.safetensors","c":"two.safetensors"}})");
    CHECK(contains(message_of<FileError>([&] { open_checkpoint(folder.path()); }), "no tensor \"c\""));
}

TEST_CASE("safetensors: what is written is what is read, byte for byte the same each time") {
    TempFolder folder;
    const std::vector<float> first{1, 2, 3, 4, 5, 6};
    const std::vector<int64_t> second{-1};
    const std::vector<TensorToStore> tensors{
        {"layer.\"quoted\".é", DType::f32, {2, 3}, std::as_bytes(std::span(first))},
        {"a", DType::i64, {}, std::as_bytes(std::span(second))},
        {"empty", DType::f32, {0, 3}, {}},
    };
    write_safetensors(folder / "x", tensors, {{"b", "2"}, {"a", "1"}});
    write_safetensors(folder / "y", tensors, {{"a", "1"}, {"b", "2"}});
    CHECK(read_all(folder / "x") == read_all(folder / "y"));
    const auto file = open_checkpoint(folder / "x");
    REQUIRE(file->tensors().size() == 3);
    CHECK(numbers<float>(file->at("layer.\"quoted\".é")) == first);
    CHECK(file->at("layer.\"quoted\".é").shape == std::vector<int64_t>{2, 3});
    CHECK(numbers<int64_t>(file->at("a")) == second);
    CHECK(file->at("empty").shape == std::vector<int64_t>{0, 3});
    CHECK(file->metadata()["__metadata__"]["a"] == "1");
    CHECK_THROWS_AS(write_safetensors(folder / "x", std::vector<TensorToStore>{tensors[0], tensors[0]}), FileError);
    CHECK_THROWS_AS(write_safetensors(folder / "x", std::vector<TensorToStore>{{"a", DType::f32, {3}, {}}}),
                    ShapeError);
    CHECK(read_all(folder / "x") == read_all(folder / "y"));
}

TEST_CASE("safetensors: files of the original library") {
    const auto model = open_checkpoint(shared("golden/tables.safetensors"));
    CHECK(model->at("mel_filters").shape == std::vector<int64_t>{80, 201});
    CHECK(model->at("relative_position_buckets").dtype == DType::i64);
    CHECK(open_checkpoint(shared("golden/model.safetensors"))->tensors().size() > 100);
}
