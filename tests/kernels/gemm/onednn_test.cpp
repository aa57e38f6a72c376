// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm/onednn.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <ctime>
#include <memory>
#include <thread>
#include <vector>

#include "kernels/gemm/instructions.h"
#include "kernels/gemm/onednn_product.h"

namespace hh::cpu::onednn {
namespace {

struct Probe {};

TEST_CASE("which instructions gain is asked of the processor once", "[gemm]") {
  // CPUID leaves a virtual machine: asked at each product it took a third of a small network's time.
  const auto seconds = [] {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
  };
  const bool gains = hh::cpu::bf16_gains();
  const double start = seconds();
  int same = 0;
  for (int i = 0; i < 100'000; ++i) same += hh::cpu::bf16_gains() == gains;
  CHECK(same == 100'000);
  CHECK(seconds() - start < .05);  // with CPUID each time 1.6 s in a virtual machine
}

TEST_CASE("a full store of primitives still has those that it holds", "[linear]") {
  std::size_t made = 0;
  const auto get = [&](std::size_t i) {
    return kept<Probe>({std::int64_t(i)}, [&] {
      ++made;
      return std::make_shared<const Probe>();
    });
  };
  for (std::size_t i = 0; i < kMostKept; ++i) get(i);
  REQUIRE(made == kMostKept);
  const auto held = get(3);
  CHECK(made == kMostKept);
  get(kMostKept);  // one more than fits: the others go
  CHECK(made == kMostKept + 1);
  CHECK(get(kMostKept) != nullptr);
  CHECK(made == kMostKept + 1);
  CHECK(get(3) != held);
}

TEST_CASE("a child that is forked while another thread makes a primitive makes its own",
          "[linear]") {
  struct Slow {};
  std::atomic<bool> begun = false;
  std::thread other([&] {
    kept<Slow>({1}, [&] {
      begun = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      return std::make_shared<const Slow>();
    });
  });
  while (!begun) std::this_thread::yield();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);  // a child that waits for ever ends by it
    kept<Slow>({2}, [] { return std::make_shared<const Slow>(); });
    ::_exit(7);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  other.join();
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 7);
}

TEST_CASE("a product leaves the thread's OpenMP as it was", "[linear]") {
  const int before = omp_get_max_threads();
  omp_set_num_threads(3);
  const std::vector<float> x(64 * 48, 1), weight(32 * 48, 1);
  std::vector<float> y(64 * 32);
  sgemm(false, true, 64, 32, 48, x.data(), weight.data(), 0, y.data());
  CHECK(y == std::vector<float>(y.size(), 48));
  CHECK(omp_get_max_threads() == 3);
  CHECK_THROWS_AS(guarded("linear",
                          []() -> int {
                            CHECK(omp_get_max_threads() == 1);
                            throw dnnl::error(dnnl_runtime_error, "made up");
                          }),
                  DeviceError);
  CHECK(omp_get_max_threads() == 3);
  omp_set_num_threads(before);
}

}  // namespace
}  // namespace hh::cpu::onednn
