// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/access_log.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/support/temporary_folder.h"
#include "tests/support/text_file.h"

namespace hh::apps {
namespace {

using nlohmann::json;

const HttpAnswered kAnswered{.route = "/api/info",
                             .client = "127.0.0.1",
                             .method = "GET",
                             .path = "/api/v1/info",
                             .status = 200,
                             .bytes = 345,
                             .seconds = .0123456};

std::size_t lines_of(const std::filesystem::path& path) {
  const std::string text = testing::read_text(path);
  return std::size_t(std::count(text.begin(), text.end(), '\n'));
}

TEST_CASE("a line of the access log has what happened", "[access_log]") {
  const json line = json::parse(access_line(kAnswered));
  CHECK(line.size() == 7);
  CHECK(line.at("client") == "127.0.0.1");
  CHECK(line.at("method") == "GET");
  CHECK(line.at("path") == "/api/v1/info");
  CHECK(line.at("status") == 200);
  CHECK(line.at("bytes") == 345);
  CHECK(line.at("ms") == 12.346);
  const std::string time = line.at("time");
  REQUIRE(time.size() == 24);
  CHECK(time.starts_with("20"));
  CHECK(time.ends_with("Z"));
}

TEST_CASE("whatever a client asks for is one line of JSON", "[access_log]") {
  HttpAnswered hostile = kAnswered;
  hostile.method = std::string(9000, 'M');
  hostile.path =
      "/\"}\n{\"status\":1}\r\x1b[2J\xff\xfe\x80" + std::string("\0x", 2) + std::string(9000, 'a');
  const std::string line = access_line(hostile);
  for (const char c : line) CHECK(static_cast<unsigned char>(c) >= ' ');
  CHECK(line.size() < 8000);
  const json parsed = json::parse(line);
  CHECK(parsed.at("status") == 200);
  CHECK(parsed.at("path").get<std::string>().starts_with("/\"}\n{\"status\":1}\r\x1b[2J"));
}

TEST_CASE("a log that is moved away goes on in a new file", "[access_log]") {
  const testing::TemporaryFolder folder;
  const auto path = folder / "access.jsonl";
  {
    AccessLog log(path.string());
    log.write(kAnswered);
    log.write(kAnswered);
    std::filesystem::rename(path, folder / "access.1");
    log.write(kAnswered);
    CHECK(lines_of(folder / "access.1") == 2);
    CHECK(lines_of(path) == 1);
    std::filesystem::resize_file(path, 0);  // copytruncate
    log.write(kAnswered);
    CHECK(lines_of(path) == 1);
    std::filesystem::remove(path);
    log.write(kAnswered);
  }
  {
    AccessLog log(path.string());  // behind those that are there
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 50; ++i) log.write(kAnswered);
      });
    }
  }
  CHECK(lines_of(path) == 201);
}

TEST_CASE("a line that was cut short spoils no other", "[access_log]") {
  const testing::TemporaryFolder folder;
  const auto path = folder / "access.jsonl";
  AccessLog log(path.string());
  log.write(kAnswered);
  // A file that can't grow any more is what a full disk looks like to a program.
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  // Nor can the tests' own output, of a warning say, which would end them by a signal.
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{std::filesystem::file_size(path) + 10, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
  log.write(kAnswered);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  log.write(kAnswered);
  std::istringstream lines(testing::read_text(path));
  std::vector<bool> right;
  for (std::string line; std::getline(lines, line);) right.push_back(json::accept(line));
  CHECK(right == std::vector<bool>{true, false, true});
}

TEST_CASE("a reader of stdout that has stopped loses lines, and stops nobody", "[access_log]") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const int kept = ::dup(STDOUT_FILENO);
  ::dup2(ends[1], STDOUT_FILENO);
  {
    AccessLog log("-");
    for (int i = 0; i < 2000; ++i) log.write(kAnswered);  // more than the pipe holds
  }
  ::dup2(kept, STDOUT_FILENO);
  ::close(kept);
  ::close(ends[1]);
  std::string text(1 << 20, 0);
  std::size_t got = 0;
  for (ssize_t some; (some = ::read(ends[0], &text[got], text.size() - got)) > 0;) {
    got += std::size_t(some);
  }
  ::close(ends[0]);
  std::istringstream lines(text.substr(0, got));
  int whole = 0, other = 0;  // the warning that lines are lost
  for (std::string line; std::getline(lines, line);) ++(json::accept(line) ? whole : other);
  CHECK(whole > 100);
  CHECK(whole < 2000);
  CHECK(other <= 1);
}

TEST_CASE("a log that can't be one is refused, and what it is stays", "[access_log]") {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "model", "weights");
  CHECK_THROWS_WITH(AccessLog((folder / "model").string()), Catch::Contains("is no access log"));
  CHECK(testing::read_text(folder / "model") == "weights");
  CHECK_THROWS_WITH(AccessLog(folder.path().string()), Catch::Contains("can't be written"));
  CHECK_THROWS_WITH(AccessLog((folder / "none/x").string()), Catch::Contains("can't be written"));
}

}  // namespace
}  // namespace hh::apps
