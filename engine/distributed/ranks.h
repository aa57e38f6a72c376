// SPDX-License-Identifier: Apache-2.0
// The communicator of this process: joined once, left at the end of main().
#pragma once
#include <cstdint>

#include "engine/distributed/communicator.h"
#include "engine/distributed/launcher.h"

namespace hh {

/// Meets the other ranks, and gives their communicator, whose device is this rank's; single_rank()
/// for kNone. To be called once, by the thread that trains. `device` is what was asked for: cpu; cuda,
/// which is the GPU of the rank's number on its machine; auto, the same where every rank has one, else
/// CPUs. Throws DeviceUnavailable, with a cure, where that isn't there, a library can't be loaded or is
/// of another build, and for kEnvironment on CPUs; std::invalid_argument for another device.
Communicator& join_ranks(Launcher launcher, const std::string& device);

/// What join_ranks() gave; single_rank() before.
Communicator& ranks();

/// Leaves the others with the exit status of the process. When all end for the same reason (all is
/// done, or Communicator::end_together() was said) it gives the largest of their statuses; else it
/// ends them all with `status`, and doesn't return.
int leave_ranks(int status);

/// What libhh_mpi.so exports under these names: the communicator, which the caller deletes (that
/// ends MPI, once all ranks do so), and what communicator.h it was built with.
using CreateMpiCommunicator = Communicator*();
using CommunicatorIdentity = std::uint64_t();
inline constexpr const char* kMpiLibrary = "libhh_mpi.so";
inline constexpr const char* kCreateMpiCommunicator = "hh_create_mpi_communicator";
inline constexpr const char* kMpiBuildIdentity = "hh_mpi_build_identity";

}  // namespace hh
