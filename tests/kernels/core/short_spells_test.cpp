// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/short_spells.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdint>
#include <thread>

#include "kernels/core/team.h"

namespace {

/// What the system says of the calling thread.
struct Said {
  Said() { works = syscall(SYS_sched_getattr, 0, words, sizeof words, 0) == 0; }
  bool works = false;
  std::uint64_t spell() const { return words[3]; }
  std::uint32_t policy() const { return std::uint32_t(words[0] >> 32); }
  std::int32_t nice() const { return std::int32_t(words[2] & 0xffffffff); }
  std::uint64_t words[6]{};
};

/// Whether this system takes the wish: Linux from 6.12 on.
bool takes_wishes() {
  bool takes = false;
  std::thread([&] {
    hh::cpu::ask_for_short_spells();
    takes = Said().spell() == hh::cpu::kSpell;
  }).join();
  return takes;
}

}  // namespace

TEST_CASE("a thread that asks for short spells keeps its class and its share", "[team]") {
  std::thread([] {
    const Said before;
    hh::cpu::ask_for_short_spells();
    const Said after;
    REQUIRE(after.works);
    CHECK(after.policy() == before.policy());
    CHECK(after.nice() == before.nice());
  }).join();
  // Of a lower share too.
  std::thread([] {
    REQUIRE(setpriority(PRIO_PROCESS, id_t(gettid()), 5) == 0);
    hh::cpu::ask_for_short_spells();
    CHECK(Said().nice() == 5);
  }).join();
}

TEST_CASE("the team's threads run for short spells, its caller as it was", "[team]") {
  if (!takes_wishes()) {
    WARN("this system takes no wishes: nothing to see");
    return;
  }
  const std::uint64_t before = Said().spell();
  std::atomic<int> helped{0}, others{0};
  hh::cpu::Team team;
  const std::thread::id caller = std::this_thread::get_id();
  for (int i = 0; i < 1000 && helped == 0; ++i) {
    team.run(8, 1, [&](int, std::int64_t) {
      if (std::this_thread::get_id() != caller) {
        ++(Said().spell() == hh::cpu::kSpell ? helped : others);
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(200));
      }
    });
  }
  CHECK(helped > 0);
  CHECK(others == 0);
  CHECK(Said().spell() == before);
}
