// SPDX-License-Identifier: Apache-2.0
#include "engine/files/file_error.h"

#include <catch2/catch.hpp>
#include <cerrno>

#include "engine/files/file.h"

namespace hh {
namespace {

using Catch::Contains;

TEST_CASE("a full disk is told from other reasons by its type", "[file_error]") {
  // The kernel's disk that is always full.
  CHECK_THROWS_AS(append_line("/dev/full", "x\n"), DiskFull);
  CHECK_THROWS_WITH(append_line("/dev/full", "x\n"), Contains("/dev/full: can't be written: "));
  bool other = false;
  try {
    append_line("/nowhere/at/all", "x\n");
  } catch (const DiskFull&) {
    other = false;
  } catch (const std::runtime_error&) {
    other = true;
  }
  CHECK(other);
}

TEST_CASE("an error of a disk is worth another try, a missing file isn't", "[file_error]") {
  for (const int error : {EIO, ESTALE, ETIMEDOUT, EMFILE, ENOMEM}) {
    errno = error;
    CHECK_THROWS_AS(throw_file_error("x", "can't be read"), TryAgain);
  }
  for (const int error : {ENOENT, EACCES, ENOSPC}) CHECK(!means_try_again(error));
}

TEST_CASE("what the standard library throws is told with its path first", "[file_error]") {
  const auto text = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const std::system_error& error) {
      return text_of(error);
    }
    return "nothing";
  };
  CHECK(text([] { std::filesystem::create_directory("/proc/none/at/all"); }) ==
        "/proc/none/at/all: No such file or directory");
  CHECK(text([] { std::filesystem::rename("/proc/none", "/proc/other"); }) ==
        "/proc/none, /proc/other: No such file or directory");
  CHECK(text([] { throw std::system_error(EAGAIN, std::generic_category(), "a thread"); }) ==
        "a thread: Resource temporarily unavailable");
}

}  // namespace
}  // namespace hh
