// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <mutex>
#include <set>
#include <thread>

#include "kernels/core/parallel.h"

namespace hh::cpu {
namespace {

/// Ranges that a loop of so many items is cut into.
std::size_t ranges() {
  std::mutex mutex;
  std::set<std::int64_t> begins;
  parallel_for(64, 1, [&](std::int64_t begin, std::int64_t) {
    const std::lock_guard lock(mutex);
    begins.insert(begin);
  });
  return begins.size();
}

/// As it is cut for so many threads.
std::size_t ranges_of(int threads) {
  set_num_threads(threads);
  const std::size_t n = ranges();
  set_num_threads(4);
  return n;
}

TEST_CASE("a limit of threads holds for the thread that made it, while it lives", "[parallel]") {
  const int before = num_threads();
  const std::size_t for_two = ranges_of(2), for_four = ranges_of(4);
  REQUIRE(for_two < for_four);
  {
    const ThreadLimit two(2);
    CHECK(num_threads() == 2);
    CHECK(ranges() == for_two);
    {
      const ThreadLimit one(1), more(3);
      CHECK(num_threads() == 1);
      CHECK(ranges() == 1);
    }
    CHECK(num_threads() == 2);
    int of_another = 0;
    std::thread([&] { of_another = num_threads(); }).join();
    CHECK(of_another == 4);
  }
  CHECK(ranges() == for_four);
  const ThreadLimit many(100);
  CHECK(num_threads() == 4);
  set_num_threads(before);
}

}  // namespace
}  // namespace hh::cpu
