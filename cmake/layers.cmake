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
  set(source_dir ${PROJECT_SOURCE_DIR}/tests/support/source_dir.cpp)
  set_source_files_properties(${source_dir} PROPERTIES COMPILE_DEFINITIONS HH_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_executable(${name} ${PROJECT_SOURCE_DIR}/tests/support/main.cpp ${source_dir} ${sources})
  target_link_libraries(${name} PRIVATE ${ARGN} Catch2::Catch2)
  add_test(NAME ${name} COMMAND ${name})
endfunction()
