// SPDX-License-Identifier: Apache-2.0
#include "engine/distributed/launcher.h"

#include <cstdlib>

#include "kernels/core/check.h"

namespace hh {
namespace {

constexpr const char* kTorchrun[] = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"};

/// Of torchrun's variables those that aren't set: "WORLD_SIZE, MASTER_PORT".
std::string missing(const Environment& environment) {
  std::string names;
  for (const char* name : kTorchrun) {
    if (!environment(name)) names += (names.empty() ? "" : ", ") + std::string(name);
  }
  return names;
}

/// Whether MPI's launcher started this process as one of several. Each of the variables is set in a
/// process that it started, and in no other.
bool one_of_several_by_mpi(const Environment& environment) {
  for (const char* size : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    if (const auto value = environment(size)) return value != "1";
  }
  // PMIx alone doesn't tell how many there are; Slurm does of its steps.
  return environment("PMIX_RANK") && environment("SLURM_STEP_NUM_TASKS") != "1";
}

bool started_by_mpi(const Environment& environment) {
  return environment("OMPI_COMM_WORLD_SIZE") || environment("PMIX_RANK") || environment("PMI_SIZE");
}

}  // namespace

Environment process_environment() {
  return [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return std::string(value);
  };
}

Launcher choose_launcher(const std::string& wish, const Environment& environment) {
  HH_REQUIRE(wish == "auto" || wish == "off" || wish == "mpi" || wish == "env",
             "--distributed '" << wish << "': use auto, off, mpi or env");
  if (wish == "off") return Launcher::kNone;
  const std::string lacks = missing(environment);
  if (wish == "env") {
    HH_REQUIRE(lacks.empty(), "--distributed env: not set: "
                                  << lacks << ": start the processes by torchrun, or set RANK, "
                                  << "WORLD_SIZE, MASTER_ADDR and MASTER_PORT for each");
    return Launcher::kEnvironment;
  }
  if (wish == "mpi") {
    HH_REQUIRE(started_by_mpi(environment),
               "--distributed mpi: this process was started by itself: start it as mpirun -np 2 "
               "hybridhash train ..., or by srun --mpi=pmix");
    return Launcher::kMpi;
  }
  const bool mpi = one_of_several_by_mpi(environment);
  const bool torchrun = lacks.empty() && environment("WORLD_SIZE") != "1";
  // Where both are set, one started the other: torchrun, when it says so, else a script's variables
  // are for other programs.
  if (torchrun && (!mpi || environment("TORCHELASTIC_RUN_ID"))) return Launcher::kEnvironment;
  return mpi ? Launcher::kMpi : Launcher::kNone;
}

}  // namespace hh
