# The device `cuda`: the project's .cu files by nvcc, and what runs them. Included by CMakeLists.txt after kernels/simt/;
# what it makes is linked through FLOORS. Without WAVLLM_CUDA nothing here needs a CUDA toolkit.
#
# nvcc is called by rules of our own and not as a language of CMake: the same .cu files are C++ for the emulator, and a
# source file has one language only.

option(WAVLLM_CUDA "device cuda: compile the CUDA kernels with nvcc; needs the CUDA toolkit, 12.3 or later" OFF)
set(WAVLLM_CUDA_ARCHS "80;90" CACHE STRING "compute capabilities to make machine code for; PTX of the last one is added")

# What includes CUDA's headers is left to an object library of its own, so that nothing else is compiled differently with
# and without CUDA. kernels/cuda/absent.cpp stands in for it otherwise.
file(GLOB_RECURSE cuda_runtime_sources CONFIGURE_DEPENDS kernels/cuda/runtime/*.cpp)
get_target_property(kernel_sources floor_kernels SOURCES)
list(FILTER kernel_sources EXCLUDE REGEX "/kernels/cuda/runtime/")
if(WAVLLM_CUDA)
    list(FILTER kernel_sources EXCLUDE REGEX "/kernels/cuda/absent\\.cpp|/kernels/gemm/cublaslt\\.cpp")
    list(APPEND cuda_runtime_sources ${CMAKE_SOURCE_DIR}/kernels/gemm/cublaslt.cpp)
endif()
set_target_properties(floor_kernels PROPERTIES SOURCES "${kernel_sources}")
if(NOT WAVLLM_CUDA)
    return()
endif()

find_program(WAVLLM_NVCC nvcc HINTS ENV NVCC_DIR ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda /opt/cuda PATH_SUFFIXES bin
    DOC "CUDA's compiler")
if(NOT WAVLLM_NVCC)
    message(FATAL_ERROR "WAVLLM_CUDA: no nvcc on the PATH, in CUDA_HOME or in /usr/local/cuda: install the CUDA toolkit, or "
        "give -DWAVLLM_NVCC=/path/to/nvcc")
endif()
execute_process(COMMAND ${WAVLLM_NVCC} --version OUTPUT_VARIABLE nvcc_version RESULT_VARIABLE failed)
string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" nvcc_version "${nvcc_version}")
set(nvcc_version "${CMAKE_MATCH_1}")
if(failed OR nvcc_version VERSION_LESS 12.3)
    message(FATAL_ERROR "WAVLLM_CUDA: ${WAVLLM_NVCC} is of CUDA \"${nvcc_version}\"; 12.3 or later is needed")
endif()

# Headers and libraries of the toolkit: beside nvcc, behind its links too; libraries also where pip puts them.
get_filename_component(nvcc_real "${WAVLLM_NVCC}" REALPATH)
get_filename_component(toolkit_real "${nvcc_real}/../.." ABSOLUTE)
get_filename_component(toolkit "${WAVLLM_NVCC}/../.." ABSOLUTE)
set(toolkits ${toolkit_real} ${toolkit} $ENV{CUDA_HOME} /usr/local/cuda /usr/lib/cuda)
set(WAVLLM_CUDA_HINTS "" CACHE STRING "more folders with include/ and lib/ of CUDA libraries (site-packages/nvidia/...)")
list(APPEND toolkits ${WAVLLM_CUDA_HINTS})
set(header_places include targets/x86_64-linux/include targets/sbsa-linux/include)
set(library_places lib64 lib lib/x86_64-linux-gnu targets/x86_64-linux/lib targets/sbsa-linux/lib)
find_path(WAVLLM_CUDART_INCLUDE cuda_runtime.h HINTS ${toolkits} PATH_SUFFIXES ${header_places})
find_library(WAVLLM_CUDART NAMES libcudart_static.a cudart libcudart.so.13 libcudart.so.12 HINTS ${toolkits}
    PATH_SUFFIXES ${library_places})
if(NOT WAVLLM_CUDART_INCLUDE OR NOT WAVLLM_CUDART)
    message(FATAL_ERROR "WAVLLM_CUDA: ${WAVLLM_NVCC} is there, but not cuda_runtime.h (${WAVLLM_CUDART_INCLUDE}) or libcudart "
        "(${WAVLLM_CUDART}), looked for in ${toolkits}; name their folder with -DWAVLLM_CUDA_HINTS=")
endif()
# The program is complete without it: products are ours then.
find_path(WAVLLM_CUBLASLT_INCLUDE cublasLt.h HINTS ${toolkits} PATH_SUFFIXES ${header_places})
find_library(WAVLLM_CUBLASLT_LIBRARY NAMES cublasLt libcublasLt.so.13 libcublasLt.so.12 HINTS ${toolkits}
    PATH_SUFFIXES ${library_places})

add_library(cuda_toolkit INTERFACE)
target_include_directories(cuda_toolkit SYSTEM INTERFACE ${WAVLLM_CUDART_INCLUDE})
target_link_libraries(cuda_toolkit INTERFACE ${WAVLLM_CUDART} Threads::Threads ${CMAKE_DL_LIBS} rt)
if(WAVLLM_CUBLASLT_INCLUDE AND WAVLLM_CUBLASLT_LIBRARY)
    target_include_directories(cuda_toolkit SYSTEM INTERFACE ${WAVLLM_CUBLASLT_INCLUDE})
    target_link_libraries(cuda_toolkit INTERFACE ${WAVLLM_CUBLASLT_LIBRARY})
    target_compile_definitions(cuda_toolkit INTERFACE WAVLLM_CUBLASLT)
    message(STATUS "device cuda: nvcc ${nvcc_version}, for ${WAVLLM_CUDA_ARCHS}, with cuBLASLt")
else()
    message(STATUS "device cuda: nvcc ${nvcc_version}, for ${WAVLLM_CUDA_ARCHS}; no cuBLASLt was found: all products are ours")
endif()

add_library(cuda_runtime OBJECT ${cuda_runtime_sources})
target_link_libraries(cuda_runtime PUBLIC wavllm_flags cuda_toolkit)
list(APPEND FLOORS cuda_runtime)

# -fmad=false as -ffp-contract=off on the host: a fused multiply-add stands where fmaf is written. -lineinfo changes no
# code; it lets compute-sanitizer and the profilers name lines.
set(nvcc_flags -std=c++20 -O3 -fmad=false -lineinfo -ccbin ${CMAKE_CXX_COMPILER} -I ${CMAKE_SOURCE_DIR}
    -isystem ${WAVLLM_CUDART_INCLUDE} -Xcompiler=-Wall,-Wextra,-Wno-unused-parameter,-Wno-missing-field-initializers,-ffp-contract=off,-fno-strict-aliasing)
foreach(arch ${WAVLLM_CUDA_ARCHS})
    list(APPEND nvcc_flags -gencode=arch=compute_${arch},code=sm_${arch})
    set(newest ${arch})
endforeach()
list(APPEND nvcc_flags -gencode=arch=compute_${newest},code=compute_${newest})

# wavllm_nvcc(NAME SOURCES): a target NAME that links these files as nvcc compiles them, each whole, so that their bodies
# register themselves.
function(wavllm_nvcc name)
    foreach(source ${ARGN})
        file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR} ${source})
        set(object ${CMAKE_BINARY_DIR}/nvcc/${path}.o)
        get_filename_component(folder ${object} DIRECTORY)
        file(MAKE_DIRECTORY ${folder})
        add_custom_command(OUTPUT ${object} DEPFILE ${object}.d DEPENDS ${source} VERBATIM
            COMMAND ${WAVLLM_NVCC} ${nvcc_flags} -MD -MF ${object}.d -MT ${object} -c -o ${object} ${source}
            COMMENT "nvcc ${path}")
        list(APPEND objects ${object})
    endforeach()
    add_custom_target(${name}_objects DEPENDS ${objects})
    add_library(${name} INTERFACE)
    add_dependencies(${name} ${name}_objects)
    target_link_libraries(${name} INTERFACE ${objects} cuda_toolkit)
endfunction()
wavllm_nvcc(cuda_kernels_gpu ${cuda_sources})
list(APPEND FLOORS cuda_kernels_gpu)
