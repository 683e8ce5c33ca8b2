// Witness: the examples of RFC 4648, section 10.

#include "data/base64.h"

#include <doctest/doctest.h>

using namespace wavllm;

TEST_CASE("base64 of the RFC's examples") {
    CHECK(base64("") == "");
    CHECK(base64("f") == "Zg==");
    CHECK(base64("fo") == "Zm8=");
    CHECK(base64("foo") == "Zm9v");
    CHECK(base64("foob") == "Zm9vYg==");
    CHECK(base64("fooba") == "Zm9vYmE=");
    CHECK(base64("foobar") == "Zm9vYmFy");
    CHECK(base64(std::string("\xff\xfe\0", 3)) == "//4A");
}
