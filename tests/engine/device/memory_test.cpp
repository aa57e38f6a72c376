// SPDX-License-Identifier: Apache-2.0
#include "engine/device/memory.h"

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "engine/device/backend.h"
#include "tests/support/device.h"

namespace hh {
namespace {

TEST_CASE("statistics follow Storages", "[memory]") {
  const Device device = GENERATE(from_range(testing::devices()));
  release_cached_memory(device);
  reset_peak_memory(device);
  const MemoryStatistics before = memory_statistics(device);
  REQUIRE(before.peak_in_use == before.in_use);
  {
    const Storage a(100'000, device);
    REQUIRE(a.bytes() == 100'000);
    REQUIRE(a.device() == device);
    REQUIRE(reinterpret_cast<std::uintptr_t>(a.data()) % 64 == 0);
    const MemoryStatistics one = memory_statistics(device);
    // What is lent is rounded up, by at most an eighth.
    const std::size_t lent = one.in_use - before.in_use;
    REQUIRE(lent >= 100'000);
    REQUIRE(lent <= 112'500);
    REQUIRE(one.reserved == before.reserved + lent);
    REQUIRE(one.allocations == before.allocations + 1);
    REQUIRE(one.device_allocations == before.device_allocations + 1);

    const Storage b(100'000, device);
    REQUIRE(b.data() != a.data());
    REQUIRE(memory_statistics(device).in_use == before.in_use + 2 * lent);
  }
  const MemoryStatistics after = memory_statistics(device);
  REQUIRE(after.in_use == before.in_use);
  REQUIRE(after.peak_in_use - before.in_use >= 200'000);
  REQUIRE(after.reserved - before.reserved >= 200'000);  // kept for reuse
  reset_peak_memory(device);
  REQUIRE(memory_statistics(device).peak_in_use == before.in_use);
  release_cached_memory(device);
  REQUIRE(memory_statistics(device).reserved == before.reserved);
}

TEST_CASE("memory given back is lent again, to sizes a little different too", "[memory]") {
  const Device device = GENERATE(from_range(testing::devices()));
  release_cached_memory(device);
  std::byte* first = nullptr;
  {
    const Storage a(1'000'000, device);
    first = a.data();
  }
  const MemoryStatistics before = memory_statistics(device);
  {
    const Storage b(990'000, device);
    REQUIRE(b.data() == first);
  }
  {
    const Storage c(2'000'000, device);  // too large for the block that is kept
    REQUIRE(memory_statistics(device).device_allocations == before.device_allocations + 1);
  }
  REQUIRE(memory_statistics(device).allocations == before.allocations + 2);
  release_cached_memory(device);
}

TEST_CASE("sizes around the limits of the size classes are lent in full", "[memory]") {
  const Device device = GENERATE(from_range(testing::devices()));
  for (const std::size_t bytes : {0u, 1u, 511u, 512u, 513u, 575u, 576u, 577u, 1023u, 1024u, 1025u,
                                  1151u, 1152u, 1153u, 65535u, 65536u, 65537u}) {
    CAPTURE(bytes);
    const std::size_t before = memory_statistics(device).in_use;
    const Storage s(bytes, device);
    REQUIRE(s.data() != nullptr);
    const std::size_t lent = memory_statistics(device).in_use - before;
    REQUIRE(lent >= bytes);
    REQUIRE(lent <= std::max<std::size_t>(512, bytes + bytes / 8));
    // The whole of it can be written.
    const std::vector<std::byte> host(bytes, std::byte{1});
    if (bytes != 0) backend(device).copy_from_host(s.data(), host.data(), bytes);
    backend(device).synchronize();
  }
}

// The sanitizers' allocators end the program where the C library returns null.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("what the device doesn't have is refused, and nothing is lost", "[memory]") {
  const Device device = GENERATE(from_range(testing::devices()));
  { const Storage kept(3'000'000, device); }
  const MemoryStatistics before = memory_statistics(device);
  REQUIRE_THROWS_AS(Storage(std::size_t{1} << 60, device), OutOfMemory);
  REQUIRE_THROWS_WITH(Storage(std::size_t{1} << 60, device), Catch::Contains("out of memory"));
  const MemoryStatistics after = memory_statistics(device);
  REQUIRE(after.in_use == before.in_use);
  REQUIRE(after.allocations == before.allocations);
  REQUIRE(after.reserved <= before.reserved - 3'000'000);  // the cache was emptied in trying
  const Storage works(1000, device);
  REQUIRE(works.data() != nullptr);
}
#endif

TEST_CASE("threads may share the cache", "[memory]") {
  const std::size_t before = memory_statistics(kCpu).in_use;
  std::vector<int> clashes(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < clashes.size(); ++t) {
    threads.emplace_back([&clashes, t] {
      for (std::size_t i = 0; i < 500; ++i) {
        const Storage s(1000 + 700 * (i % 5), kCpu);
        std::fill_n(s.data(), s.bytes(), std::byte(t));
        for (std::size_t b = 0; b < s.bytes(); b += 64) clashes[t] += s.data()[b] != std::byte(t);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  REQUIRE(clashes == std::vector<int>(4));
  REQUIRE(memory_statistics(kCpu).in_use == before);
}

}  // namespace
}  // namespace hh
