# SPDX-License-Identifier: Apache-2.0
# hh_use_highway(TARGET): its files are compiled for each instruction set that the kernels know.
# SSSE3 and SSE4 are left out: a machine without AVX2 takes the scalar baseline, which is slow and
# there so that the program runs at all. AVX3_DL adds VPOPCNTDQ, which the Hamming scan wants (kernels/CMakeLists.txt): of
# other kernels GCC makes the same code as for AVX3, so there it would only cost a third of their compile time.
find_library(HH_HWY_LIBRARY hwy REQUIRED)
function(hh_use_highway target)
  target_link_libraries(${target} PRIVATE
    $<BUILD_INTERFACE:${HH_HWY_LIBRARY}> $<INSTALL_INTERFACE:hwy>)
  target_compile_definitions(${target} PRIVATE
    "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_SSE4)")
  if(HH_ONLY_AVX2)
    target_compile_definitions(${target} PRIVATE HWY_COMPILE_ONLY_STATIC)
    # AES and PCLMUL belong to what Highway calls AVX2.
    target_compile_options(${target} PRIVATE -march=x86-64-v3 -maes -mpclmul)
  endif()
endfunction()
