# SPDX-License-Identifier: Apache-2.0
# The CUDA language, as everything of ours is compiled with it. PTX for sm_80 runs on everything
# since; HH_CUDA_SASS adds machine code.
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
set(CMAKE_CUDA_ARCHITECTURES 80-virtual)
if(HH_CUDA_SASS)
  list(APPEND CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90-real 100-real 120-real)
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
    --expt-relaxed-constexpr -lineinfo -Xcompiler=-Wall,-Wextra -Werror=all-warnings>)
endfunction()
