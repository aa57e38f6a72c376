// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <catch2/catch.hpp>

#include "apps/commands/command.h"

namespace hh::apps {
namespace {

TEST_CASE("a stop signal doesn't touch the stack of what it interrupts", "[signals]") {
  struct sigaction kept[2], now{};
  REQUIRE(::sigaction(SIGINT, nullptr, &kept[0]) == 0);
  REQUIRE(::sigaction(SIGTERM, nullptr, &kept[1]) == 0);
  catch_stop_signals();
  for (const int signal : {SIGINT, SIGTERM}) {
    REQUIRE(::sigaction(signal, nullptr, &now) == 0);
    CHECK((now.sa_flags & SA_ONSTACK) != 0);
    CHECK((now.sa_flags & SA_RESTART) != 0);
  }
  stack_t stack{};
  REQUIRE(::sigaltstack(nullptr, &stack) == 0);
  CHECK((stack.ss_flags & SS_DISABLE) == 0);
  ::sigaction(SIGINT, &kept[0], nullptr);
  ::sigaction(SIGTERM, &kept[1], nullptr);
}

}  // namespace
}  // namespace hh::apps
