// SPDX-License-Identifier: Apache-2.0
#include "engine/distributed/launcher.h"

#include <cstdlib>

#include "kernels/core/check.h"

namespace hh {
namespace {

constexpr const char* kTorchrun[] = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"};

/// Of torchrun's variables those that aren't set: "WORLD_SIZE and MASTER_PORT".
std::string missing(const Environment& environment) {
  std::string names;
  for (const char* name : kTorchrun) {
    if (!environment(name)) names += (names.empty() ? "" : ", ") + std::string(name);
  }
  return names;
}

/// Each of them is set in a process that its launcher started, and in no other.
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
  if (lacks.empty()) return Launcher::kEnvironment;
  // A single process needs no library for it. PMIX_RANK alone doesn't tell how many there are.
  for (const char* size : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    if (environment(size) == "1") return Launcher::kNone;
  }
  return started_by_mpi(environment) ? Launcher::kMpi : Launcher::kNone;
}

}  // namespace hh
