// SPDX-License-Identifier: Apache-2.0
// Errors of the kernel library. No CUDA header here: CPU-only builds include this file.
#pragma once
#include <sstream>
#include <stdexcept>

struct CUstream_st;  // the runtime's own name for a stream

namespace hh {

/// The same type as cudaStream_t, nameable without the CUDA headers. Null on the CPU.
using StreamHandle = CUstream_st*;

/// A CUDA, cuBLASLt, cuDNN or oneDNN call failed. what() names the call and the library's message.
struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace hh

/// Throws std::invalid_argument for what a user may get wrong. `message` is streamed; it is all that
/// the user sees, so it says the value, the limit and the cure:
/// HH_REQUIRE(n <= 8, "n = " << n << ": use 1 to 8").
#define HH_REQUIRE(condition, message)         \
  do {                                         \
    if (!(condition)) {                        \
      std::ostringstream out_;                 \
      out_ << message;                         \
      throw std::invalid_argument(out_.str()); \
    }                                          \
  } while (false)

/// The same for what only a programmer can get wrong, as the arguments of a kernel: the condition
/// follows the message.
#define HH_PRECONDITION(condition, message) \
  HH_REQUIRE(condition, message << " (required: " << #condition << ")")
