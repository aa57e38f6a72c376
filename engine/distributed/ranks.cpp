// SPDX-License-Identifier: Apache-2.0
#include "engine/distributed/ranks.h"

#include <dlfcn.h>

#include <memory>

#include "engine/distributed/interface_identity.h"

namespace hh {
namespace {

std::unique_ptr<Communicator>& joined() {
  static std::unique_ptr<Communicator> communicator;
  return communicator;
}

Communicator* create_mpi_communicator() {
  // Global: MPI loads plugins of its own, which look for its symbols there.
  void* const library = dlopen(kMpiLibrary, RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    throw DeviceUnavailable(std::string("MPI can't be used: ") + dlerror() +
                            "; build on this machine with libopenmpi-dev installed, or use "
                            "--distributed off");
  }
  void* const create = dlsym(library, kCreateMpiCommunicator);
  void* const identity = dlsym(library, kMpiBuildIdentity);
  if (create == nullptr || identity == nullptr ||
      reinterpret_cast<MpiBuildIdentity*>(identity)() != kCommunicatorIdentity) {
    throw DeviceUnavailable(std::string(kMpiLibrary) +
                            " is of another build than this program; build and copy the two "
                            "together, or use --distributed off");
  }
  return reinterpret_cast<CreateMpiCommunicator*>(create)();
}

}  // namespace

Communicator& join_ranks(Launcher launcher) {
  HH_PRECONDITION(!joined(), "the ranks are joined already");
  if (launcher == Launcher::kNone) return single_rank();
  if (launcher == Launcher::kEnvironment) {
    throw DeviceUnavailable(
        "CPU ranks need mpirun or srun --mpi=pmix: start them so, or train in one process with "
        "--distributed off");
  }
  joined().reset(create_mpi_communicator());
  return *joined();
}

Communicator& ranks() { return joined() ? *joined() : single_rank(); }

int leave_ranks(int status) {
  if (!joined()) return status;
  if (status != 0 && !joined()->ends_together()) joined()->abort(status);
  status = int(joined()->largest(status));
  joined().reset();
  return status;
}

}  // namespace hh
