// SPDX-License-Identifier: Apache-2.0
// Ranks on GPUs: what libhh_cuda.so has for them, which loads NCCL.
#pragma once
#include <array>
#include <cstdint>

#include "engine/distributed/communicator.h"

namespace hh {

/// What NCCL calls a unique id: made by one rank, told to all.
using GpuMeeting = std::array<char, 128>;

struct GpuRank {
  int rank = 0, size = 1, local_rank = 0, local_size = 1;
  int index = 0;                  // of the GPU
  StreamHandle stream = nullptr;  // that all is queued on: its backend's
  GpuMeeting meeting{};
};

/// What libhh_cuda.so exports under these names. Both throw DeviceUnavailable, with a cure, where
/// NCCL can't be loaded, and DeviceError where it fails; the caller deletes the communicator.
using MakeGpuMeeting = void(GpuMeeting& meeting);
using CreateGpuCommunicator = Communicator*(const GpuRank& rank);
inline constexpr const char* kMakeGpuMeeting = "hh_make_gpu_meeting";
inline constexpr const char* kCreateGpuCommunicator = "hh_create_gpu_communicator";
inline constexpr const char* kGpuCommunicatorIdentity = "hh_gpu_communicator_identity";

}  // namespace hh
