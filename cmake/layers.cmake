# SPDX-License-Identifier: Apache-2.0
# hh_library(NAME DIR LINKS...): a layer. All .cpp files of its folder; the links state the layers.
function(hh_library name dir)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${dir}/*.cpp)
  # Libraries of their own, loaded when they are asked for: see the CMakeLists.txt there.
  list(FILTER sources EXCLUDE REGEX "/(engine/device/cuda|engine/distributed/mpi|pipeline/onnx/library|retrieval/engines/(postgres|milvus))/")
  list(FILTER sources EXCLUDE REGEX "/apps/main\\.cpp$")
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC hh_common ${ARGN})
endfunction()

# hh_test(NAME DIR LINKS...): one Catch2 program of all tests below tests/DIR, a CTest test of its name.
function(hh_test name dir)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${dir}/*_test.cpp)
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE hh_test_main ${ARGN} Catch2::Catch2)
  add_test(NAME ${name} COMMAND ${name})
endfunction()
