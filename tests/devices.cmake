# The ops and models on devices alone: much quicker to build than wavllm_tests, which has them too. Included by
# CMakeLists.txt after the floors.

file(GLOB device_test_sources CONFIGURE_DEPENDS tests/ops/device*_test.cpp tests/cuda/*_test.cpp)
if(NOT WAVLLM_KERNELS_ONLY)
    file(GLOB model_test_sources CONFIGURE_DEPENDS tests/train/devices_test.cpp tests/whisper/devices_test.cpp)
    list(APPEND device_test_sources ${model_test_sources})
endif()
add_executable(device_tests EXCLUDE_FROM_ALL tests/main.cpp ${device_test_sources})
target_link_libraries(device_tests PRIVATE ${FLOORS} doctest::doctest nlohmann_json::nlohmann_json)
target_compile_definitions(device_tests PRIVATE WAVLLM_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
set_target_properties(device_tests PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
