// SPDX-License-Identifier: Apache-2.0
#include "engine/files/file.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

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

TEST_CASE("a replaced file keeps its mode, a link stays a link", "[file]") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "old");
  std::filesystem::permissions(folder / "a", std::filesystem::perms(0640));
  std::filesystem::create_symlink("a", folder / "link");
  write_file_atomically(folder / "link", "new");
  CHECK(std::filesystem::is_symlink(folder / "link"));
  CHECK(text_of(folder / "a") == "new");
  CHECK(std::filesystem::status(folder / "a").permissions() == std::filesystem::perms(0640));
  // A link that leads to nothing yet makes what it leads to.
  std::filesystem::create_symlink("b", folder / "early");
  write_file_atomically(folder / "early", "b's");
  CHECK(text_of(folder / "b") == "b's");
  CHECK(std::filesystem::is_symlink(folder / "early"));
  CHECK(files_in(folder.path()) == 4);
}

TEST_CASE("a pipe is written through and read to its end", "[file]") {
  const TemporaryFolder folder;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  const std::string text(std::size_t{300'000}, 'x');  // more than a pipe holds
  std::thread writer([&] { write_file_atomically(folder / "pipe", text); });
  const auto bytes = read_file_or_pipe(folder / "pipe", text.size());
  writer.join();
  CHECK(std::string(bytes.begin(), bytes.end()) == text);
  CHECK(std::filesystem::is_fifo(folder / "pipe"));
  CHECK(files_in(folder.path()) == 1);
  CHECK_THROWS_WITH(read_file_or_pipe("/dev/zero", 100'000), Catch::Contains("more than"));
  write_file_atomically("/dev/null", text);
  CHECK(std::filesystem::is_character_file("/dev/null"));
  CHECK_THROWS_WITH(write_file_atomically(folder.path(), "x"), Catch::Contains("it is a folder"));
}

TEST_CASE("names of up to 255 bytes can be written", "[file]") {
  const TemporaryFolder folder;
  for (const std::size_t length : {244u, 245u, 246u, 250u, 255u}) {
    const std::string name(length, 'n');
    write_file_atomically(folder / name, "x");
    CHECK(text_of(folder / name) == "x");
  }
  CHECK_THROWS_WITH(write_file_atomically(folder / std::string(256, 'n'), "x"),
                    Catch::Contains("can't be"));
}

TEST_CASE("what a killed writer left is removed, and nothing else", "[file]") {
  const TemporaryFolder folder;
  for (const char* name :
       {"a", "a.q1W2e3.tmp", "a.AAAAAA.tmp", "ab.AAAAAA.tmp", "a.short.tmp", "a.AAAAAA.txt"}) {
    write_file_atomically(folder / name, "x");
  }
  remove_left_temporaries(folder / "a");
  CHECK(files_in(folder.path()) == 4);
  CHECK_FALSE(std::filesystem::exists(folder / "a.q1W2e3.tmp"));
  CHECK(std::filesystem::exists(folder / "a.short.tmp"));
  remove_left_temporaries(folder / "none" / "a");  // no such folder: nothing to do
}

TEST_CASE("the next writer removes a killed one's temporary, and never a living one's", "[file]") {
  const TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    AtomicFile file(folder / "a");
    file.write("half");
    ::raise(SIGKILL);
  }
  REQUIRE(child > 0);
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  REQUIRE(files_in(folder.path()) == 1);
  AtomicFile living(folder / "a");
  CHECK(files_in(folder.path()) == 1);
  living.write("whole");
  write_file_atomically(folder / "a", "other");
  CHECK(files_in(folder.path()) == 2);
  living.commit();
  CHECK(text_of(folder / "a") == "whole");
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("a folder is looked through for temporaries once", "[file]") {
  const TemporaryFolder folder;
  const auto leave = [&](const char* name) { std::ofstream(folder / name) << "half"; };
  leave("a.AAAAAA.tmp");
  leave("b.BBBBBB.tmp");
  write_file_atomically(folder / "a", "x");
  CHECK_FALSE(std::filesystem::exists(folder / "a.AAAAAA.tmp"));
  CHECK(std::filesystem::exists(folder / "b.BBBBBB.tmp"));  // not this file's
  leave("a.CCCCCC.tmp");
  write_file_atomically(folder / "a", "y");
  CHECK(std::filesystem::exists(folder / "a.CCCCCC.tmp"));  // it wasn't there the first time
  write_file_atomically(folder / "b", "x");
  CHECK_FALSE(std::filesystem::exists(folder / "b.BBBBBB.tmp"));
  remove_left_temporaries(folder / "a");
  CHECK_FALSE(std::filesystem::exists(folder / "a.CCCCCC.tmp"));
}

TEST_CASE("files that can't be read or written name the path and the reason", "[file]") {
  const TemporaryFolder folder;
  REQUIRE_THROWS_WITH(read_file(folder / "none", 10), Catch::Contains("none: can't be opened: No"));
  REQUIRE_THROWS_WITH(read_file(folder.path(), 10), Catch::Contains("it is a folder: give a file"));
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
