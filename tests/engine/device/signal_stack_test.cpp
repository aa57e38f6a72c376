// SPDX-License-Identifier: Apache-2.0
#include "engine/device/signal_stack.h"

#include <signal.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <thread>

namespace hh {
namespace {

volatile std::uintptr_t handled_at = 0;

void on_signal(int) {
  const int here = 0;
  handled_at = reinterpret_cast<std::uintptr_t>(&here);
}

TEST_CASE("handlers run on a stack of their own", "[signal_stack]") {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_ONSTACK;
  struct sigaction before {};
  REQUIRE(::sigaction(SIGUSR2, &action, &before) == 0);
  // In a thread, which has none unless a sanitizer gave it one.
  std::thread([] {
    use_signal_stack();
    use_signal_stack();
    stack_t stack{};
    CHECK(::sigaltstack(nullptr, &stack) == 0);
    CHECK((stack.ss_flags & SS_DISABLE) == 0);
    const auto begin = reinterpret_cast<std::uintptr_t>(stack.ss_sp);
    ::raise(SIGUSR2);
    CHECK(handled_at >= begin);
    CHECK(handled_at < begin + stack.ss_size);
  }).join();
  ::sigaction(SIGUSR2, &before, nullptr);
}

}  // namespace
}  // namespace hh
