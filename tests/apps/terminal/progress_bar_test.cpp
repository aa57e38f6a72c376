// SPDX-License-Identifier: Apache-2.0
// What terminals of all kinds get while the program works.
#include "apps/terminal/progress_bar.h"

#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <thread>

namespace hh::apps {
namespace {

using Catch::Contains;

TEST_CASE("lines are cut by columns, not inside a character", "[progress]") {
  CHECK(cut_to_columns("abc", 3) == "abc");
  CHECK(cut_to_columns("abcd", 3) == "abc");
  CHECK(cut_to_columns("äöü", 2) == "äö");
  CHECK(cut_to_columns("猫猫猫", 5) == "猫猫");
  CHECK(cut_to_columns("a", 0).empty());
}

/// All that a terminal of so many columns gets from a bar, of a work that lasts half a second.
std::string seen_on_terminal(const char* term, unsigned short columns, int step = 100) {
  winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
  REQUIRE(child >= 0);
  if (child == 0) {
    term != nullptr ? ::setenv("TERM", term, 1) : ::unsetenv("TERM");
    ::unsetenv("COLUMNS");
    ProgressBar bar;
    for (int i = 0; i <= 5; ++i) {
      bar.show({.what = "an epoch with a long name",
                .total = 500,
                .done = step * i,
                .detail = "loss 0.523"});
      std::this_thread::sleep_for(std::chrono::milliseconds(110));
    }
    bar.show({.ended = true});
    ::_exit(0);
  }
  std::string seen;
  char block[4096];
  for (ssize_t got; (got = ::read(terminal, block, sizeof block)) > 0;) {
    seen.append(block, std::size_t(got));
  }
  ::close(terminal);
  ::waitpid(child, nullptr, 0);
  return seen;
}

TEST_CASE("terminals get lines that fit, and escape sequences only if they know them",
          "[progress]") {
  for (const unsigned short columns : {20, 40, 200}) {
    const std::string seen = seen_on_terminal("xterm", columns);
    CAPTURE(columns, seen);
    CHECK(std::count(seen.begin(), seen.end(), '\r') >= 3);
    for (std::size_t at = 0; at < seen.size();) {
      const std::size_t end = std::min(seen.find('\r', at), seen.size());
      const std::string line = seen.substr(at, std::min(seen.find('\x1b', at), end) - at);
      CHECK(line.size() < columns);
      at = end + 1;
    }
    CHECK(seen.ends_with("\r\x1b[K"));
    CHECK((seen.find("[####") != std::string::npos) == (columns == 200));
  }
  for (const char* term : {"dumb", "", static_cast<const char*>(nullptr)}) {
    const std::string seen = seen_on_terminal(term, 40);
    CHECK(seen.find('\x1b') == std::string::npos);
  }
}

TEST_CASE("while nothing is done there is no telling how long it takes", "[progress]") {
  const std::string begun = seen_on_terminal("xterm", 200, 0);
  CHECK_THAT(begun, Catch::Contains("0/500") && !Catch::Contains("ETA"));
  CHECK_THAT(seen_on_terminal("xterm", 200), Catch::Contains("ETA"));
}

}  // namespace
}  // namespace hh::apps
