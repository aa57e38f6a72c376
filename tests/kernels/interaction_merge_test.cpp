// SPDX-License-Identifier: Apache-2.0
#include "kernels/interaction/interaction_merge.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::least, testing::normal, testing::unit, testing::Worst;
using Size = std::size_t;
using Doubles = std::vector<double>;
constexpr double kUnit = unit<float>();
constexpr float kEps = 1e-6f;

template <class T>
Doubles widen(const std::vector<T>& v) {
  Doubles w(v.size());
  std::transform(v.begin(), v.end(), w.begin(), [](T x) { return double(to_float(x)); });
  return w;
}

/// The network's shape and its indices.
struct Map : InteractionMergeShape {
  Size c() const { return Size(channels); }
  Size h() const { return Size(side()); }
  Size pixels() const { return Size(images) * h() * h(); }
  Size local_size() const { return pixels() * c(); }
  Size glob_size() const { return Size(images) * Size(grid) * Size(grid) * c(); }
  Size out_size() const { return local_size() / 4; }

  /// Calls body(flat index in glob / C, weight) for the four pixels that `pixel` is blended from.
  template <class Body>
  void for_each_source(Size pixel, Body body) const {
    const Size b = pixel / (h() * h()), row = pixel / h() % h(), col = pixel % h(), m = Size(grid);
    const auto position = [&](Size i) {
      return std::max(0.0, (double(i) + 0.5) / double(factor) - 0.5);
    };
    const double y = position(row), x = position(col);
    const Size y0 = Size(y), x0 = Size(x);
    for (Size u = 0; u < 2; ++u) {
      for (Size v = 0; v < 2; ++v) {
        const double wy = u == 0 ? 1 - (y - double(y0)) : y - double(y0);
        const double wx = v == 0 ? 1 - (x - double(x0)) : x - double(x0);
        body((b * m + std::min(y0 + u, m - 1)) * m + std::min(x0 + v, m - 1), wy * wx);
      }
    }
  }

  /// Calls body(code, pixel) for the pixels of the map in window `window` (out's index / C).
  template <class Body>
  void for_each_of_window(Size window, Body body) const {
    const int half = side() / 2, b = int(window) / (half * half), i = int(window) / half % half,
              j = int(window) % half;
    for (int k = 0; k < 9; ++k) {
      const int row = 2 * i - 1 + k / 3, col = 2 * j - 1 + k % 3;
      if (row < 0 || col < 0 || row >= side() || col >= side()) continue;
      body(k, Size((b * side() + row) * side() + col));
    }
  }
};

/// Inputs of the definition, in fp64.
struct Inputs {
  Doubles local, glob, gamma, beta;
};

struct Exact {
  Doubles sum, mean, rstd, norm, out;
  std::vector<std::uint8_t> argmax;
  Doubles magnitude;  // of the terms of sum
};

Exact forward(const Map& s, const Inputs& in) {
  Exact r{Doubles(s.local_size()), Doubles(s.pixels()),   Doubles(s.pixels()),
          Doubles(s.local_size()), Doubles(s.out_size()), std::vector<std::uint8_t>(s.out_size()),
          Doubles(s.local_size())};
  const Size n = s.c();
  for (Size p = 0; p < s.pixels(); ++p) {
    for (Size c = 0; c < n; ++c) {
      r.sum[p * n + c] = in.local[p * n + c];
      r.magnitude[p * n + c] = std::abs(in.local[p * n + c]);
    }
    s.for_each_source(p, [&](Size from, double w) {
      for (Size c = 0; c < n; ++c) {
        r.sum[p * n + c] += w * in.glob[from * n + c];
        r.magnitude[p * n + c] += std::abs(w * in.glob[from * n + c]);
      }
    });
    double variance = 0;
    for (Size c = 0; c < n; ++c) r.mean[p] += r.sum[p * n + c] / double(n);
    for (Size c = 0; c < n; ++c) variance += std::pow(r.sum[p * n + c] - r.mean[p], 2) / double(n);
    r.rstd[p] = 1 / std::sqrt(variance + double(kEps));
    for (Size c = 0; c < n; ++c) {
      r.norm[p * n + c] = (r.sum[p * n + c] - r.mean[p]) * r.rstd[p] * in.gamma[c] + in.beta[c];
    }
  }
  for (Size w = 0; w < s.out_size() / n; ++w) {
    for (Size c = 0; c < n; ++c) {
      bool first = true;
      s.for_each_of_window(w, [&](int code, Size p) {
        if (!first && r.norm[p * n + c] <= r.out[w * n + c]) return;
        first = false;
        r.out[w * n + c] = r.norm[p * n + c];
        r.argmax[w * n + c] = std::uint8_t(code);
      });
    }
  }
  return r;
}

/// By how much float32 may err in mean, rstd and norm.
///
/// A sum has two weights that are rounded, three products and three additions in a chain: 8 units
/// of its terms. The mean adds C + 2 units for its own sum. So a deviation d errs by `off` =
/// those of the pixel and a unit of |d|; the variance, a mean of squares, by 2 sigma off + off^2
/// (Cauchy-Schwarz) and C + 4 units of itself; rstd by half of that relatively, and a few units.
struct ForwardBounds {
  Doubles mean, rstd, norm;
};
ForwardBounds forward_bounds(const Map& s, const Inputs& in, const Exact& exact) {
  const Size n = s.c();
  ForwardBounds r{Doubles(s.pixels()), Doubles(s.pixels()), Doubles(s.local_size())};
  for (Size p = 0; p < s.pixels(); ++p) {
    double term = 0, size = 0, variance = 0;
    for (Size c = 0; c < n; ++c) {
      const Size i = p * n + c;
      term = std::max(term, 8 * kUnit * exact.magnitude[i]);
      size += std::abs(exact.sum[i]) / double(n);
      variance += std::pow(exact.sum[i] - exact.mean[p], 2) / double(n);
    }
    r.mean[p] = 1.01 * ((double(n) + 2) * kUnit * size + term);
    const double off = term + r.mean[p];
    const double in_variance = 2 * std::sqrt(variance) * off + off * off +
                               (double(n) + 4) * kUnit * (variance + off * off);
    const double relative =
        0.5 * in_variance / (variance + double(kEps)) * 1.1 + 4 * kUnit;  // 1.1: second order
    r.rstd[p] = relative * exact.rstd[p];
    for (Size c = 0; c < n; ++c) {
      const Size i = p * n + c;
      const double d = std::abs(exact.sum[i] - exact.mean[p]), gamma = std::abs(in.gamma[c]);
      r.norm[i] = gamma * exact.rstd[p] * (off + (d + off) * (relative + 4 * kUnit)) +
                  2 * kUnit * (gamma * exact.rstd[p] * d + std::abs(in.beta[c]));
    }
  }
  return r;
}

struct Gradients {
  Doubles dlocal, dglob, dgamma, dbeta;
};

/// The gradient by the header's formulas, from given statistics and winners, added to zero; with
/// `bound` also how far float32 may be off. xhat errs as above, but the statistics are given. A
/// sum over channels adds C units, one over the pixels as many as there are pixels.
Gradients backward(const Map& s, const Inputs& in, const Doubles& dout,
                   const std::vector<std::uint8_t>& argmax, const Doubles& mean,
                   const Doubles& rstd, Gradients* bound = nullptr, double storage = 0) {
  const Size n = s.c();
  const double all = double(s.pixels()), image = double(s.h() * s.h());
  Gradients r{Doubles(s.local_size()), Doubles(s.glob_size()), Doubles(n), Doubles(n)};
  if (bound != nullptr) *bound = r;
  const Exact exact = forward(s, in);
  Doubles dnorm(s.local_size()), dnorm_size(s.local_size());
  for (Size w = 0; w < s.out_size() / n; ++w) {
    for (Size c = 0; c < n; ++c) {
      r.dbeta[c] += dout[w * n + c];
      if (bound != nullptr) bound->dbeta[c] += all * kUnit * std::abs(dout[w * n + c]);
    }
    s.for_each_of_window(w, [&](int code, Size p) {
      for (Size c = 0; c < n; ++c) {
        if (argmax[w * n + c] != code) continue;
        dnorm[p * n + c] += dout[w * n + c];
        dnorm_size[p * n + c] += std::abs(dout[w * n + c]);
      }
    });
  }
  for (Size p = 0; p < s.pixels(); ++p) {
    Doubles x(n), g(n), x_error(n), g_size(n);
    double mean_g = 0, mean_gx = 0, mean_g_error = 0, mean_gx_error = 0;
    for (Size c = 0; c < n; ++c) {
      const Size i = p * n + c;
      x[c] = (exact.sum[i] - mean[p]) * rstd[p];
      x_error[c] = rstd[p] * 8 * kUnit * exact.magnitude[i] + 3 * kUnit * std::abs(x[c]);
      g[c] = dnorm[i] * in.gamma[c];
      g_size[c] = dnorm_size[i] * std::abs(in.gamma[c]);  // its error: 4 units of this
      mean_g += g[c] / double(n);
      mean_gx += g[c] * x[c] / double(n);
      mean_g_error += (double(n) + 6) * kUnit * g_size[c] / double(n);
      mean_gx_error +=
          g_size[c] * (x_error[c] + (double(n) + 8) * kUnit * std::abs(x[c])) / double(n);
      r.dgamma[c] += dnorm[i] * x[c];
      if (bound != nullptr) {
        bound->dgamma[c] +=
            1.01 * dnorm_size[i] * (x_error[c] + (all + 6) * kUnit * std::abs(x[c]));
      }
    }
    for (Size c = 0; c < n; ++c) {
      const double dsum = rstd[p] * (g[c] - mean_g - x[c] * mean_gx);
      const double size = g_size[c] + std::abs(mean_g) + std::abs(x[c] * mean_gx);
      const double error = 1.01 * rstd[p] *
                           (mean_g_error + std::abs(x[c]) * mean_gx_error +
                            x_error[c] * std::abs(mean_gx) + 8 * kUnit * size);
      r.dlocal[p * n + c] = dsum;
      if (bound != nullptr) bound->dlocal[p * n + c] = error + storage * (std::abs(dsum) + error);
      s.for_each_source(p, [&](Size to, double w) {
        r.dglob[to * n + c] += w * dsum;
        if (bound != nullptr) {
          bound->dglob[to * n + c] += w * (error + (image + 8) * kUnit * (std::abs(dsum) + error));
        }
      });
    }
  }
  if (bound != nullptr) {
    for (Size i = 0; i < r.dglob.size(); ++i) {
      bound->dglob[i] += storage * (std::abs(r.dglob[i]) + bound->dglob[i]);
    }
  }
  return r;
}

/// Inputs as the kernel takes them, and runs of it.
template <class T>
struct Case {
  Map shape;
  std::vector<T> local, glob;
  std::vector<float> gamma, beta;

  explicit Case(const Map& s, float offset = 0)
      : shape(s),
        local(normal<T>(s.local_size(), 1, offset)),
        glob(normal<T>(s.glob_size(), 2)),
        gamma(normal(s.c(), 3, 1, 0.5f)),
        beta(normal(s.c(), 4)) {}

  Inputs exact() const { return {widen(local), widen(glob), widen(gamma), widen(beta)}; }

  struct Outputs {
    std::vector<T> out;
    std::vector<std::uint8_t> argmax;
    std::vector<float> mean, rstd;
    bool operator==(const Outputs& o) const {
      return std::equal(out.begin(), out.end(), o.out.begin(), o.out.end(),
                        [](T a, T b) { return to_float(a) == to_float(b); }) &&
             argmax == o.argmax && mean == o.mean && rstd == o.rstd;
    }
  };

  Outputs forward(Device device, bool inference = false) const {
    const std::vector<float> unwritten(shape.pixels(), NAN);
    const Array local_array(device, local), glob_array(device, glob),
        out(device, std::vector<T>(shape.out_size(), from_float<T>(NAN)));
    const Array gamma_array(device, gamma), beta_array(device, beta), mean(device, unwritten),
        rstd(device, unwritten);
    const Array argmax(device, std::vector<std::uint8_t>(shape.out_size(), 0xff));
    testing::run(device, InteractionMergeForward<T>{.local = local_array.data(),
                                                    .glob = glob_array.data(),
                                                    .gamma = gamma_array.data(),
                                                    .beta = beta_array.data(),
                                                    .out = out.data(),
                                                    .argmax = inference ? nullptr : argmax.data(),
                                                    .mean = inference ? nullptr : mean.data(),
                                                    .rstd = inference ? nullptr : rstd.data(),
                                                    .shape = shape,
                                                    .eps = kEps});
    return {out.host(), argmax.host(), mean.host(), rstd.host()};
  }

  struct Gradient {
    std::vector<T> dlocal, dglob;
    std::vector<float> dgamma, dbeta;
    bool operator==(const Gradient& o) const {
      return widen(dlocal) == widen(o.dlocal) && widen(dglob) == widen(o.dglob) &&
             dgamma == o.dgamma && dbeta == o.dbeta;
    }
  };

  /// dgamma and dbeta are added to gamma and beta, for want of other values.
  Gradient backward(Device device, const std::vector<T>& dout,
                    const std::vector<std::uint8_t>& argmax, const std::vector<float>& mean,
                    const std::vector<float>& rstd) const {
    const Array dout_array(device, dout), local_array(device, local), glob_array(device, glob),
        dlocal(device, std::vector<T>(shape.local_size(), from_float<T>(NAN))),
        dglob(device, std::vector<T>(shape.glob_size(), from_float<T>(NAN)));
    const Array gamma_array(device, gamma), mean_array(device, mean), rstd_array(device, rstd),
        dgamma(device, gamma), dbeta(device, beta);
    const Array argmax_array(device, argmax);
    testing::run(device, InteractionMergeBackward<T>{.dout = dout_array.data(),
                                                     .argmax = argmax_array.data(),
                                                     .local = local_array.data(),
                                                     .glob = glob_array.data(),
                                                     .gamma = gamma_array.data(),
                                                     .mean = mean_array.data(),
                                                     .rstd = rstd_array.data(),
                                                     .dlocal = dlocal.data(),
                                                     .dglob = dglob.data(),
                                                     .dgamma = dgamma.data(),
                                                     .dbeta = dbeta.data(),
                                                     .shape = shape});
    return {dlocal.host(), dglob.host(), dgamma.host(), dbeta.host()};
  }
};

template <class T>
void check_forward(Device device, const Case<T>& x) {
  const Inputs in = x.exact();
  const Exact exact = forward(x.shape, in);
  const ForwardBounds bounds = forward_bounds(x.shape, in, exact);
  const auto got = x.forward(device);
  const double storage = 1.01 * testing::storage<T>();
  const Size n = x.shape.c();
  Worst worst_mean, worst_rstd, worst_out;
  Size wrong = 0;
  for (Size p = 0; p < x.shape.pixels(); ++p) {
    worst_mean.see(got.mean[p] - exact.mean[p], bounds.mean[p], p);
    worst_rstd.see(got.rstd[p] - exact.rstd[p], bounds.rstd[p], p);
  }
  for (Size i = 0; i < got.out.size(); ++i) {
    // A maximum errs by no more than its terms, and so does the value of whichever won.
    double most = 0, winner = -INFINITY;
    x.shape.for_each_of_window(i / n, [&](int code, Size p) {
      most = std::max(most, bounds.norm[p * n + i % n]);
      if (got.argmax[i] == code) winner = exact.norm[p * n + i % n];
    });
    worst_out.see(to_float(got.out[i]) - exact.out[i],
                  most + storage * (std::abs(exact.out[i]) + most), i);
    wrong += !(winner >= exact.out[i] - 2 * most);
  }
  CAPTURE(worst_mean.index, worst_rstd.index, worst_out.index);
  CHECK(worst_mean.ratio <= 1);
  CHECK(worst_rstd.ratio <= 1);
  CHECK(worst_out.ratio <= 1);
  CHECK(wrong == 0);
}

template <class T>
void check_backward(Device device, const Case<T>& x) {
  const Inputs in = x.exact();
  // On the winners and statistics of the definition: a wrong forward can't excuse backward.
  const Exact exact = forward(x.shape, in);
  const std::vector<float> mean(exact.mean.begin(), exact.mean.end()),
      rstd(exact.rstd.begin(), exact.rstd.end());
  const auto dout = normal<T>(x.shape.out_size(), 8);
  const double storage = 1.01 * testing::storage<T>();
  Gradients bound;
  const Gradients want =
      backward(x.shape, in, widen(dout), exact.argmax, widen(mean), widen(rstd), &bound, storage);
  const auto got = x.backward(device, dout, exact.argmax, mean, rstd);
  Worst local, glob, gamma, beta;
  for (Size i = 0; i < got.dlocal.size(); ++i) {
    local.see(to_float(got.dlocal[i]) - want.dlocal[i], bound.dlocal[i] + least<T>() / 2, i);
  }
  for (Size i = 0; i < got.dglob.size(); ++i) {
    glob.see(to_float(got.dglob[i]) - want.dglob[i], bound.dglob[i] + least<T>() / 2, i);
  }
  for (Size c = 0; c < x.shape.c(); ++c) {
    const double before = x.gamma[c], beta_before = x.beta[c], all = double(x.shape.pixels());
    gamma.see(got.dgamma[c] - (want.dgamma[c] + before),
              bound.dgamma[c] + all * kUnit * std::abs(before), c);
    beta.see(got.dbeta[c] - (want.dbeta[c] + beta_before),
             bound.dbeta[c] + all * kUnit * std::abs(beta_before), c);
  }
  CAPTURE(local.index, glob.index, gamma.index, beta.index);
  CHECK(local.ratio <= 1);
  CHECK(glob.ratio <= 1);
  CHECK(gamma.ratio <= 1);
  CHECK(beta.ratio <= 1);
}

TEMPLATE_TEST_CASE("interaction_merge agrees with its definition", "[interaction]", float, bf16,
                   f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  const auto [images, grid, factor, channels] =
      GENERATE(table<int, int, int, int>({{0, 4, 4, 8},
                                          {1, 2, 1, 5},
                                          {3, 1, 2, 33},
                                          {1, 3, 2, 17},
                                          {2, 4, 3, 31},
                                          {3, 2, 3, 64},
                                          {2, 4, 4, 64},
                                          {1, 2, 4, 257},
                                          {1, 2, 2, 516},
                                          {2, 1, 4, 16},
                                          {1, 4, 14, 15},
                                          {1, 2, 14, 64},
                                          {40, 2, 2, 16}}));
  CAPTURE(device, images, grid, factor, channels);
  const Map shape{{images, grid, factor, channels}};
  check_forward(device, Case<TestType>(shape));
  check_backward(device, Case<TestType>(shape));
}

TEST_CASE("interaction_merge with a large offset", "[interaction]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int channels = GENERATE(31, 64);
  const Map shape{{1, 2, 4, channels}};
  check_forward(device, Case<float>(shape, 1000));
  check_backward(device, Case<float>(shape, 1000));
}

TEMPLATE_TEST_CASE("interaction_merge lets the first of equals win", "[interaction]", float, bf16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  const auto [images, grid, factor, channels] = GENERATE(
      table<int, int, int, int>({{2, 4, 3, 31}, {1, 2, 4, 64}, {3, 2, 3, 257}, {1, 4, 4, 1}}));
  // 1: all pixels equal. 4: windows hold the same pixel several times.
  const int kinds = GENERATE(1, 4);
  CAPTURE(device, images, grid, factor, channels, kinds);
  const Map shape{{images, grid, factor, channels}};
  Case<T> x(shape);
  x.glob.assign(x.glob.size(), T{});
  const auto pixels = normal<T>(Size(kinds) * shape.c(), 5);
  const Philox random(6, RandomPurpose::kTest);
  for (Size p = 0; p < shape.pixels(); ++p) {
    const Size kind = random.below(p, std::uint32_t(kinds));
    std::copy_n(pixels.begin() + std::int64_t(kind * shape.c()), channels,
                x.local.begin() + std::int64_t(p * shape.c()));
  }
  // Equal pixels are equal in fp64 too, and unequal ones differ by far more than float32 errs; but
  // of one channel all are zero, then beta.
  CHECK(x.forward(device).argmax == forward(shape, x.exact()).argmax);
}

TEMPLATE_TEST_CASE("interaction_merge of one channel is beta", "[interaction]", float, bf16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  const auto [images, grid, factor] =
      GENERATE(table<int, int, int>({{2, 4, 4}, {1, 2, 3}, {1, 2, 14}}));
  CAPTURE(device, images, grid, factor);
  const Map shape{{images, grid, factor, 1}};
  const Case<T> x(shape);
  const auto got = x.forward(device);
  Size wrong = 0;
  for (Size i = 0; i < got.out.size(); ++i) {
    const Size half = shape.h() / 2, row = i / half % half, col = i % half;
    wrong += to_float(got.out[i]) != to_float(from_float<T>(x.beta[0]));
    wrong += got.argmax[i] != (row == 0 ? 3 : 0) + (col == 0 ? 1 : 0);
  }
  CHECK(wrong == 0);
  const auto grad =
      x.backward(device, normal<T>(shape.out_size(), 8), got.argmax, got.mean, got.rstd);
  CHECK(widen(grad.dlocal) == Doubles(shape.local_size(), 0.0));
  CHECK(widen(grad.dglob) == Doubles(shape.glob_size(), 0.0));
  CHECK(grad.dgamma == x.gamma);
}

TEST_CASE("interaction_merge's definition and its gradient agree", "[interaction]") {
  const Map shape{{1, 2, 3, 5}};
  Inputs in = Case<float>(shape).exact();
  const Doubles dout = widen(normal(shape.out_size(), 8));
  const Exact exact = forward(shape, in);
  const Gradients gradient = backward(shape, in, dout, exact.argmax, exact.mean, exact.rstd);
  const auto loss = [&] {
    const Doubles out = forward(shape, in).out;
    double sum = 0;
    for (Size i = 0; i < out.size(); ++i) sum += out[i] * dout[i];
    return sum;
  };
  Worst worst;
  const auto check = [&](Doubles& values, const Doubles& want) {
    for (Size i = 0; i < values.size(); ++i) {
      const double x = values[i], h = 1e-6;
      values[i] = x + h;
      const double above = loss();
      values[i] = x - h;
      const double below = loss();
      values[i] = x;
      // h^2 times third derivatives of the order of 100, and 1e-15 / h of rounding. No maximum
      // changes hands: the values are random and the steps small.
      worst.see((above - below) / (2 * h) - want[i], 1e-7, i);
    }
  };
  check(in.local, gradient.dlocal);
  check(in.glob, gradient.dglob);
  check(in.gamma, gradient.dgamma);
  check(in.beta, gradient.dbeta);
  CAPTURE(worst.index);
  REQUIRE(worst.ratio <= 1);
}

TEST_CASE("interaction_merge gives the same bits for any number of threads and in inference",
          "[interaction]") {
  const auto [images, grid, factor, channels] = GENERATE(table<int, int, int, int>(
      {{1, 4, 14, 64}, {2, 2, 14, 33}, {5, 4, 4, 64}, {40, 2, 4, 16}, {1, 1, 2, 8}}));
  CAPTURE(images, grid, factor, channels);
  const Map shape{{images, grid, factor, channels}};
  const Case<float> x(shape);
  const auto dout = normal(shape.out_size(), 8);
  cpu::set_num_threads(1);
  const auto one = x.forward(kCpu);
  const auto grad = x.backward(kCpu, dout, one.argmax, one.mean, one.rstd);
  for (const int threads : {2, 3, 7}) {
    cpu::set_num_threads(threads);
    CHECK(x.forward(kCpu) == one);
    CHECK(x.forward(kCpu, true).out == one.out);
    CHECK(x.backward(kCpu, dout, one.argmax, one.mean, one.rstd) == grad);
  }
  cpu::set_num_threads(0);
}

TEST_CASE("interaction_merge of more images than a grid has rows", "[interaction]") {
  const Device device = GENERATE(from_range(testing::devices()));
  CAPTURE(device);
  constexpr int kImages = 65537, kChannels = 2;
  const InteractionMergeShape shape{kImages, 1, 2, kChannels};
  constexpr std::size_t kPixels = std::size_t{kImages} * 4, kOut = std::size_t{kImages} * kChannels;
  const auto same = [](const std::vector<float>& image) {  // in every image
    std::vector<float> all(image.size() * kImages);
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = image[i % image.size()];
    return all;
  };
  const auto nothing = [](std::size_t n) { return std::vector<float>(n, NAN); };
  const Array local(device, same(normal(4 * kChannels, 1))), glob(device, same(normal(2, 2))),
      dout(device, same(normal(kChannels, 3)));
  const Array gamma(device, normal(kChannels, 4)), beta(device, normal(kChannels, 5));
  const Array out(device, nothing(kOut)), mean(device, nothing(kPixels)),
      rstd(device, nothing(kPixels)), dlocal(device, nothing(kPixels * kChannels)),
      dglob(device, nothing(kOut));
  const Array argmax(device, std::vector<std::uint8_t>(kOut, 0xff));
  const Array dgamma(device, std::vector<float>(kChannels)),
      dbeta(device, std::vector<float>(kChannels));
  testing::run(device, InteractionMergeForward<float>{.local = local.data(),
                                                      .glob = glob.data(),
                                                      .gamma = gamma.data(),
                                                      .beta = beta.data(),
                                                      .out = out.data(),
                                                      .argmax = argmax.data(),
                                                      .mean = mean.data(),
                                                      .rstd = rstd.data(),
                                                      .shape = shape});
  testing::run(device, InteractionMergeBackward<float>{.dout = dout.data(),
                                                       .argmax = argmax.data(),
                                                       .local = local.data(),
                                                       .glob = glob.data(),
                                                       .gamma = gamma.data(),
                                                       .mean = mean.data(),
                                                       .rstd = rstd.data(),
                                                       .dlocal = dlocal.data(),
                                                       .dglob = dglob.data(),
                                                       .dgamma = dgamma.data(),
                                                       .dbeta = dbeta.data(),
                                                       .shape = shape});
  for (const Array<float>& array : {out, dlocal, dglob}) {
    const std::vector<float> values = array.host();
    const std::size_t image = values.size() / kImages;
    CHECK(values == same({values.begin(), values.begin() + std::ptrdiff_t(image)}));
  }
}

TEST_CASE("interaction_merge names what it refuses", "[interaction]") {
  using Catch::Contains;
  const auto refuses = [](InteractionMergeShape s, const char* what) {
    REQUIRE_THROWS_WITH(cpu::run(InteractionMergeForward<float>{.shape = s}), Contains(what));
    REQUIRE_THROWS_WITH(cpu::run(InteractionMergeBackward<float>{.shape = s}), Contains(what));
  };
  refuses({-1, 1, 2, 1}, "images = -1");
  refuses({1, 0, 2, 1}, "grid = 0");
  refuses({1, 2, 0, 1}, "factor = 0");
  refuses({1, 1 << 10, 1 << 10, 1}, "grid * factor = 1048576");
  refuses({1, 3, 3, 1}, "side grid * factor = 9");
  refuses({1, 2, 2, 0}, "channels = 0");
  refuses({1, 2, 2, 1}, "null");
  REQUIRE_THROWS_WITH(cpu::run(InteractionMergeForward<float>{.shape = {0, 2, 2, 1}, .eps = 0}),
                      Contains("eps = 0"));
  float statistics = 0;
  REQUIRE_THROWS_WITH(
      cpu::run(InteractionMergeForward<float>{.mean = &statistics, .shape = {0, 2, 2, 1}}),
      Contains("only some"));
}

}  // namespace
}  // namespace hh
