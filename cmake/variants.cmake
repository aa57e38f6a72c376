# SPDX-License-Identifier: Apache-2.0
# Other versions of ops (kernels/core/variant.h), of the folder HH_VARIANTS: its .cpp files are linked into the tests of
# kernels and into hh_bench, its .cu files make libhh_variants.so beside them. They are compiled as the kernels are.
set(variants_cpu)
set(variants_gpu)
if(HH_VARIANTS)
  if(NOT IS_DIRECTORY ${HH_VARIANTS})
    message(FATAL_ERROR "HH_VARIANTS=${HH_VARIANTS}: there is no such folder")
  endif()
  file(GLOB variants_cpu CONFIGURE_DEPENDS ${HH_VARIANTS}/*.cpp)
  file(GLOB variants_gpu CONFIGURE_DEPENDS ${HH_VARIANTS}/*.cu)
endif()
if(variants_cpu)
  add_library(hh_variants_cpu OBJECT ${variants_cpu})
  target_link_libraries(hh_variants_cpu PRIVATE hh_common)
  target_include_directories(hh_variants_cpu PRIVATE ${HH_VARIANTS})
  hh_use_highway(hh_variants_cpu)
  target_compile_definitions(hh_variants_cpu PRIVATE HWY_WANT_AVX3_DL)  # for those of Hamming scans
  target_compile_options(hh_variants_cpu PRIVATE -fno-math-errno -O3)
endif()
if(variants_gpu AND HH_CUDA)
  add_library(hh_variants SHARED ${PROJECT_SOURCE_DIR}/tests/support/variants_library.cpp ${variants_gpu})
  target_link_libraries(hh_variants PRIVATE hh_common hh_cuda)
  hh_use_cuda(hh_variants)
  set_target_properties(hh_variants PROPERTIES CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON LIBRARY_OUTPUT_DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
endif()

# hh_use_variants(TARGET): tests or benchmarks of kernels.
function(hh_use_variants target)
  if(TARGET hh_variants_cpu)
    target_link_libraries(${target} PRIVATE hh_variants_cpu)
  endif()
  if(TARGET hh_variants)
    add_dependencies(${target} hh_variants)
  endif()
endfunction()
