# The floors up to autograd alone: what the kernels need to be tested and timed where no sound or text library is
# (-DWAVLLM_KERNELS_ONLY=ON). The program has the parts of `bench` that need no model.

file(GLOB program_sources CONFIGURE_DEPENDS wavllm/main.cpp wavllm/bench/*.cpp wavllm/support/table.cpp data/progress.cpp)
list(FILTER program_sources EXCLUDE REGEX "/wavllm/bench/(encoder|generate|step)\\.cpp$")
add_executable(wavllm ${program_sources})
target_link_libraries(wavllm PRIVATE ${FLOORS} CLI11::CLI11 nlohmann_json::nlohmann_json)
target_compile_definitions(wavllm PRIVATE WAVLLM_SOURCE_DIR="${CMAKE_SOURCE_DIR}" WAVLLM_VERSION="${PROJECT_VERSION}")
set_target_properties(wavllm PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
