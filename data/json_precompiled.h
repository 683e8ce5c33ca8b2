#pragma once
// <nlohmann/json.hpp> as the precompiled headers read it (CMakeLists.txt): without the literal "..."_json. That is an inline
// function and no template, so GCC instantiates JSON's whole parser for it in every file that begins with a precompiled
// header, which takes 0.4 s. Nothing here uses it; where the macro does not fit another version of the library, it stays.

#define _json(...)               \
    _json(__VA_ARGS__) = delete; \
    template <class Size>        \
    nlohmann::json json_of_a_literal(const char* s, Size n)
#include <nlohmann/json.hpp>
#undef _json
