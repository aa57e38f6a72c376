// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/linear_gelu.h"

#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/gelu.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::Bounded, testing::BoundedSum, testing::least, testing::normal,
    testing::storage, testing::stored, testing::Worst;
using namespace testing::gelu_reference;
using enum LinearGeluWay;
using Size = std::size_t;

struct Case {
  Device device;
  std::int64_t rows;
  int inner, hidden;  // inner: of the product, whichever it is
  LinearGeluWay way = kOneKernel;

  /// Whether the product is rounded to T before anything else is done to it.
  template <class T>
  bool rounds_product() const {
    return sizeof(T) == 2 &&
           (device == kCpu || way == kTwoLaunches || inner % 8 != 0 || hidden % 8 != 0);
  }
};

template <class T>
struct Inputs {
  explicit Inputs(const Case& c)
      : left(normal<T>(Size(c.rows) * Size(c.inner), 1)),
        // Products of deviation 2: both tails of GELU and what lies between.
        weight(normal<T>(Size(c.inner) * Size(c.hidden), 2, 0, 2 / std::sqrt(float(c.inner)))),
        pre(normal<T>(Size(c.rows) * Size(c.hidden), 3, 0, 2)),
        bias(normal(Size(c.hidden), 4)),
        dbias(normal(Size(c.hidden), 5)) {}
  std::vector<T> left, weight;  // x and w [hidden, inner]; dout and v [inner, hidden]
  std::vector<T> pre;           // what backward takes
  std::vector<float> bias, dbias;
};

template <class T>
struct Forward {
  std::vector<T> pre, y;
};
template <class T>
struct Backward {
  std::vector<T> dpre;
  std::vector<float> dbias;
};

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <class T>
std::vector<T> unwritten(Size n) {
  return std::vector<T>(n, from_float<T>(NAN));
}

template <class T>
Forward<T> run_forward(const Case& c, const Inputs<T>& in, bool with_pre = true) {
  const Array<T> x(c.device, in.left), weight(c.device, in.weight),
      pre(c.device, unwritten<T>(in.pre.size())), y(c.device, unwritten<T>(in.pre.size()));
  const Array<float> bias(c.device, in.bias);
  testing::run(c.device, LinearGeluForward<T>{.x = x.data(),
                                              .weight = weight.data(),
                                              .bias = bias.data(),
                                              .pre = with_pre ? pre.data() : nullptr,
                                              .y = y.data(),
                                              .rows = c.rows,
                                              .in = c.inner,
                                              .hidden = c.hidden,
                                              .way = c.way});
  return {pre.host(), y.host()};
}

template <class T>
Backward<T> run_backward(const Case& c, const Inputs<T>& in) {
  const Array<T> dout(c.device, in.left), weight(c.device, in.weight), pre(c.device, in.pre),
      dpre(c.device, unwritten<T>(in.pre.size()));
  const Array<float> bias(c.device, in.bias), dbias(c.device, in.dbias);
  testing::run(c.device, LinearGeluBackward<T>{.dout = dout.data(),
                                               .weight = weight.data(),
                                               .pre = pre.data(),
                                               .bias = bias.data(),
                                               .dpre = dpre.data(),
                                               .dbias = dbias.data(),
                                               .rows = c.rows,
                                               .hidden = c.hidden,
                                               .out = c.inner,
                                               .way = c.way});
  return {dpre.host(), dbias.host()};
}

/// A sum of n products in fp64. In float32 it errs by at most n units of the sum of magnitudes, in
/// any order; tensor cores cut the addends of a step at their largest one's last bit, which is
/// within two units a product more.
struct Dot {
  double value = 0, magnitude = 0;
  template <class T>
  Dot(const T* a, const T* b, Size b_stride, Size n) {
    for (Size k = 0; k < n; ++k) {
      const double term = double(to_float(a[k])) * to_float(b[k * b_stride]);
      value += term;
      magnitude += std::abs(term);
    }
    count = double(n);
  }
  double count;
  Bounded bounded() const { return {value, (3 * count + 2) * kUnit * magnitude}; }
};

/// y of a product that errs: |gelu'| is below 1.13.
template <class T>
Bounded y_of(const Bounded& product, double bias, double tail) {
  Bounded y = forward(product.value, bias, tail);
  y.bound += 1.13 * product.bound;
  return stored<T>(y);
}

template <class T>
void check_forward(const Case& c, const Inputs<T>& in, const Forward<T>& got) {
  const Size inner = Size(c.inner), hidden = Size(c.hidden);
  const double tail = allowance(c.device).tail;
  Worst pre_error, y_error;
  for (Size i = 0; i < in.pre.size(); ++i) {
    const Size r = i / hidden, h = i % hidden;
    const Bounded exact = Dot(&in.left[r * inner], &in.weight[h * inner], 1, inner).bounded();
    const Bounded rounded = stored<T>(exact);
    pre_error.see(to_float(got.pre[i]) - exact.value, rounded.bound, i);
    const Bounded want = y_of<T>(c.rounds_product<T>() ? rounded : exact, in.bias[h], tail);
    y_error.see(to_float(got.y[i]) - want.value, want.bound, i);
  }
  CAPTURE(pre_error.index, y_error.index);
  CHECK(pre_error.ratio <= 1);
  CHECK(y_error.ratio <= 1);
}

template <class T>
void check_backward(const Case& c, const Inputs<T>& in, const Backward<T>& got) {
  const Size inner = Size(c.inner), hidden = Size(c.hidden);
  Worst dpre_error, dbias_error;
  std::vector<BoundedSum> sums(in.dbias.begin(), in.dbias.end());
  for (Size i = 0; i < in.pre.size(); ++i) {
    const Size r = i / hidden, h = i % hidden;
    Bounded dy = Dot(&in.left[r * inner], &in.weight[h], hidden, inner).bounded();
    if (c.rounds_product<T>()) dy = stored<T>(dy);
    const Bounded slope_of = derivative(to_float(in.pre[i]), in.bias[h], allowance(c.device).slope);
    const double size = std::abs(dy.value) + dy.bound;
    const Bounded product{dy.value * slope_of.value,
                          size * slope_of.bound + dy.bound * std::abs(slope_of.value) +
                              1.01 * kUnit * size * (std::abs(slope_of.value) + slope_of.bound)};
    const Bounded want = stored<T>(product);
    dpre_error.see(to_float(got.dpre[i]) - want.value, want.bound, i);
    sums[h].add(product.value, product.bound);
  }
  for (Size h = 0; h < hidden; ++h) {
    dbias_error.see(got.dbias[h] - sums[h].value, sums[h].bound(), h);
  }
  CAPTURE(dpre_error.index, dbias_error.index);
  CHECK(dpre_error.ratio <= 1);
  CHECK(dbias_error.ratio <= 1);
}

template <class T>
void check(const Case& c) {
  CAPTURE(c.device, c.rows, c.inner, c.hidden, int(c.way));
  const Inputs<T> in(c);
  check_forward(c, in, run_forward(c, in));
  check_backward(c, in, run_backward(c, in));
}

// On both sides of a step of 64, of the two and three steps from which a panel is kept, of the
// tiles' 128 and 256, of chunks of 8; so many panels and tiles that blocks have several, or parts.
TEMPLATE_TEST_CASE("linear_gelu agrees with its definition", "[linear][linear_gelu]", float, bf16,
                   f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  const auto [rows, inner, hidden] = GENERATE(table<std::int64_t, int, int>({{0, 8, 8},
                                                                             {1, 1, 1},
                                                                             {1, 8, 8},
                                                                             {77, 64, 128},
                                                                             {129, 72, 136},
                                                                             {300, 128, 264},
                                                                             {255, 200, 256},
                                                                             {65, 12, 33},
                                                                             {40, 33, 40}}));
  for (const LinearGeluWay way : {kOneKernel, kTwoLaunches}) {
    if (device != kCpu || way == kOneKernel) check<T>({device, rows, inner, hidden, way});
  }
}

TEST_CASE("linear_gelu where blocks have several tiles and panels", "[linear][linear_gelu]") {
  for (const Device device : testing::devices()) {
    if (device == kCpu) continue;
    // More tiles than an H100 holds blocks. b isn't kept; kept in two sets of places; in one.
    check<bf16>({device, 36000, 8, 16});
    check<bf16>({device, 7000, 128, 520});
    check<bf16>({device, 2600, 192, 1544});
  }
}

TEMPLATE_TEST_CASE("linear_gelu without pre, and again, gives the same y", "[linear][linear_gelu]",
                   float, bf16, f16) {
  using T = TestType;
  for (const Device device : testing::devices_of<T>()) {
    for (const LinearGeluWay way : {kOneKernel, kTwoLaunches}) {
      const Case c{device, 150, 40, 72, way};
      const Inputs<T> in(c);
      const auto once = run_forward(c, in), bare = run_forward(c, in, false);
      CHECK(same(bare.y, once.y));
      CHECK(same(bare.pre, unwritten<T>(bare.pre.size())));
      const auto first = run_backward(c, in), again = run_backward(c, in);
      CHECK(same(first.dpre, again.dpre));
      CHECK(first.dbias == again.dbias);
    }
  }
}

TEST_CASE("linear_gelu by shape gives the bits of the way that its rule chooses",
          "[linear][linear_gelu]") {
  // On an H100: many rows of little inner dimension take one kernel, few of much two launches.
  const auto [rows, inner, chosen] = GENERATE(
      table<std::int64_t, int, LinearGeluWay>({{3000, 64, kOneKernel}, {64, 512, kTwoLaunches}}));
  for (const Device device : testing::devices()) {
    Case c{device, rows, inner, 256, kByShape};
    const Inputs<bf16> in(c);
    const auto forward_by_shape = run_forward(c, in);
    const auto backward_by_shape = run_backward(c, in);
    c.way = chosen;
    CHECK(same(forward_by_shape.y, run_forward(c, in).y));
    CHECK(same(backward_by_shape.dpre, run_backward(c, in).dpre));
    if (device == kCpu) continue;
    c.way = chosen == kOneKernel ? kTwoLaunches : kOneKernel;  // rounds otherwise
    CHECK_FALSE(same(forward_by_shape.y, run_forward(c, in).y));
    CHECK_FALSE(same(backward_by_shape.dpre, run_backward(c, in).dpre));
  }
}

TEMPLATE_TEST_CASE("linear_gelu of arrays off a 16-byte boundary", "[linear][linear_gelu]", bf16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  const Case aligned{device, 33, 16, 24, kTwoLaunches};
  const Inputs<T> in(aligned);
  const auto want = run_forward(aligned, in);
  const auto shifted = [&](std::vector<T> values) {
    values.insert(values.begin(), T{});
    return Array<T>(device, values);
  };
  const auto x = shifted(in.left), y = shifted(unwritten<T>(in.pre.size()));
  const Array<T> weight(device, in.weight), pre(device, in.pre);
  const Array<float> bias(device, in.bias);
  testing::run(device, LinearGeluForward<T>{.x = x.data() + 1,
                                            .weight = weight.data(),
                                            .bias = bias.data(),
                                            .pre = pre.data(),
                                            .y = y.data() + 1,
                                            .rows = aligned.rows,
                                            .in = aligned.inner,
                                            .hidden = aligned.hidden,
                                            .way = kOneKernel});
  const auto got = y.host();
  Size wrong = 0;
  for (Size i = 0; i < want.y.size(); ++i) wrong += to_float(got[i + 1]) != to_float(want.y[i]);
  CHECK(wrong == 0);
}

TEST_CASE("linear_gelu's gradients are its difference quotients", "[linear][linear_gelu]") {
  const Device device = GENERATE(from_range(testing::devices()));
  // A loss linear in `out` = y vᵀ, so that dout is constant: L = sum dout out.
  const Case c{device, 6, 5, 9};
  const int out = 7;
  const Inputs<float> in(c);
  const auto v = normal(Size(out * c.hidden), 11), dout = normal(Size(c.rows) * Size(out), 12);
  const auto loss = [&](const Inputs<float>& with) {
    const auto y = run_forward(c, with).y;
    double sum = 0;
    for (Size r = 0; r < Size(c.rows); ++r) {
      for (Size o = 0; o < Size(out); ++o) {
        for (Size h = 0; h < Size(c.hidden); ++h) {
          sum += double(dout[r * Size(out) + o]) * double(v[o * Size(c.hidden) + h]) *
                 double(y[r * Size(c.hidden) + h]);
        }
      }
    }
    return sum;
  };
  Case back = c;
  back.inner = out;
  Inputs<float> to(back);
  to.left = dout;
  to.weight = v;
  to.bias = in.bias;
  to.pre = run_forward(c, in).pre;
  std::fill(to.dbias.begin(), to.dbias.end(), 0.0f);
  const auto [dpre, dbias] = run_backward(back, to);
  // y is good to 1e-6 of values below 10, of which 60 are added with factors of 10: 1e-3 / 2h. The
  // third derivative, below 2, times h^2 and the same factors, is as much.
  constexpr float kStep = 1e-2f;
  constexpr double kAllowed = 0.05;
  const auto quotient = [&](auto change) {
    Inputs<float> plus = in, minus = in;
    change(plus, kStep);
    change(minus, -kStep);
    return (loss(plus) - loss(minus)) / (2 * double(kStep));
  };
  for (Size h = 0; h < Size(c.hidden); ++h) {
    CAPTURE(h);
    CHECK(dbias[h] == Approx(quotient([&](auto& i, float d) { i.bias[h] += d; })).margin(kAllowed));
  }
  // dw[h, i] = sum_r dpre[r, h] x[r, i]
  for (Size k = 0; k < in.weight.size(); k += 4) {
    CAPTURE(k);
    double want = 0;
    for (Size r = 0; r < Size(c.rows); ++r) {
      want += double(dpre[r * Size(c.hidden) + k / Size(c.inner)]) *
              double(in.left[r * Size(c.inner) + k % Size(c.inner)]);
    }
    CHECK(want == Approx(quotient([&](auto& i, float d) { i.weight[k] += d; })).margin(kAllowed));
  }
}

TEST_CASE("linear_gelu names what it refuses", "[linear][linear_gelu]") {
  using Catch::Contains;
  const auto forward = [](auto p) { cpu::run(p); };
  REQUIRE_THROWS_WITH(forward(LinearGeluForward<float>{.rows = -1, .in = 1, .hidden = 1}),
                      Contains("rows = -1"));
  REQUIRE_THROWS_WITH(forward(LinearGeluForward<float>{.rows = 1, .in = 0, .hidden = 1}),
                      Contains("in = 0"));
  REQUIRE_THROWS_WITH(forward(LinearGeluForward<bf16>{.rows = 1, .in = 1, .hidden = -2}),
                      Contains("hidden = -2"));
  REQUIRE_THROWS_WITH(forward(LinearGeluForward<float>{.rows = 1, .in = 1, .hidden = 1}),
                      Contains("null"));
  REQUIRE_THROWS_WITH(forward(LinearGeluBackward<float>{.rows = 1, .hidden = 1, .out = 0}),
                      Contains("out = 0"));
  REQUIRE_THROWS_WITH(forward(LinearGeluBackward<float>{.rows = 1, .hidden = 1, .out = 1}),
                      Contains("null"));
}

}  // namespace
}  // namespace hh
