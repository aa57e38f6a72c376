// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/compute.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <latch>
#include <thread>
#include <vector>

#include "kernels/core/parallel.h"

namespace hh::apps {
namespace {

constexpr double kForever = 60;

TEST_CASE("work never keeps more threads busy than there are", "[compute]") {
  const int before = cpu::num_threads(), threads = GENERATE(1, 3);
  cpu::set_num_threads(threads);
  {
    Compute compute(threads, kForever);
    std::atomic<int> busy = 0, most = 0, done = 0;
    const auto count = [&](int n) {
      const int now = busy += n;
      for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) continue;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      busy -= n;
      ++done;
    };
    std::vector<std::thread> requests;
    for (int i = 0; i < 40; ++i) {
      requests.emplace_back([&, i] {
        if (i % 3 == 0) {
          compute.on_all_threads([&] { count(cpu::num_threads()); });
        } else {
          compute.on_one_thread([&] { count(cpu::num_threads()); });
        }
      });
    }
    for (std::thread& request : requests) request.join();
    CHECK(done == 40);
    CHECK(most == threads);
  }
  cpu::set_num_threads(before);
}

TEST_CASE("who waits too long for a turn is told so, and others go on", "[compute]") {
  const int before = cpu::num_threads();
  cpu::set_num_threads(2);
  {
    Compute compute(2, .05);
    std::latch started(1), release(1);
    std::thread holder([&] {
      compute.on_one_thread([&] {
        started.count_down();
        release.wait();
      });
    });
    started.wait();
    bool ran = false;
    CHECK_THROWS_AS(compute.on_all_threads([&] { ran = true; }), ComputeBusy);
    CHECK(!ran);
    compute.on_one_thread([&] { ran = true; });  // the second thread is free
    CHECK(ran);
    release.count_down();
    holder.join();
    int threads = 0;
    compute.on_all_threads([&] { threads = cpu::num_threads(); });
    CHECK(threads == 2);
  }
  cpu::set_num_threads(before);
}

TEST_CASE("what work throws comes to who asked for it, and the turn is given back", "[compute]") {
  Compute compute(2, kForever);
  struct Odd {};
  for (int i = 0; i < 3; ++i) {
    CHECK_THROWS_AS(compute.on_all_threads([] { throw Odd(); }), Odd);
    CHECK_THROWS_AS(compute.on_one_thread([] { throw Odd(); }), Odd);
  }
  bool ran = false;
  compute.on_all_threads([&] { ran = true; });
  CHECK(ran);
}

}  // namespace
}  // namespace hh::apps
