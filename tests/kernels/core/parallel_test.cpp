// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/parallel.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/support/allocations.h"

namespace hh::cpu {
namespace {

/// Sets the number of threads for its own lifetime.
class Threads {
 public:
  explicit Threads(int n) : before_(num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before_); }

 private:
  int before_;
};

using Range = std::pair<std::int64_t, std::int64_t>;

/// The ranges that a loop is cut into, in order.
std::set<Range> ranges(std::int64_t n, std::int64_t grain) {
  std::mutex mutex;
  std::set<Range> all;
  parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    const std::scoped_lock lock(mutex);
    REQUIRE(all.emplace(begin, end).second);
  });
  return all;
}

TEST_CASE("parallel_for covers its range once, in a few parts of a grain for each thread",
          "[parallel]") {
  const int threads = GENERATE(1, 2, 3, 8);
  const std::int64_t n = GENERATE(0, 1, 2, 7, 8, 9, 1000), grain = GENERATE(0, 1, 3, 100, 5000);
  CAPTURE(threads, n, grain);
  const Threads set(threads);
  const std::set<Range> parts = ranges(n, grain);
  std::int64_t at = 0;
  for (const auto& [begin, end] : parts) {
    CHECK(begin == at);
    CHECK(end > begin);
    at = end;
  }
  CHECK(at == n);
  const std::int64_t least = std::max<std::int64_t>(grain, 1);
  const std::int64_t most = threads == 1 ? 1 : 4 * threads;
  CHECK(std::int64_t(parts.size()) == std::min<std::int64_t>(most, (n + least - 1) / least));
}

TEST_CASE("a loop inside a loop runs in the thread it is in", "[parallel]") {
  const Threads set(4);
  std::mutex mutex;
  bool inline_all = true;
  parallel_for(4, 1, [&](std::int64_t, std::int64_t) {
    const auto outer = std::this_thread::get_id();
    int parts = 0;
    bool same = true;
    parallel_for(100, 1, [&](std::int64_t begin, std::int64_t end) {
      same = same && std::this_thread::get_id() == outer && begin == 0 && end == 100;
      ++parts;
    });
    const std::scoped_lock lock(mutex);
    inline_all = inline_all && same && parts == 1;
  });
  CHECK(inline_all);
  CHECK(ranges(8, 1).size() == 8);  // afterwards loops are cut again
}

TEST_CASE("an exception of a body reaches the caller, and the next loop runs", "[parallel]") {
  const int threads = GENERATE(1, 4);
  const Threads set(threads);
  CHECK_THROWS_WITH(parallel_for(8, 1,
                                 [](std::int64_t begin, std::int64_t end) {
                                   if (begin <= 5 && 5 < end) throw std::runtime_error("item 5");
                                 }),
                    "item 5");
  CHECK(ranges(8, 1).size() == (threads == 1 ? 1 : 8));
}

TEST_CASE("parallel_chunks runs each chunk once, whatever the number of threads", "[parallel]") {
  const Threads set(GENERATE(1, 3));
  std::vector<int> runs(17);
  parallel_chunks(17, [&](std::int64_t chunk) { ++runs[std::size_t(chunk)]; });
  CHECK(runs == std::vector<int>(17, 1));
}

TEST_CASE("a loop takes no memory for its body", "[parallel]") {
  const Threads two(2);
  std::int64_t a = 1, b = 2, c = 3;
  std::atomic<std::int64_t> sum{0};
  parallel_for(2, 1, [](std::int64_t, std::int64_t) {});  // the process's first starts the threads
  const std::int64_t before = testing::allocations();
  parallel_for(100, 1,
               [&](std::int64_t begin, std::int64_t end) { sum += (end - begin) * a * b * c; });
  parallel_chunks(3, [&](std::int64_t) { sum += a + b + c; });
  const std::int64_t after = testing::allocations();
  CHECK(after == before);
  CHECK(sum == 618);
}

}  // namespace
}  // namespace hh::cpu
