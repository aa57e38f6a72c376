// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/team.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "kernels/core/parallel.h"

namespace hh::cpu {
namespace {

using namespace std::chrono_literals;

TEST_CASE("a team runs each part once, and a worker one part at a time", "[parallel][team]") {
  Team team;
  const int helpers = GENERATE(0, 1, 3);
  const std::int64_t parts = GENERATE(1, 2, 5, 300);
  std::vector<std::atomic<int>> runs(std::size_t{300});
  std::vector<std::atomic<int>> at_once(std::size_t(helpers) + 1);
  std::atomic<bool> good{true};
  for (int round = 0; round < 50; ++round) {
    team.run(parts, helpers, [&](int worker, std::int64_t part) {
      if (worker > helpers || at_once[std::size_t(worker)].exchange(1) != 0) good = false;
      if (!Team::inside()) good = false;
      ++runs[std::size_t(part)];
      at_once[std::size_t(worker)] = 0;
    });
    if (Team::inside()) good = false;
  }
  CHECK(good);
  for (std::int64_t i = 0; i < 300; ++i) {
    if (runs[std::size_t(i)] != (i < parts ? 50 : 0))
      FAIL("part " << i << ": " << runs[std::size_t(i)]);
  }
}

TEST_CASE("a part that takes long keeps no other part waiting", "[parallel][team]") {
  Team team;
  std::atomic<int> others{0};
  bool saw_all = false;
  // The first part ends only when all others are done, also those of its own thread's share.
  team.run(64, 1, [&](int, std::int64_t part) {
    if (part != 0) {
      ++others;
      return;
    }
    for (int i = 0; i < 5000 && others != 63; ++i) std::this_thread::sleep_for(1ms);
    saw_all = others == 63;
  });
  CHECK(saw_all);
}

TEST_CASE("threads that run loops at the same time share a team's threads", "[parallel][team]") {
  Team team;
  std::atomic<int> now{0}, most{0};
  std::atomic<std::int64_t> sum{0};
  const auto caller = [&] {
    for (int round = 0; round < 20; ++round) {
      team.run(16, 2, [&](int, std::int64_t part) {
        const int running = ++now;
        for (int seen = most; running > seen && !most.compare_exchange_weak(seen, running);) {
        }
        sum += part;
        std::this_thread::sleep_for(50us);
        --now;
      });
    }
  };
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) callers.emplace_back(caller);
  for (std::thread& thread : callers) thread.join();
  CHECK(sum == 4 * 20 * 120);
  CHECK(most <= 4 + 2);
}

TEST_CASE("an exception of a part is passed on when the others are done", "[parallel][team]") {
  Team team;
  std::atomic<int> done{0};
  CHECK_THROWS_WITH(team.run(40, 3,
                             [&](int, std::int64_t part) {
                               if (part % 10 == 7) throw std::runtime_error("part");
                               ++done;
                             }),
                    "part");
  CHECK(done == 36);
  CHECK_NOTHROW(team.run(4, 3, [&](int, std::int64_t) { ++done; }));
  CHECK(done == 40);
}

TEST_CASE("a team that rests uses no processor time", "[parallel][team]") {
  Team team;
  team.run(8, 3, [](int, std::int64_t) {});
  std::this_thread::sleep_for(50ms);  // it may look for work at first
  const auto cpu_time = [] {
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
  };
  const double before = cpu_time();
  std::this_thread::sleep_for(300ms);
  CHECK(cpu_time() - before < 0.03);
}

TEST_CASE("after a fork the child has a team of its own", "[parallel][team]") {
  const int before = num_threads();
  set_num_threads(4);
  const auto sum = [] {
    std::atomic<std::int64_t> s{0};
    parallel_chunks(100, [&](std::int64_t i) { s += i; });
    return s.load();
  };
  CHECK(sum() == 4950);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(sum() == 4950 ? 7 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 7);
  CHECK(sum() == 4950);
  set_num_threads(before);
}

TEST_CASE("the process's signals are handled by its own threads", "[parallel][team]") {
  static std::atomic<pid_t> handled_by{0};
  struct sigaction action {
  }, old{};
  action.sa_handler = [](int) { handled_by = gettid(); };
  sigaction(SIGUSR1, &action, &old);
  Team team;
  std::atomic<bool> sent{false};
  const pid_t here = gettid();
  // Every thread but the team's has the signal blocked for a while: it must wait for this one.
  team.run(2, 1, [&](int, std::int64_t) {
    if (gettid() == here || sent.exchange(true)) return;
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    if (sigismember(&blocked, SIGUSR1) != 1) handled_by = -1;
  });
  kill(getpid(), SIGUSR1);
  CHECK(handled_by != -1);
  sigaction(SIGUSR1, &old, nullptr);
}

}  // namespace
}  // namespace hh::cpu
