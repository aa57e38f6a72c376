// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv2d.h"

#include <catch2/catch.hpp>

#include "kernels/conv/winograd.h"
#include "kernels/core/parallel.h"
#include "kernels/gemm/instructions.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal, testing::storage, testing::unit, testing::Worst;
using Size = std::size_t;

Size x_size(const Conv2dShape& s) { return Size(s.pixels()) * Size(s.in_channels); }
Size y_size(const Conv2dShape& s) { return Size(s.pixels()) * Size(s.out_channels); }

template <class T>
struct Inputs {
  Inputs(const Conv2dShape& s, float offset)
      : x(normal<T>(x_size(s), 1, offset)),
        weight(normal<T>(Size(s.weights()), 2)),
        dy(normal<T>(y_size(s), 3, offset)),
        bias(normal<T>(Size(s.out_channels), 4)),
        dweight(normal(weight.size(), 5)),
        dbias(normal(bias.size(), 6)) {}
  std::vector<T> x, weight, dy, bias;
  std::vector<float> dweight, dbias;  // dweight, dbias: what is there before
};

template <class T>
struct Outputs {
  std::vector<T> y, dx;
  std::vector<float> dweight, dbias;
};

template <class T>
Outputs<T> run_all(Device device, const Conv2dShape& s, bool with_bias, const Inputs<T>& in) {
  const Array<T> x(device, in.x), weight(device, in.weight), dy(device, in.dy);
  const Array<T> y(device, std::vector<T>(in.dy.size(), from_float<T>(NAN)));
  const Array<T> dx(device, std::vector<T>(in.x.size(), from_float<T>(NAN)));
  const Array<T> bias(device, in.bias);
  const Array<float> dweight(device, in.dweight), dbias(device, in.dbias);
  testing::run(device, Conv2dForward<T>{.x = x.data(),
                                        .weight = weight.data(),
                                        .bias = with_bias ? bias.data() : nullptr,
                                        .y = y.data(),
                                        .shape = s});
  testing::run(device, Conv2dBackwardInput<T>{
                           .dy = dy.data(), .weight = weight.data(), .dx = dx.data(), .shape = s});
  testing::run(device, Conv2dBackwardWeight<T>{.x = x.data(),
                                               .dy = dy.data(),
                                               .dweight = dweight.data(),
                                               .dbias = with_bias ? dbias.data() : nullptr,
                                               .shape = s});
  return {y.host(), dx.host(), dweight.host(), dbias.host()};
}

/// Sums in fp64 beside the sums of their terms' magnitudes and their numbers of terms.
struct Sums {
  explicit Sums(Size n) : value(n), magnitude(n), terms(n) {}
  template <class T>
  explicit Sums(const std::vector<T>& start) : Sums(start.size()) {
    for (Size i = 0; i < start.size(); ++i) add(i, to_float(start[i]));
  }
  void add(Size i, double term) {
    value[i] += term;
    magnitude[i] += std::abs(term);
    ++terms[i];
  }
  /// A float32 sum of n terms, products among them, errs by at most n units of the sum of
  /// magnitudes in any order, and by two more for each term where tensor cores cut the addends of
  /// a step at the largest one's last bit; rounding to storage comes on top.
  template <class T>
  double worst(const std::vector<T>& got, double stored, bool cut = false) const {
    Worst w;
    for (Size i = 0; i < value.size(); ++i) {
      const double error = ((cut ? 3 : 1) * terms[i] + 2) * unit<float>() * magnitude[i];
      const double rounded = std::abs(value[i]) + (before.empty() ? 0 : std::abs(before[i]));
      w.see(to_float(got[i]) - value[i], error + stored * (rounded + error), i);
    }
    return w.ratio;
  }
  /// Roundings on the way to an output: 4 of a tap's, 2 of a pixel's additions, `channels` of the sum of
  /// their products, 4 of the outputs' additions, 1 of the bias, whose magnitude is there already.
  void by_winograd(const std::vector<double>& magnitudes, Size channels) {
    for (Size i = 0; i < value.size(); ++i) {
      magnitude[i] += magnitudes[i];
      terms[i] = double(channels + 11);
    }
  }
  std::vector<double> value, magnitude, terms;
  std::vector<double> before;  // what was rounded to storage once before; empty: nothing
};

Size pixel(const Conv2dShape& s, int b, int i, int j) {
  return (Size(b) * Size(s.height) + Size(i)) * Size(s.width) + Size(j);
}

/// Magnitudes that kernels/conv/winograd.cpp's sums for y reach at most: with |.| around all factors,
/// |A|^T [(|G||g||G|^T) . (|B|^T|d||B|)] |A|, tiles beginning at even pixels. x: [B,H,W,in]; w(o, c, u, v).
template <class T, class Weight>
std::vector<double> winograd_magnitudes(const Conv2dShape& s, const std::vector<T>& x, Size in,
                                        Size out, const Weight& w) {
  constexpr double g[4][3] = {{1, 0, 0}, {.5, .5, .5}, {.5, .5, .5}, {0, 0, 1}};
  constexpr double b[4][4] = {{1, 0, 1, 0}, {0, 1, 1, 0}, {0, 1, 1, 0}, {0, 1, 0, 1}};
  constexpr double a[2][4] = {{1, 1, 1, 0}, {0, 1, 1, 1}};
  std::vector<double> taps(16 * in * out), result(Size(s.pixels()) * out);
  const auto tap = [&](Size t, Size o, Size c) -> double& { return taps[(t * out + o) * in + c]; };
  for (Size i = 0; i < 144 * in * out; ++i) {
    const Size t = i % 16, uv = i / 16 % 9, o = i / 144 % out, c = i / 144 / out;
    tap(t, o, c) += g[t / 4][uv / 3] * g[t % 4][uv % 3] * std::abs(w(o, c, uv / 3, uv % 3));
  }
  const int down = (s.height + 1) / 2, across = (s.width + 1) / 2;
  for (int tile = 0; tile < s.images * down * across; ++tile) {
    const int image = tile / (down * across), top = tile / across % down * 2,
              left = tile % across * 2;
    std::vector<double> seen(16 * in);
    for (int t = 0; t < 256; ++t) {
      const int row = top - 1 + t % 16 / 4, column = left - 1 + t % 4;
      if (row < 0 || row >= s.height || column < 0 || column >= s.width) continue;
      const double factor = b[t / 64][t % 16 / 4] * b[t / 16 % 4][t % 4];
      for (Size c = 0; c < in; ++c) {
        seen[Size(t / 16) * in + c] +=
            factor * std::abs(to_float(x[pixel(s, image, row, column) * in + c]));
      }
    }
    for (Size o = 0; o < out; ++o) {
      for (Size t = 0; t < 16; ++t) {
        double sum = 0;
        for (Size c = 0; c < in; ++c) sum += tap(t, o, c) * seen[t * in + c];
        for (int y = 0; y < 4; ++y) {
          const int row = top + y / 2, column = left + y % 2;
          if (row >= s.height || column >= s.width) continue;
          result[pixel(s, image, row, column) * out + o] += a[y / 2][t / 4] * a[y % 2][t % 4] * sum;
        }
      }
    }
  }
  return result;
}

template <class T>
void check(Device device, const Conv2dShape& s, bool with_bias, const Inputs<T>& in,
           const Outputs<T>& got) {
  Sums y(in.dy.size()), dx(in.x.size()), dweight(in.dweight), dbias(in.dbias);
  const Size ni = Size(s.in_channels), no = Size(s.out_channels);
  for (int b = 0; b < s.images; ++b) {
    for (int i = 0; i < s.height; ++i) {
      for (int j = 0; j < s.width; ++j) {
        for (Size o = 0; o < no; ++o) {
          const Size at = pixel(s, b, i, j) * no + o;
          const double g = to_float(in.dy[at]);
          if (with_bias) {
            y.add(at, to_float(in.bias[o]));
            dbias.add(o, g);
          }
          for (int u = 0; u < s.kernel_h; ++u) {
            for (int v = 0; v < s.kernel_w; ++v) {
              const int row = i + u - (s.kernel_h - 1) / 2, col = j + v - (s.kernel_w - 1) / 2;
              if (row < 0 || row >= s.height || col < 0 || col >= s.width) continue;
              for (Size c = 0; c < ni; ++c) {
                const Size x_at = pixel(s, b, row, col) * ni + c;
                const Size w_at =
                    ((o * ni + c) * Size(s.kernel_h) + Size(u)) * Size(s.kernel_w) + Size(v);
                const double x = to_float(in.x[x_at]), w = to_float(in.weight[w_at]);
                y.add(at, w * x);
                dx.add(x_at, w * g);
                dweight.add(w_at, g * x);
              }
            }
          }
        }
      }
    }
  }
  if (with_bias && device != kCpu) {
    for (Size i = 0; i < y.value.size(); ++i) {
      y.before.push_back(y.value[i] - to_float(in.bias[i % no]));
    }
  }
  // bf16 that isn't converted to float32 is multiplied directly.
  if (device == kCpu && cpu::winograd_gains(s) &&
      (std::is_same_v<T, float> || !cpu::bf16_gains())) {
    const auto w = [&](Size o, Size c, Size u, Size v) {
      return double(to_float(in.weight[(o * ni + c) * 9 + 3 * u + v]));
    };
    y.by_winograd(winograd_magnitudes(s, in.x, ni, no, w), ni);
    dx.by_winograd(
        winograd_magnitudes(s, in.dy, no, ni,
                            [&](Size c, Size o, Size u, Size v) { return w(o, c, 2 - u, 2 - v); }),
        no);
  }
  CHECK(y.worst(got.y, storage<T>()) <= 1);
  CHECK(dx.worst(got.dx, storage<T>()) <= 1);
  const bool cut = device != kCpu && sizeof(T) == 2;
  CHECK(dweight.worst(got.dweight, 0, cut) <= 1);
  CHECK(dbias.worst(got.dbias, 0, cut) <= 1);
}

TEMPLATE_TEST_CASE("conv2d agrees with its definition", "[conv]", float, bf16, f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  const auto [kh, kw] = GENERATE(table<int, int>({{1, 1}, {1, 3}, {3, 1}, {3, 3}}));
  // Images, height, width, channels: the limits, odd ones, and the network's own kind.
  const auto [b, h, w, in, out] = GENERATE(table<int, int, int, int, int>({{0, 4, 4, 2, 2},
                                                                           {1, 1, 1, 1, 1},
                                                                           {2, 1, 1, 33, 17},
                                                                           {3, 5, 2, 3, 7},
                                                                           {1, 2, 9, 1, 16},
                                                                           {1, 7, 7, 19, 1},
                                                                           {2, 4, 4, 32, 32},
                                                                           {1, 8, 8, 16, 48},
                                                                           {3, 9, 11, 32, 112}}));
  const int threads = GENERATE(1, 3);
  const bool with_bias = (kh + kw + in) % 4 != 1;
  const float offset = in == 3 ? 100.f : 0.f;  // large partial sums
  CAPTURE(device, kh, kw, b, h, w, in, out, threads, with_bias);
  const Conv2dShape s{.images = b,
                      .height = h,
                      .width = w,
                      .in_channels = in,
                      .out_channels = out,
                      .kernel_h = kh,
                      .kernel_w = kw};
  const Inputs<TestType> inputs(s, offset);
  cpu::set_num_threads(threads);
  const auto got = run_all(device, s, with_bias, inputs);
  cpu::set_num_threads(0);
  check(device, s, with_bias, inputs, got);
}

// A GPU has a kernel of its own for 16-bit arrays: runs of several steps of 64 pixels, rows longer
// and much shorter than these, that go around the ring of rows, images that end within a step, the
// last one in a part of it; channels beside one and two tiles of 128, and of 32 and 64.
TEMPLATE_TEST_CASE("conv2d's weight gradient where blocks have several steps and tiles", "[conv]",
                   bf16, f16) {
  using T = TestType;
  const auto [kh, kw] = GENERATE(table<int, int>({{1, 3}, {3, 1}, {3, 3}}));
  const auto [b, h, w, in, out] = GENERATE(table<int, int, int, int, int>({{2, 20, 56, 8, 16},
                                                                           {1, 5, 131, 8, 8},
                                                                           {33, 7, 7, 16, 24},
                                                                           {300, 1, 1, 8, 8},
                                                                           {5, 14, 14, 40, 136},
                                                                           {2, 9, 17, 72, 40}}));
  for (const Device device : testing::devices_of<T>()) {
    if (device == kCpu) continue;
    CAPTURE(device, kh, kw, b, h, w, in, out);
    const Conv2dShape s{.images = b,
                        .height = h,
                        .width = w,
                        .in_channels = in,
                        .out_channels = out,
                        .kernel_h = kh,
                        .kernel_w = kw};
    const Inputs<T> inputs(s, 0);
    const auto got = run_all(device, s, true, inputs), again = run_all(device, s, true, inputs);
    check(device, s, true, inputs, got);
    CHECK(got.dweight == again.dweight);
    CHECK(got.dbias == again.dbias);
    CHECK(run_all(device, s, false, inputs).dweight == got.dweight);
  }
}

TEMPLATE_TEST_CASE("conv2d's input gradient from the weights that forward left has the same bits",
                   "[conv]", float, bf16, f16) {
  using T = TestType;
  const Conv2dShape s{.images = 3,
                      .height = 6,
                      .width = 5,
                      .in_channels = 24,
                      .out_channels = 40,
                      .kernel_h = 3,
                      .kernel_w = 3};
  const Inputs<T> in(s, 0);
  for (const Device device : testing::devices_of<T>()) {
    if (device == kCpu) continue;
    CAPTURE(device);
    const Array<T> x(device, in.x), weight(device, in.weight), dy(device, in.dy);
    const Array<T> y(device, in.dy), rows(device, std::vector<T>(in.weight.size()));
    testing::run(device, Conv2dForward<T>{.x = x.data(),
                                          .weight = weight.data(),
                                          .y = y.data(),
                                          .rows = rows.data(),
                                          .shape = s});
    const std::vector<T> got = rows.host();
    Size wrong = 0;
    for (Size i = 0; i < got.size(); ++i) {
      const Size c = i % 24, tap = i / 24 % 9, o = i / (9 * 24);
      wrong += to_float(got[i]) != to_float(in.weight[(o * 24 + c) * 9 + tap]);
    }
    CHECK(wrong == 0);
    // Other weights beside it, which it then doesn't read.
    const Array<T> others(device, std::vector<T>(in.weight.size()));
    const auto dx_of = [&](const Array<T>& with, const T* given) {
      const Array<T> dx(device, in.x);
      testing::run(
          device,
          Conv2dBackwardInput<T>{
              .dy = dy.data(), .weight = with.data(), .dx = dx.data(), .rows = given, .shape = s});
      return dx.host();
    };
    const std::vector<T> want = dx_of(weight, nullptr), kept = dx_of(others, rows.data());
    CHECK(std::memcmp(want.data(), kept.data(), want.size() * sizeof(T)) == 0);
  }
}

TEMPLATE_TEST_CASE("conv2d gives the same bits every time, dbias for any number of threads",
                   "[conv]", float, bf16) {
  using T = TestType;
  const auto [kh, kw] = GENERATE(table<int, int>({{1, 1}, {1, 3}, {3, 3}}));
  const Conv2dShape s{.images = 16,
                      .height = 8,
                      .width = 8,
                      .in_channels = 16,
                      .out_channels = 32,
                      .kernel_h = kh,
                      .kernel_w = kw};
  const Inputs<T> inputs(s, 0);
  const auto same = [](const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
  };
  cpu::set_num_threads(1);
  const auto one = run_all(kCpu, s, true, inputs);
  for (const int threads : {1, 2, 3}) {
    cpu::set_num_threads(threads);
    const auto first = run_all(kCpu, s, true, inputs), again = run_all(kCpu, s, true, inputs);
    CHECK(same(first.y, again.y));
    CHECK(same(first.dx, again.dx));
    CHECK(first.dweight == again.dweight);
    CHECK(first.dbias == one.dbias);
    if (cpu::winograd_gains(s) && std::is_same_v<T, float>) {
      CHECK(same(first.y, one.y));
      CHECK(same(first.dx, one.dx));
    }
  }
  if (cpu::winograd_gains(s) && std::is_same_v<T, float>) {  // whatever images are beside it
    Conv2dShape first = s;
    first.images = 1;
    Inputs<T> alone = inputs;
    alone.x.resize(x_size(first));
    alone.dy.resize(y_size(first));
    const auto got = run_all(kCpu, first, true, alone);
    CHECK(std::memcmp(got.y.data(), one.y.data(), got.y.size() * sizeof(T)) == 0);
    CHECK(std::memcmp(got.dx.data(), one.dx.data(), got.dx.size() * sizeof(T)) == 0);
  }
  cpu::set_num_threads(0);
}

template <class Args, class Run>
void check_refusals(Run run) {
  using Catch::Contains;
  Conv2dShape good{.images = 1, .height = 2, .width = 2, .in_channels = 1, .out_channels = 1};
  const auto message = [&](auto change) {
    Conv2dShape s = good;
    change(s);
    try {
      run(Args{.shape = s});
    } catch (const std::invalid_argument& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK_THAT(message([](auto& s) { s.images = -1; }), Contains("images = -1"));
  CHECK_THAT(message([](auto& s) { s.height = 0; }), Contains("height = 0"));
  CHECK_THAT(message([](auto& s) { s.width = 0; }), Contains("width = 0"));
  CHECK_THAT(message([](auto& s) { s.in_channels = 0; }), Contains("in_channels = 0"));
  CHECK_THAT(message([](auto& s) { s.out_channels = 0; }), Contains("out_channels = 0"));
  CHECK_THAT(message([](auto& s) { s.kernel_h = 2; }), Contains("kernel_h = 2"));
  CHECK_THAT(message([](auto& s) { s.kernel_w = -1; }), Contains("kernel_w = -1"));
  CHECK_THAT(message([](auto&) {}), Contains("null"));
}

TEST_CASE("conv2d names what it refuses", "[conv]") {
  check_refusals<Conv2dForward<float>>([](auto p) { cpu::run(p); });
  check_refusals<Conv2dBackwardInput<float>>([](auto p) { cpu::run(p); });
  check_refusals<Conv2dBackwardWeight<bf16>>([](auto p) { cpu::run(p); });
}

}  // namespace
}  // namespace hh
