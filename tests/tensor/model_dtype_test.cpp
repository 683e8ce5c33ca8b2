// What models compute in. Witness: the promises of tensor/model_dtype.h.

#include "tensor/model_dtype.h"

#include <doctest/doctest.h>

#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

TEST_CASE("model_dtype: f32, but within a scope, and again after it") {
    CHECK(model_dtype() == DType::f32);
    CHECK(model_input(Tensor::zeros({2})).dtype() == DType::f32);
    {
        const DTypeScope scope(DType::f64);
        CHECK(model_dtype() == DType::f64);
        CHECK(model_input(Tensor::zeros({2})).dtype() == DType::f64);
        CHECK(model_input(Tensor::zeros({2}, DType::i32)).dtype() == DType::i32);
        const DTypeScope inner(DType::f32);
        CHECK(model_dtype() == DType::f32);
    }
    CHECK(model_dtype() == DType::f32);
}

TEST_CASE("model_dtype: what it refuses") {
    CHECK(parse_model_dtype("f64") == DType::f64);
    CHECK(message_of<UsageError>([] { parse_model_dtype("f16"); }) ==
          "unknown dtype \"f16\"; models compute in f32 or, to have a reference, in f64");
    CHECK_THROWS_AS(DTypeScope(DType::bf16), UsageError);
    const DeviceScope device(Device::sim);
    CHECK(message_of<UsageError>([] { DTypeScope scope(DType::f64); }) ==
          "f64 is the reference mode of the cpu, and device sim computes in f32; use --device cpu");
    CHECK(model_dtype() == DType::f32);
}
