# SPDX-License-Identifier: Apache-2.0
# hh_op(FAMILY STEM [CPU_ONLY]), one line per op. Configuring fails when the contract, a twin, the
# test or the benchmark is missing; an op for the CPU only has no GPU twin. Collects, for whoever builds them: HH_OP_CPU, HH_OP_GPU, HH_OP_TESTS and
# HH_OP_BENCHES, global properties.
#
# For work on a few ops, HH_OPS leaves the others' kernels, tests and benchmarks out:
#     cmake --preset cpu -B build/few -DHH_OPS='^(hash_head|linear)$'
#     ninja -C build/few hh_kernel_tests hh_bench
# The table of kernels names them all the same: a program that calls one that was left out crashes.
# hh_bench's yardstick needs linear.
function(hh_op family stem)
  if(NOT stem MATCHES "${HH_OPS}")
    return()
  endif()
  set(op ${PROJECT_SOURCE_DIR}/kernels/${family}/${stem})
  set(test ${PROJECT_SOURCE_DIR}/tests/kernels/${stem}_test.cpp)
  set(bench ${PROJECT_SOURCE_DIR}/bench/kernels/${stem}_bench.cpp)
  # The GPU side is a kernel of ours, or a call of the library named in the file's suffix.
  set(gpu ${op}.cu)
  foreach(library cublaslt cudnn cub)
    if(EXISTS ${op}_${library}.cu)
      set(gpu ${op}_${library}.cu)
    endif()
  endforeach()
  if("CPU_ONLY" IN_LIST ARGN)
    set(gpu)
  endif()
  foreach(file ${op}.h ${op}_cpu.cpp ${gpu} ${test} ${bench})
    if(NOT EXISTS ${file})
      message(FATAL_ERROR "hh_op(${family} ${stem}): ${file} is missing")
    endif()
  endforeach()
  set_property(GLOBAL APPEND PROPERTY HH_OP_CPU ${op}_cpu.cpp)
  set_property(GLOBAL APPEND PROPERTY HH_OP_GPU ${gpu})
  set_property(GLOBAL APPEND PROPERTY HH_OP_TESTS ${test})
  set_property(GLOBAL APPEND PROPERTY HH_OP_BENCHES ${bench})
endfunction()
