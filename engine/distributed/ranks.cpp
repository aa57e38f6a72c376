// SPDX-License-Identifier: Apache-2.0
#include "engine/distributed/ranks.h"

#include <dlfcn.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <memory>

#include "engine/device/backend.h"
#include "engine/distributed/gpu_ranks.h"
#include "engine/distributed/interface_identity.h"
#include "engine/distributed/together.h"
#include "engine/text/log.h"

namespace hh {
namespace {

constexpr const char* kCpuRanks =
    "CPU ranks need mpirun or srun --mpi=pmix: start them so, or train in one process with "
    "--distributed off";

/// The communicators of this process. Ranks on GPUs that MPI started keep its own too: it ends them.
struct Joined {
  std::unique_ptr<Communicator> mpi, gpu;  // destroyed in the other order
  Communicator* communicator() const { return gpu ? gpu.get() : mpi.get(); }
};
Joined& joined() {
  static auto& communicators = *new Joined;  // left by leave_ranks() or not at all
  return communicators;
}

/// A function that a loaded library exports; throws DeviceUnavailable where it is of another build.
template <class Function>
Function* function_of(void* library, const char* file, const char* name, const char* identity) {
  void* const found = dlsym(library, name);
  void* const build = dlsym(library, identity);
  if (found == nullptr || build == nullptr ||
      reinterpret_cast<CommunicatorIdentity*>(build)() != kCommunicatorIdentity) {
    throw DeviceUnavailable(std::string(file) +
                            " is of another build than this program; build and copy the two "
                            "together, or use --distributed off");
  }
  return reinterpret_cast<Function*>(found);
}

Communicator* create_mpi_communicator() {
  // Global: MPI loads plugins of its own, which look for its symbols there.
  void* const library = dlopen(kMpiLibrary, RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    throw DeviceUnavailable(std::string("MPI can't be used: ") + dlerror() +
                            "; build on this machine with libopenmpi-dev installed, or use "
                            "--distributed off");
  }
  return function_of<CreateMpiCommunicator>(library, kMpiLibrary, kCreateMpiCommunicator,
                                            kMpiBuildIdentity)();
}

/// Of libhh_cuda.so, which a backend has loaded by now.
template <class Function>
Function* gpu_function(const char* name) {
  void* const library = dlopen(kCudaLibrary, RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) throw DeviceUnavailable(dlerror());
  if (dlsym(library, name) == nullptr) {
    throw DeviceUnavailable(std::string(kCudaLibrary) +
                            " was built without NCCL; build it with libnccl-dev installed, or use "
                            "--device cpu");
  }
  return function_of<Function>(library, kCudaLibrary, name, kGpuCommunicatorIdentity);
}

/// What another MPI's launcher started is a process alone to ours: so many trainings of one process
/// each.
void check_size(const Environment& environment, int size) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    const auto said = environment(name);
    if (!said) continue;
    HH_REQUIRE(*said == std::to_string(size),
               name << " says " << *said << " processes, and MPI has " << size
                    << ": the launcher is of another MPI than " << kMpiLibrary
                    << " was built with: use that one's mpirun, or build with this one");
    return;
  }
}

void join_gpus(GpuRank place, const GpuMeeting& meeting) {
  place.meeting = meeting;
  place.stream = backend({DeviceKind::kCuda, place.index}).stream();
  joined().gpu.reset(gpu_function<CreateGpuCommunicator>(kCreateGpuCommunicator)(place));
}

/// Why this rank can't have the GPU of its number; empty: it has it.
std::string no_gpu(int index) {
  try {
    backend({DeviceKind::kCuda, index});
    return "";
  } catch (const DeviceUnavailable& why) {
    return why.what();
  }
}

/// The GPUs of ranks that MPI started, if they are to have some.
void join_gpus_by_mpi(Communicator& mpi, const std::string& device) {
  // What follows is for all or none.
  const auto devices = mpi.gather(std::as_bytes(std::span(device)));
  together(mpi, [&] {
    const auto word = [&](int rank) {
      const auto& bytes = devices[std::size_t(rank)];
      return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    };
    HH_REQUIRE(word(mpi.rank()) == word(0), "--device " << word(mpi.rank()) << ", and rank 0 has "
                                                        << word(0) << ": give all ranks the same");
  });
  if (device == "cpu") return;
  const int index = mpi.local_rank();
  const std::string missing = no_gpu(index);
  const std::int64_t has = missing.empty() ? 1 : 0;
  const std::vector<std::int64_t> all = mpi.gather(std::span(&has, 1));
  const auto gpus = std::count(all.begin(), all.end(), 1);
  if (gpus == 0 && device == "auto") {
    log(LogLevel::kInfo, "running on CPUs: " + missing);
    return;
  }
  together(mpi, [&] {
    if (has == 0) {
      throw DeviceUnavailable("this rank has no GPU of its own (" + missing +
                              "): start as many ranks on each machine as it has GPUs");
    }
  });
  GpuMeeting meeting{};
  together(mpi, [&] {
    if (mpi.rank() == 0) gpu_function<MakeGpuMeeting>(kMakeGpuMeeting)(meeting);
  });
  mpi.broadcast(meeting.data(), meeting.size(), 0);
  together(mpi, [&] {
    join_gpus({.rank = mpi.rank(),
               .size = mpi.size(),
               .local_rank = mpi.local_rank(),
               .local_size = mpi.local_size(),
               .index = index},
              meeting);
  });
}

/// A variable of torchrun's that is a number in [least, most].
int number_of(const Environment& environment, const char* name, int least, int most) {
  const std::string text = environment(name).value_or("");
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  HH_REQUIRE(
      error == std::errc() && end == text.data() + text.size() && value >= least && value <= most,
      name << " = '" << text << "': use a whole number from " << least << " to " << most);
  return value;
}

void join_by_environment(const Environment& environment, const std::string& device) {
  constexpr int kMostRanks = 65536;
  GpuRank place{.size = number_of(environment, "WORLD_SIZE", 1, kMostRanks)};
  if (place.size == 1) return;
  place.rank = number_of(environment, "RANK", 0, place.size - 1);
  for (const char* name : {"LOCAL_RANK", "SLURM_LOCALID"}) {
    if (!environment(name)) continue;
    place.local_rank = number_of(environment, name, 0, kMostRanks);
    break;
  }
  place.local_size = environment("LOCAL_WORLD_SIZE")
                         ? number_of(environment, "LOCAL_WORLD_SIZE", 1, kMostRanks)
                         : place.local_rank + 1;
  place.index = place.local_rank;
  HH_REQUIRE(device != "cpu", kCpuRanks);
  const std::string missing = no_gpu(place.index);
  if (!missing.empty()) throw DeviceUnavailable(missing + "; " + kCpuRanks);
  // With it each rank makes the same meeting, without speaking to another.
  const bool taken = environment("TORCHELASTIC_USE_AGENT_STORE") == "True";  // by torchrun itself
  const int port = number_of(environment, "MASTER_PORT", 1, 65534) + (taken ? 1 : 0);
  const std::string address = *environment("MASTER_ADDR") + ":" + std::to_string(port);
  ::setenv("NCCL_COMM_ID", address.c_str(), /*overwrite=*/1);
  GpuMeeting meeting{};
  gpu_function<MakeGpuMeeting>(kMakeGpuMeeting)(meeting);
  join_gpus(place, meeting);
}

}  // namespace

Communicator& join_ranks(Launcher launcher, const std::string& device) {
  HH_PRECONDITION(joined().communicator() == nullptr, "the ranks are joined already");
  if (launcher == Launcher::kNone) return single_rank();
  HH_REQUIRE(!device.starts_with("cuda:"),
             "--device " << device
                         << ": each of several processes takes the GPU of its number on "
                            "its machine: use cuda, cpu or auto");
  if (launcher == Launcher::kEnvironment) {
    join_by_environment(process_environment(), device);
  } else {
    joined().mpi.reset(create_mpi_communicator());
    check_size(process_environment(), joined().mpi->size());
    if (joined().mpi->size() > 1) join_gpus_by_mpi(*joined().mpi, device);
  }
  return ranks();
}

Communicator& ranks() {
  Communicator* const communicator = joined().communicator();
  return communicator == nullptr ? single_rank() : *communicator;
}

int leave_ranks(int status) {
  Joined& all = joined();
  if (all.communicator() == nullptr) return status;
  const bool together = status == 0 || all.communicator()->size() == 1 ||
                        all.communicator()->ends_together() ||
                        (all.mpi && all.mpi->ends_together());
  if (!together) (all.mpi ? *all.mpi : *all.gpu).abort(status);
  status = int((all.mpi ? *all.mpi : *all.gpu).largest(status));
  all.gpu.reset();
  all.mpi.reset();
  return status;
}

}  // namespace hh
