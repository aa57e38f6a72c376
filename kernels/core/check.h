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

/// Throws std::invalid_argument when a caller breaks a documented precondition. `message` is
/// streamed, and says the offending value and the limit: HH_REQUIRE(n <= 8, "n = " << n << ...).
#define HH_REQUIRE(condition, message)                        \
  do {                                                        \
    if (!(condition)) {                                       \
      std::ostringstream out_;                                \
      out_ << message << " (required: " << #condition << ")"; \
      throw std::invalid_argument(out_.str());                \
    }                                                         \
  } while (false)
