// SPDX-License-Identifier: Apache-2.0
// NCCL, loaded when GPUs train together, so that a machine without it runs all the same.
#pragma once
#include <nccl.h>

#include <string>
#include <string_view>

namespace hh {

/// The functions we call, found by name in the loaded library.
struct Nccl {
#define HH_NCCL_FUNCTIONS(X) \
  X(ncclGetErrorString)      \
  X(ncclGetVersion)          \
  X(ncclGetUniqueId)         \
  X(ncclCommInitRank)        \
  X(ncclCommDestroy)         \
  X(ncclCommAbort)           \
  X(ncclCommGetAsyncError)   \
  X(ncclGroupStart)          \
  X(ncclGroupEnd)            \
  X(ncclAllGather)           \
  X(ncclAllReduce)           \
  X(ncclBroadcast)           \
  X(ncclSend)                \
  X(ncclRecv)
#define X(name) decltype(&::name) name = nullptr;
  HH_NCCL_FUNCTIONS(X)
#undef X

  /// Throws DeviceUnavailable where it can't be loaded.
  static const Nccl& instance();
  /// Throws DeviceError for what isn't ncclSuccess.
  void check(ncclResult_t status, std::string_view call) const;

 private:
  Nccl();
};

}  // namespace hh
