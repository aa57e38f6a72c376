// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/linear.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <iterator>
#include <memory>
#include <thread>

#include "kernels/core/parallel.h"
#include "kernels/gemm/instructions.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::least, testing::normal, testing::storage, testing::unit,
    testing::Worst;
using Size = std::size_t;

struct Case {
  std::int64_t rows;
  int in, out;
  bool bias, accumulate;
  float offset;
};

template <class T>
struct Outputs {
  std::vector<T> y, dx;
  std::vector<float> dweight, dbias;
};

template <class T>
struct Inputs {
  explicit Inputs(const Case& c)
      : rows(c.rows),
        x(normal<T>(Size(c.rows) * Size(c.in), 1, c.offset)),
        weight(normal<T>(Size(c.in) * Size(c.out), 2)),
        bias(normal<T>(Size(c.out), 5)),
        dy(normal<T>(Size(c.rows) * Size(c.out), 3, c.offset)),
        dx(normal<T>(x.size(), 4)),
        dweight(normal(weight.size(), 6)),
        dbias(normal(Size(c.out), 7)) {}
  /// The first rows of others.
  Inputs(const Inputs& all, std::int64_t first) : Inputs(all) {
    for (auto* array : {&x, &dx}) array->resize(array->size() / Size(all.rows) * Size(first));
    dy.resize(dy.size() / Size(all.rows) * Size(first));
  }
  std::int64_t rows = 0;
  std::vector<T> x, weight, bias, dy, dx;  // dx, dweight, dbias: what is there before
  std::vector<float> dweight, dbias;
};

template <class T>
Outputs<T> run_all(Device device, const Case& c, const Inputs<T>& in) {
  const Array<T> x(device, in.x), weight(device, in.weight), dy(device, in.dy);
  const Array<T> y(device, std::vector<T>(in.dy.size(), from_float<T>(NAN)));
  const Array<T> dx(device, c.accumulate ? in.dx : std::vector<T>(in.x.size(), from_float<T>(NAN)));
  const Array<T> bias(device, in.bias);
  const Array<float> dweight(device, in.dweight), dbias(device, in.dbias);
  testing::run(device, LinearForward<T>{.x = x.data(),
                                        .weight = weight.data(),
                                        .bias = c.bias ? bias.data() : nullptr,
                                        .y = y.data(),
                                        .rows = c.rows,
                                        .in = c.in,
                                        .out = c.out});
  testing::run(device, LinearBackwardInput<T>{.dy = dy.data(),
                                              .weight = weight.data(),
                                              .dx = dx.data(),
                                              .accumulate = c.accumulate,
                                              .rows = c.rows,
                                              .in = c.in,
                                              .out = c.out});
  testing::run(device, LinearBackwardWeight<T>{.x = x.data(),
                                               .dy = dy.data(),
                                               .dweight = dweight.data(),
                                               .dbias = c.bias ? dbias.data() : nullptr,
                                               .rows = c.rows,
                                               .in = c.in,
                                               .out = c.out});
  return {y.host(), dx.host(), dweight.host(), dbias.host()};
}

/// A sum in fp64 beside the sum of its terms' magnitudes. A float32 sum of n terms, products among
/// them, errs by at most n units of that in any order. Rounding to storage comes on top: relative
/// to the sum, or half a spacing of the type's smallest numbers, to which f16 products and biases
/// can cancel.
struct Sum {
  double value = 0, magnitude = 0;
  void add(double term) {
    value += term;
    magnitude += std::abs(term);
  }
  double bound(std::int64_t terms, double stored, double least = 0) const {
    const double error = double(terms) * unit<float>() * magnitude;
    return error + stored * (std::abs(value) + error) + least / 2;
  }
};

template <class T>
void check(const Case& c, const Inputs<T>& in, const Outputs<T>& got) {
  const Size rows = Size(c.rows), ni = Size(c.in), no = Size(c.out);
  Worst y, dx, dweight, dbias;
  for (Size r = 0; r < rows; ++r) {
    for (Size o = 0; o < no; ++o) {
      Sum s;
      for (Size i = 0; i < ni; ++i) {
        s.add(double(to_float(in.x[r * ni + i])) * to_float(in.weight[o * ni + i]));
      }
      if (c.bias) s.add(to_float(in.bias[o]));
      y.see(to_float(got.y[r * no + o]) - s.value, s.bound(c.in + 2, storage<T>(), least<T>()),
            r * no + o);
    }
    for (Size i = 0; i < ni; ++i) {
      Sum s;
      for (Size o = 0; o < no; ++o) {
        s.add(double(to_float(in.dy[r * no + o])) * to_float(in.weight[o * ni + i]));
      }
      if (c.accumulate) s.add(to_float(in.dx[r * ni + i]));
      dx.see(to_float(got.dx[r * ni + i]) - s.value, s.bound(c.out + 2, storage<T>(), least<T>()),
             r * ni + i);
    }
  }
  for (Size o = 0; o < no; ++o) {
    for (Size i = 0; i < ni; ++i) {
      Sum s;
      s.add(in.dweight[o * ni + i]);
      for (Size r = 0; r < rows; ++r) {
        s.add(double(to_float(in.dy[r * no + o])) * to_float(in.x[r * ni + i]));
      }
      dweight.see(got.dweight[o * ni + i] - s.value, s.bound(c.rows + 2, 0), o * ni + i);
    }
    Sum s;
    s.add(in.dbias[o]);
    for (Size r = 0; c.bias && r < rows; ++r) s.add(to_float(in.dy[r * no + o]));
    dbias.see(got.dbias[o] - s.value, c.bias ? s.bound(c.rows + 1, 0) : 0, o);
  }
  CAPTURE(y.index, dx.index, dweight.index, dbias.index);
  CHECK(y.ratio <= 1);
  CHECK(dx.ratio <= 1);
  CHECK(dweight.ratio <= 1);
  CHECK(dbias.ratio <= 1);
}

TEMPLATE_TEST_CASE("linear agrees with its definition", "[linear]", float, bf16, f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  const std::int64_t rows = GENERATE(0, 1, 16, 77);
  const int in = GENERATE(1, 12, 33, 64), out = GENERATE(1, 7, 32, 65);
  const int threads = GENERATE(1, 3);
  // Every flag both ways, but not all combinations; the offset makes partial sums large.
  const bool bias = (in + out) % 2 == 0, accumulate = in % 2 == 0;
  const Case c{rows, in, out, bias, accumulate, in == 33 ? 100.f : 0.f};
  CAPTURE(device, rows, in, out, bias, accumulate, threads);
  const Inputs<TestType> inputs(c);
  cpu::set_num_threads(threads);
  const auto got = run_all(device, c, inputs);
  cpu::set_num_threads(0);
  check(c, inputs, got);
}

TEMPLATE_TEST_CASE("linear over many rows, which the CPU takes in chunks", "[linear]", float,
                   bf16) {
  const auto [rows, in, out] = GENERATE(table<std::int64_t, int, int>({{4095, 12, 32},
                                                                       {2049, 5, 3},
                                                                       {6145, 16, 8},
                                                                       {600, 96, 320},
                                                                       {500, 32, 4},
                                                                       {449, 64, 28},
                                                                       {385, 128, 36}}));
  const int threads = GENERATE(1, 2, 3);
  const Case c{rows, in, out, true, false, 1};
  CAPTURE(rows, in, out, threads);
  const Inputs<TestType> inputs(c);
  cpu::set_num_threads(threads);
  const auto got = run_all(kCpu, c, inputs);
  cpu::set_num_threads(0);
  check(c, inputs, got);
}

TEMPLATE_TEST_CASE("linear gives the same bits every time, dbias for any number of threads",
                   "[linear]", float, bf16) {
  using T = TestType;
  const auto [rows, in, out] =
      GENERATE(table<std::int64_t, int, int>({{8200, 32, 16}, {300, 128, 96}, {5, 3, 2}}));
  const Case c{rows, in, out, true, true, 0};
  const Inputs<T> inputs(c);
  const auto same = [](const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
  };
  cpu::set_num_threads(1);
  const auto one = run_all(kCpu, c, inputs);
  for (const int threads : {1, 2, 3}) {
    cpu::set_num_threads(threads);
    const auto first = run_all(kCpu, c, inputs), again = run_all(kCpu, c, inputs);
    CHECK(same(first.y, again.y));
    CHECK(same(first.dx, again.dx));
    CHECK(first.dweight == again.dweight);
    CHECK(first.dbias == one.dbias);
  }
  cpu::set_num_threads(0);
}

template <class Args, class Run>
void check_refusals(Run run) {
  using Catch::Contains;
  REQUIRE_THROWS_WITH(run(Args{.rows = -1, .in = 1, .out = 1}), Contains("rows = -1"));
  REQUIRE_THROWS_WITH(run(Args{.rows = 1, .in = 0, .out = 1}), Contains("in = 0"));
  REQUIRE_THROWS_WITH(run(Args{.rows = 1, .in = 1, .out = -2}), Contains("out = -2"));
  REQUIRE_THROWS_WITH(run(Args{.rows = 1, .in = 1, .out = 1}), Contains("null"));
}

TEST_CASE("a row's y in bf16 doesn't depend on the rows beside it where it is computed in float32",
          "[linear]") {
  if (cpu::bf16_gains()) return;
  const auto devices = testing::devices();
  if (std::count(devices.begin(), devices.end(), kCpu) == 0) return;
  Case c{.rows = 1000, .in = 300, .out = 700, .bias = true, .accumulate = false, .offset = 0};
  const Inputs<bf16> inputs(c);
  const auto whole = run_all<bf16>(kCpu, c, inputs).y;
  c.rows = 3;
  const auto few = run_all<bf16>(kCpu, c, Inputs<bf16>(inputs, 3)).y;
  REQUIRE(few.size() == 3 * 700);
  CHECK(std::equal(few.begin(), few.end(), whole.begin(),
                   [](bf16 a, bf16 b) { return a.bits == b.bits; }));
}

TEST_CASE("linear_pack names what it refuses", "[linear]") {
  float one = 1;
  CHECK_THROWS_WITH(cpu::run(LinearPack{.weight = &one, .packed = &one, .in = 0, .out = 1}),
                    Catch::Contains("in = 0"));
  CHECK_THROWS_WITH(cpu::run(LinearPack{.weight = &one, .in = 1, .out = 1}),
                    Catch::Contains("null"));
}

TEST_CASE("linear names what it refuses", "[linear]") {
  check_refusals<LinearForward<float>>([](auto p) { cpu::run(p); });
  check_refusals<LinearBackwardInput<float>>([](auto p) { cpu::run(p); });
  check_refusals<LinearBackwardWeight<bf16>>([](auto p) { cpu::run(p); });
}

std::size_t threads_of_process() {
  using Folder = std::filesystem::directory_iterator;
  return std::size_t(std::distance(Folder("/proc/self/task"), Folder()));
}

TEST_CASE("all threads that call linear share one team", "[linear]") {
  constexpr int n = 256;
  const auto x = normal(n * n, 1), weight = normal(n * n, 2);
  const auto product = [&] {
    std::vector<float> y(n * n), dx(n * n);
    LinearForward<float> args{
        .x = x.data(), .weight = weight.data(), .y = y.data(), .rows = n, .in = n, .out = n};
    std::vector<std::byte> scratch(cpu::workspace_bytes(args) + 64);
    void* at = scratch.data();
    std::size_t space = scratch.size();
    args.workspace = std::align(64, scratch.size() - 64, at, space);
    cpu::run(args);
    // oneDNN's threads too.
    cpu::run(LinearBackwardInput<float>{
        .dy = y.data(), .weight = weight.data(), .dx = dx.data(), .rows = n, .in = n, .out = n});
    return dx;
  };
  const auto in_new_thread = [&](std::size_t& made) {
    std::vector<float> y;
    std::thread([&] {
      const std::size_t before = threads_of_process();
      y = product();
      made = threads_of_process() - before;
    }).join();
    return y;
  };
  std::size_t made = 0;
  for (const int threads : {1, 3}) {
    cpu::set_num_threads(threads);
    const std::vector<float> here = product();
    CHECK(in_new_thread(made) == here);
    CHECK(made == 0);
  }
  cpu::set_num_threads(0);
}

}  // namespace
}  // namespace hh
