// SPDX-License-Identifier: Apache-2.0
// A libhh_cuda.so of another build: a program must not come to ask it for a backend.
#include <cstdint>
#include <cstdlib>

extern "C" std::uint64_t hh_cuda_build_identity() { return 0; }
extern "C" void* hh_create_cuda_backend(int) { std::abort(); }
