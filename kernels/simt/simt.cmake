# The emulator of CUDA kernels (docs/simt.md), and the host builds of the project's .cu files. Included by CMakeLists.txt
# after the floors; everything it makes is linked through FLOORS.

if(NOT WAVLLM_PACKED)
    find_package(Boost 1.74 REQUIRED COMPONENTS context)
endif()

# GCC's own library for lines of source. Without it errors of kernels name addresses.
execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=libbacktrace.a OUTPUT_VARIABLE SIMT_BACKTRACE
    OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT EXISTS "${SIMT_BACKTRACE}")
    find_library(SIMT_BACKTRACE_FOUND backtrace)
    set(SIMT_BACKTRACE "${SIMT_BACKTRACE_FOUND}")
endif()

# An object library of its own, so that the emulator can be built and tested without the ops.
file(GLOB_RECURSE simt_sources CONFIGURE_DEPENDS kernels/simt/*.cpp)
get_target_property(kernel_sources floor_kernels SOURCES)
list(FILTER kernel_sources EXCLUDE REGEX "/kernels/simt/")
set_target_properties(floor_kernels PROPERTIES SOURCES "${kernel_sources}")
add_library(simt OBJECT ${simt_sources})
target_link_libraries(simt PUBLIC wavllm_flags Boost::context)
target_compile_options(simt PRIVATE -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
target_precompile_headers(simt REUSE_FROM precompiled)
if(SIMT_BACKTRACE)
    target_link_libraries(simt PUBLIC ${SIMT_BACKTRACE})
else()
    message(STATUS "no libbacktrace: errors of CUDA kernels on the emulator will name addresses, not lines")
    target_compile_definitions(simt PRIVATE WAVLLM_NO_BACKTRACE)
endif()
list(APPEND FLOORS simt)

string(FIND "${CMAKE_CXX_FLAGS}" "-fsanitize=thread" SIMT_THREAD_SANITIZER)
math(EXPR SIMT_THREAD_SANITIZER "${SIMT_THREAD_SANITIZER} + 1")

# wavllm_cuda(NAME SOURCES): the host builds NAME_fast and NAME_checked of .cu files.
#
# Both: -fno-strict-aliasing, since kernels look at floats as float4, as CUDA allows.
# Checked: every load and store calls __tsan_read4 and its kin, which are ours (kernels/simt/engine/hooks.cpp), with line
# tables to say where. Vectors that the compiler forms from neighbouring loads, and loops that it turns into memcpy, are
# switched off: they would hide what a GPU does. Under the asan preset only the plain build is sanitised; under tsan, whose
# runtime has the same names, there is no checked build and tests/simt is left out.
function(wavllm_cuda name)
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX)
    set(common -fno-strict-aliasing -Wno-unknown-pragmas -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
    add_library(${name}_fast OBJECT ${ARGN})
    target_link_libraries(${name}_fast PUBLIC wavllm_flags)
    target_compile_options(${name}_fast PRIVATE ${common})
    if(SIMT_THREAD_SANITIZER)
        add_library(${name}_checked INTERFACE)
    else()
        add_library(${name}_checked OBJECT ${ARGN})
        target_link_libraries(${name}_checked PUBLIC wavllm_flags)
        target_compile_options(${name}_checked PRIVATE ${common} -O2 -g -fno-sanitize=all -fsanitize=thread
            --param=tsan-instrument-func-entry-exit=0 -fno-tree-vectorize -fno-tree-slp-vectorize
            -fno-tree-loop-distribute-patterns -fno-ipa-icf -fno-omit-frame-pointer)
    endif()
endfunction()

file(GLOB_RECURSE cuda_sources CONFIGURE_DEPENDS kernels/*.cu)
if(cuda_sources)
    wavllm_cuda(cuda_kernels ${cuda_sources})
    list(APPEND FLOORS cuda_kernels_fast cuda_kernels_checked)
endif()
file(GLOB_RECURSE cuda_test_sources CONFIGURE_DEPENDS tests/*.cu)
wavllm_cuda(cuda_test_kernels ${cuda_test_sources})

# The emulator's tests alone: much quicker to build than wavllm_tests, which has them too.
file(GLOB_RECURSE simt_test_sources CONFIGURE_DEPENDS tests/simt/*.cpp)
add_executable(simt_tests EXCLUDE_FROM_ALL tests/main.cpp ${simt_test_sources})
target_link_libraries(simt_tests PRIVATE floor_tensor simt cuda_test_kernels_fast cuda_test_kernels_checked doctest::doctest)
target_compile_definitions(simt_tests PRIVATE WAVLLM_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
set_target_properties(simt_tests PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
# wavllm_tests is made after this file is read.
if(NOT WAVLLM_KERNELS_ONLY)
    cmake_language(DEFER CALL target_link_libraries wavllm_tests PRIVATE cuda_test_kernels_fast cuda_test_kernels_checked)
endif()
if(SIMT_THREAD_SANITIZER)
    set_source_files_properties(${simt_test_sources} PROPERTIES HEADER_FILE_ONLY ON)
endif()
