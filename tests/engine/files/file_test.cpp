// SPDX-License-Identifier: Apache-2.0
#include "engine/files/file.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <string>

#include "tests/support/temporary_folder.h"

namespace hh {
namespace {

using testing::TemporaryFolder;

std::string text_of(const std::filesystem::path& path) {
  const auto bytes = read_file(path, 1 << 20);
  return {bytes.begin(), bytes.end()};
}

std::size_t files_in(const std::filesystem::path& folder) {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++n;
  return n;
}

TEST_CASE("an AtomicFile shows only when committed", "[file]") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "old");
  {
    AtomicFile file(folder / "a");
    file.write("new");
    REQUIRE(text_of(folder / "a") == "old");
  }
  REQUIRE(text_of(folder / "a") == "old");
  REQUIRE(files_in(folder.path()) == 1);  // the abandoned temporary file is gone
  write_file_atomically(folder / "a", "new");
  REQUIRE(text_of(folder / "a") == "new");
  REQUIRE(files_in(folder.path()) == 1);
}

TEST_CASE("files that can't be read or written name the path and the reason", "[file]") {
  const TemporaryFolder folder;
  REQUIRE_THROWS_WITH(read_file(folder / "none", 10), Catch::Contains("none: can't be opened: No"));
  REQUIRE_THROWS_WITH(read_file(folder.path(), 10), Catch::Contains("not a regular file"));
  REQUIRE_THROWS_WITH(write_file_atomically(folder / "no/such", "x"), Catch::Contains("no/such"));
  write_file_atomically(folder / "long", "12345678901");
  REQUIRE_THROWS_WITH(read_file(folder / "long", 10),
                      Catch::Contains("11 bytes, more than the 10"));
}

TEST_CASE("logs grow by lines and are cut to lines", "[file]") {
  const TemporaryFolder folder;
  for (const char* line : {"1\n", "2\n", "3\n"}) append_line(folder / "log", line);
  keep_lines(folder / "log", 2);
  REQUIRE(text_of(folder / "log") == "1\n2\n");
  keep_lines(folder / "log", 5);
  REQUIRE(text_of(folder / "log") == "1\n2\n");
}

TEST_CASE("a MappedFile shows a file's bytes, even after the file is replaced", "[file]") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "bytes");
  MappedFile moved;
  {
    MappedFile file(folder / "a");
    write_file_atomically(folder / "a", "other");
    moved = std::move(file);
  }
  REQUIRE(moved.bytes().size() == 5);
  REQUIRE(std::memcmp(moved.bytes().data(), "bytes", 5) == 0);
  write_file_atomically(folder / "empty", "");
  REQUIRE(MappedFile(folder / "empty").bytes().empty());
}

}  // namespace
}  // namespace hh
