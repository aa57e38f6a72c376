// SPDX-License-Identifier: Apache-2.0
// The program beside a libhh_mpi.so that it can't use.
#include "engine/distributed/ranks.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support/temporary_folder.h"

namespace hh {
namespace {

using Catch::Contains;

TEST_CASE("a process alone is rank 0 of 1", "[distributed]") {
  Communicator& alone = join_ranks(Launcher::kNone, "auto");
  CHECK(&alone == &ranks());
  CHECK(alone.rank() == 0);
  CHECK(alone.size() == 1);
  CHECK(leave_ranks(7) == 7);
  std::vector<std::int64_t> values{1, 2};
  CHECK(alone.gather(std::span<const std::int64_t>(values)) == values);
}

// What the test below runs in programs of their own, since a program loads the library once.
TEST_CASE("a libhh_mpi.so of another build is refused", "[.other_mpi]") {
  CHECK_THROWS_WITH(join_ranks(Launcher::kMpi, "cpu"),
                    "libhh_mpi.so is of another build than this program; build and copy the two "
                    "together, or use --distributed off");
}
TEST_CASE("a libhh_mpi.so that can't be loaded is told", "[.broken_mpi]") {
  CHECK_THROWS_WITH(join_ranks(Launcher::kMpi, "cpu"),
                    Contains("MPI can't be used: ") && Contains("libhh_mpi.so") &&
                        Contains("libopenmpi-dev") && Contains("--distributed off"));
}

TEST_CASE("a libhh_mpi.so of another build, or a broken one, isn't used", "[distributed]") {
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  const auto passes = [&](const std::filesystem::path& folder, const char* test) {
    const std::string command = "LD_LIBRARY_PATH='" + folder.string() + "' '" + self.string() +
                                "' '" + test + "' >/dev/null";
    return std::system(command.c_str()) == 0;
  };
  REQUIRE(std::filesystem::exists(self.parent_path() / "other_build/libhh_mpi.so"));
  CHECK(passes(self.parent_path() / "other_build", "[.other_mpi]"));
  const testing::TemporaryFolder folder;
  std::ofstream(folder / "libhh_mpi.so") << "not a library";
  CHECK(passes(folder.path(), "[.broken_mpi]"));
}

}  // namespace
}  // namespace hh
