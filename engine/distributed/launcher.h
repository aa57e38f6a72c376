// SPDX-License-Identifier: Apache-2.0
// Whether a process was started as one of several that train together, as the environment says.
#pragma once
#include <functional>
#include <optional>
#include <string>

namespace hh {

enum class Launcher {
  kNone,
  kMpi,          // mpirun, or srun --mpi=pmix
  kEnvironment,  // torchrun and its like: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT
};

/// The value of an environment variable; none where it isn't set or is empty.
using Environment = std::function<std::optional<std::string>(const char* name)>;
Environment process_environment();

/// `wish` is what --distributed says: auto, off, mpi or env. auto is kMpi where a variable of Open
/// MPI, PMIx or PMI says more than one process, kEnvironment where all four variables are set and say
/// so, else kNone; of both it is kEnvironment under torchrun itself. Slurm's own variables don't count: a batch script has them without srun.
/// Throws std::invalid_argument for another word, and where what is asked for isn't there.
Launcher choose_launcher(const std::string& wish, const Environment& environment);

}  // namespace hh
