# SPDX-License-Identifier: Apache-2.0
# The CUDA language, as everything of ours is compiled with it. PTX for sm_80 runs on everything
# since; HH_CUDA_SASS adds machine code, packed: it is most of the library.
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
set(CMAKE_CUDA_ARCHITECTURES 80-virtual)
if(HH_CUDA_SASS)
  foreach(capability IN LISTS HH_CUDA_SASS)
    if(NOT capability MATCHES "^[0-9]+$" OR capability LESS 80)
      message(FATAL_ERROR "HH_CUDA_SASS=${HH_CUDA_SASS}: '${capability}' is no compute capability from 80 up; "
        "name one or more, such as 90 or \"80;90\"")
    endif()
    list(APPEND CMAKE_CUDA_ARCHITECTURES ${capability}-real)
  endforeach()
  string(APPEND CMAKE_CUDA_FLAGS " --compress-mode=size")
endif()
enable_language(CUDA)
# CMake 3.25 has not heard that nvcc takes C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
find_package(CUDAToolkit 13.0 REQUIRED)

# hh_use_cuda(TARGET): it has .cu files.
function(hh_use_cuda target)
  target_link_libraries(${target} PRIVATE CUDA::cudart)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:
    --expt-relaxed-constexpr -lineinfo -Xcompiler=-Wall,-Wextra $<$<BOOL:${HH_WERROR}>:-Werror=all-warnings>>)
endfunction()
