// SPDX-License-Identifier: Apache-2.0
#include "engine/distributed/launcher.h"

#include <catch2/catch.hpp>
#include <map>

namespace hh {
namespace {

using Catch::Contains;

Environment of(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const char* name) -> std::optional<std::string> {
    const auto it = variables.find(name);
    if (it == variables.end()) return std::nullopt;
    return it->second;
  };
}

const std::map<std::string, std::string> kTorchrun{
    {"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "localhost"}, {"MASTER_PORT", "29500"}};
/// What a batch script of Slurm has, also without srun.
const std::map<std::string, std::string> kBatchScript{
    {"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}, {"SLURM_LOCALID", "0"}, {"SLURM_JOB_ID", "17"}};

TEST_CASE("--distributed auto goes by what a launcher sets", "[distributed]") {
  const auto chosen = [](std::map<std::string, std::string> variables) {
    return choose_launcher("auto", of(std::move(variables)));
  };
  CHECK(chosen({}) == Launcher::kNone);
  CHECK(chosen(kTorchrun) == Launcher::kEnvironment);
  CHECK(chosen({{"OMPI_COMM_WORLD_SIZE", "2"}}) == Launcher::kMpi);
  CHECK(chosen({{"PMIX_RANK", "0"}}) == Launcher::kMpi);
  CHECK(chosen({{"PMI_SIZE", "3"}}) == Launcher::kMpi);
  // One process needs no MPI.
  CHECK(chosen({{"OMPI_COMM_WORLD_SIZE", "1"}, {"PMIX_RANK", "0"}}) == Launcher::kNone);
  CHECK(chosen({{"PMI_SIZE", "1"}}) == Launcher::kNone);
  CHECK(chosen({{"PMIX_RANK", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}}) == Launcher::kNone);
  CHECK(chosen({{"PMIX_RANK", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}}) == Launcher::kMpi);
  auto one = kTorchrun;
  one["WORLD_SIZE"] = "1";
  CHECK(chosen(one) == Launcher::kNone);
  // mpirun in a script that has torchrun's variables for other programs, and torchrun in a step of Slurm's.
  auto both = kTorchrun;
  both["PMI_SIZE"] = "2";
  CHECK(chosen(both) == Launcher::kMpi);
  both["TORCHELASTIC_RUN_ID"] = "none";
  CHECK(chosen(both) == Launcher::kEnvironment);
  // A batch script would wait for ranks that nobody starts.
  CHECK(chosen(kBatchScript) == Launcher::kNone);
  for (const auto& [name, value] : kTorchrun) {
    auto without = kTorchrun;
    without.erase(name);
    CAPTURE(name);
    CHECK(chosen(without) == Launcher::kNone);
  }
}

TEST_CASE("--distributed mpi and env want what they are named after", "[distributed]") {
  CHECK(choose_launcher("off", of(kTorchrun)) == Launcher::kNone);
  CHECK(choose_launcher("env", of(kTorchrun)) == Launcher::kEnvironment);
  CHECK(choose_launcher("mpi", of({{"OMPI_COMM_WORLD_SIZE", "1"}})) == Launcher::kMpi);
  CHECK_THROWS_WITH(choose_launcher("mpi", of(kBatchScript)),
                    Contains("started by itself") && Contains("mpirun -np 2"));
  CHECK_THROWS_WITH(choose_launcher("env", of({{"RANK", "0"}, {"WORLD_SIZE", "2"}})),
                    Contains("not set: MASTER_ADDR, MASTER_PORT: ") && Contains("torchrun"));
  CHECK_THROWS_WITH(choose_launcher("nccl", of({})),
                    "--distributed 'nccl': use auto, off, mpi or env");
}

TEST_CASE("an empty variable isn't set", "[distributed]") {
  ::setenv("HH_TEST_EMPTY", "", 1);
  ::setenv("HH_TEST_FULL", "x", 1);
  CHECK_FALSE(process_environment()("HH_TEST_EMPTY").has_value());
  CHECK_FALSE(process_environment()("HH_TEST_MISSING").has_value());
  CHECK(process_environment()("HH_TEST_FULL") == "x");
}

}  // namespace
}  // namespace hh
