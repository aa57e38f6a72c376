// SPDX-License-Identifier: Apache-2.0
// hh_dist_tests: started by mpirun, each of its processes is a rank, and all run the same tests; by
// itself it is one rank. A check that fails on one rank ends all: its next collective would meet another
// of theirs.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include "engine/distributed/ranks.h"
#include "kernels/core/parallel.h"

namespace {

class EndAll : public Catch::TestEventListenerBase {
 public:
  using TestEventListenerBase::TestEventListenerBase;
  bool assertionEnded(const Catch::AssertionStats& stats) override {
    failed_ = failed_ || !stats.assertionResult.isOk();
    return false;
  }
  // After the reporter has said what failed.
  void sectionEnded(const Catch::SectionStats&) override {
    if (failed_ && hh::ranks().size() > 1) hh::ranks().abort(1);
  }

 private:
  bool failed_ = false;
};
CATCH_REGISTER_LISTENER(EndAll)

}  // namespace

int main(int argc, char** argv) {
  hh::cpu::set_num_threads(1);
  hh::join_ranks(hh::choose_launcher("auto", hh::process_environment()), "cpu");
  const int status = Catch::Session().run(argc, argv);
  return hh::leave_ranks(status == 0 ? 0 : 1);
}
