// SPDX-License-Identifier: Apache-2.0
// The communicator of this process: joined once, left at the end of main().
#pragma once
#include <cstdint>

#include "engine/distributed/communicator.h"
#include "engine/distributed/launcher.h"

namespace hh {

/// Meets the other ranks, and gives their communicator; single_rank() for kNone. To be called once,
/// by the thread that trains. Throws DeviceUnavailable, with a cure, where libhh_mpi.so can't be
/// loaded or is of another build, and for kEnvironment, which is for GPUs.
Communicator& join_ranks(Launcher launcher);

/// What join_ranks() gave; single_rank() before.
Communicator& ranks();

/// Leaves the others with the exit status of the process. When all end for the same reason (all is
/// done, or Communicator::end_together() was said) it gives the largest of their statuses; else it
/// ends them all with `status`, and doesn't return.
int leave_ranks(int status);

/// What libhh_mpi.so exports under these names: the communicator, which the caller deletes (that
/// ends MPI, once all ranks do so), and the build_identity() of ranks.cpp.
using CreateMpiCommunicator = Communicator*();
using MpiBuildIdentity = std::uint64_t();
inline constexpr const char* kMpiLibrary = "libhh_mpi.so";
inline constexpr const char* kCreateMpiCommunicator = "hh_create_mpi_communicator";
inline constexpr const char* kMpiBuildIdentity = "hh_mpi_build_identity";

}  // namespace hh
