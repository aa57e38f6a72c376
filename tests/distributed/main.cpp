// SPDX-License-Identifier: Apache-2.0
// hh_dist_tests: started by mpirun, each of its processes is a rank, and all run the same tests; by
// itself it is one rank. A test that fails on one rank ends all.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include "engine/distributed/ranks.h"
#include "kernels/core/parallel.h"

int main(int argc, char** argv) {
  hh::cpu::set_num_threads(1);
  hh::join_ranks(hh::choose_launcher("auto", hh::process_environment()), "cpu");
  const int status = Catch::Session().run(argc, argv);
  return hh::leave_ranks(status == 0 ? 0 : 1);
}
