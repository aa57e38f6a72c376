// SPDX-License-Identifier: Apache-2.0
// A libhh_cuda.so and a libhh_mpi.so of another build: a program must not come to ask them for a
// backend, or for the other ranks.
#include <cstdint>
#include <cstdlib>

extern "C" std::uint64_t hh_cuda_build_identity() { return 0; }
extern "C" void* hh_create_cuda_backend(int) { std::abort(); }

extern "C" std::uint64_t hh_mpi_build_identity() { return 0; }
extern "C" void* hh_create_mpi_communicator() { std::abort(); }
