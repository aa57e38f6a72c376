// SPDX-License-Identifier: Apache-2.0
#include "engine/files/folder_in_making.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <string>

#include "engine/files/file.h"
#include "tests/support/temporary_folder.h"

namespace hh {
namespace {

using testing::TemporaryFolder;

std::size_t entries_in(const std::filesystem::path& folder) {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++n;
  return n;
}

/// One that a killed process left for `place`; returns its PID.
pid_t leave_one(const std::filesystem::path& place) {
  const pid_t child = ::fork();
  if (child == 0) {
    const FolderInMaking made(place);
    write_file_atomically(made.path() / "half", "x");
    ::raise(SIGKILL);
  }
  REQUIRE(child > 0);
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  return child;
}

TEST_CASE("names up to the longest can be made", "[folder_in_making]") {
  const TemporaryFolder folder;
  for (const std::size_t length : {1, 236, 237, 247, 255}) {
    CAPTURE(length);
    const auto place = folder / std::string(length, 'n');
    for (int i = 0; i < 2; ++i) {  // new, and in the place of an old one
      FolderInMaking made(place);
      write_file_atomically(made.path() / "a", "x");
      made.put_in_place();
    }
    CHECK(std::filesystem::exists(place / "a"));
  }
  CHECK(entries_in(folder.path()) == 5);
}

TEST_CASE("the next of a place removes what a killed process left", "[folder_in_making]") {
  const TemporaryFolder folder;
  leave_one(folder / "x");
  REQUIRE(entries_in(folder.path()) == 1);
  { const FolderInMaking other(folder / "y"); }  // another place
  CHECK(entries_in(folder.path()) == 1);
  { const FolderInMaking made(folder / "x"); }
  CHECK(entries_in(folder.path()) == 0);
}

TEST_CASE("folders of the living, and of no process, stay", "[folder_in_making]") {
  const TemporaryFolder folder;
  const FolderInMaking living(folder / "x");
  for (const char* name : {"x.tmp", "x.1a.tmp", "x.-4.tmp", "x.0.tmp", "x.99999999999.tmp"}) {
    std::filesystem::create_directory(folder / name);
  }
  // Locked under a PID that isn't seen here, as in another container.
  const pid_t dead = leave_one(folder / "z");
  const auto foreign = folder / ("x." + std::to_string(dead) + ".tmp");
  FolderInMaking elsewhere(folder / "other");
  std::filesystem::rename(elsewhere.path(), foreign);
  { const FolderInMaking made(folder / "x"); }
  CHECK(std::filesystem::exists(living.path()));
  CHECK(std::filesystem::exists(foreign));
  CHECK(entries_in(folder.path()) == 8);
}

TEST_CASE("with the old folder beside it, the new one is kept", "[folder_in_making]") {
  const TemporaryFolder folder;
  const auto made = folder / ("x." + std::to_string(leave_one(folder / "x")) + ".tmp");
  std::filesystem::create_directory(made.string() + ".old");
  { const FolderInMaking next(folder / "x"); }
  CHECK(std::filesystem::exists(made));
}

}  // namespace
}  // namespace hh
