// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/window_attention.h"

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal, testing::unit, testing::Worst;
using Size = std::size_t;
constexpr double kUnit = unit<float>();
constexpr double kExp = 4;       // units by which the kernel's exp errs
constexpr double kTiny = 1e-30;  // what underflow of exp may cost

/// Rounding of what is stored, and of P and dS as factors of a matrix product: the GPU's tensor
/// cores take factors of type T.
struct Rounding {
  double storage = 0, weights = 0;
};
template <class T>
Rounding rounding(Device device) {
  if (std::is_same_v<T, float>) return {};
  return {unit<T>(), device == kCpu ? 0 : unit<T>()};
}

template <class T>
std::vector<double> widen(const std::vector<T>& v) {
  std::vector<double> w(v.size());
  std::transform(v.begin(), v.end(), w.begin(), [](T x) { return double(to_float(x)); });
  return w;
}

/// The definition in fp64, for one window and head at a time, with what the bounds need.
struct Head {
  Head(const WindowAttentionShape& s, std::int64_t w, int h) : shape(s), window(w), head(h) {}
  WindowAttentionShape shape;
  std::int64_t window;
  int head;

  Size n() const { return Size(shape.tokens); }
  Size d() const { return Size(shape.head_dim); }
  Size row(Size t) const { return Size(window) * n() + t; }
  /// which: 0 q, 1 k, 2 v.
  Size qkv_at(int which, Size t, Size e) const {
    return row(t) * 3 * Size(shape.channels()) + Size(which * shape.channels()) + Size(head) * d() +
           e;
  }
  Size out_at(Size t, Size e) const {
    return row(t) * Size(shape.channels()) + e * Size(shape.heads) + Size(head);
  }
  Size lse_at(Size t) const { return (Size(window) * Size(shape.heads) + Size(head)) * n() + t; }
  double scale() const { return 1 / std::sqrt(double(shape.head_dim)); }

  double score(const std::vector<double>& qkv, Size a, Size b, bool magnitude = false) const {
    double x = 0;
    for (Size e = 0; e < d(); ++e) {
      const double y = qkv[qkv_at(0, a, e)] * qkv[qkv_at(1, b, e)];
      x += magnitude ? std::abs(y) : y;
    }
    return x * scale();
  }
};

template <class Body>
void for_each_head(const WindowAttentionShape& s, Body body) {
  for (std::int64_t w = 0; w < s.windows; ++w) {
    for (int h = 0; h < s.heads; ++h) body(Head(s, w, h));
  }
}

struct Exact {
  std::vector<double> out, lse;
};

/// The definition; with `out_bound` and `lse_bound` also the bounds of a float32 implementation.
///
/// A score s sums d products in some order and is scaled: it errs by (d + 4) units of
/// A = d^-0.5 sum |q k|. Then exp(s - m), m the row's maximum or anything near it, errs relatively
/// by that, by the rounding of the difference and by exp's own error; sums of N numbers add N
/// units. P is a quotient of two such, so out errs by twice that relative to sum P |v|.
Exact forward(const WindowAttentionShape& s, const std::vector<double>& qkv,
              std::vector<double>* out_bound = nullptr, std::vector<double>* lse_bound = nullptr,
              Rounding rounding = {}) {
  const Size size = Size(s.windows) * Size(s.tokens);
  Exact r{std::vector<double>(size * Size(s.channels())),
          std::vector<double>(size * Size(s.heads))};
  if (out_bound != nullptr) {
    out_bound->resize(r.out.size());
    lse_bound->resize(r.lse.size());
  }
  for_each_head(s, [&](const Head& head) {
    for (Size a = 0; a < head.n(); ++a) {
      std::vector<double> p(head.n());
      for (Size b = 0; b < head.n(); ++b) p[b] = head.score(qkv, a, b);
      const double most = *std::max_element(p.begin(), p.end());
      const double least = *std::min_element(p.begin(), p.end());
      double sum = 0;
      for (double& x : p) sum += x = std::exp(x - most);
      const double lse = most + std::log(sum);
      r.lse[head.lse_at(a)] = lse;
      double relative = 0;
      if (out_bound != nullptr) {
        for (Size b = 0; b < head.n(); ++b) {
          // A score far below the maximum has P = 0 whatever its error.
          if (p[b] / sum < 1e-30) continue;
          const double size_of_score = head.score(qkv, a, b, true);
          relative = std::max(relative, (double(head.d()) + 4) * size_of_score);
        }
        relative += std::min(most - least, 100.0) + kExp + double(head.n());
        relative *= 1.01 * kUnit;  // 1.01: second order
        (*lse_bound)[head.lse_at(a)] =
            relative + 4 * kUnit * (std::abs(most) + std::abs(lse) + 1) + kTiny;
      }
      for (Size e = 0; e < head.d(); ++e) {
        double o = 0, magnitude = 0;
        for (Size b = 0; b < head.n(); ++b) {
          o += p[b] / sum * qkv[head.qkv_at(2, b, e)];
          magnitude += p[b] / sum * std::abs(qkv[head.qkv_at(2, b, e)]);
        }
        r.out[head.out_at(a, e)] = o;
        if (out_bound != nullptr) {
          const double error =
              (2 * relative + (double(head.n()) + 4) * kUnit + rounding.weights) * magnitude;
          (*out_bound)[head.out_at(a, e)] =
              error + rounding.storage * (std::abs(o) + error) + kTiny;
        }
      }
    }
  });
  return r;
}

/// The gradient by the header's formulas, and with `bound` the bounds of a float32 implementation
/// on the same out and lse: P errs relatively as above, by `relative`; dP and D are sums of d
/// products, dq and dk of N, dv of N.
std::vector<double> backward(const WindowAttentionShape& s, const std::vector<double>& qkv,
                             const std::vector<double>& out, const std::vector<double>& lse,
                             const std::vector<double>& dout, std::vector<double>* bound = nullptr,
                             Rounding rounding = {}) {
  std::vector<double> dqkv(qkv.size());
  if (bound != nullptr) bound->assign(qkv.size(), 0);
  const auto see = [&](Size at, double value, double error) {
    dqkv[at] += value;
    if (bound != nullptr) (*bound)[at] += error;
  };
  for_each_head(s, [&](const Head& head) {
    const double d = double(head.d()), n = double(head.n());
    for (Size a = 0; a < head.n(); ++a) {
      double delta = 0, delta_size = 0;
      for (Size e = 0; e < head.d(); ++e) {
        const double x = dout[head.out_at(a, e)] * out[head.out_at(a, e)];
        delta += x;
        delta_size += std::abs(x);
      }
      for (Size b = 0; b < head.n(); ++b) {
        const double x = head.score(qkv, a, b) - lse[head.lse_at(a)], p = std::exp(x);
        double dp = 0, dp_size = 0;
        for (Size e = 0; e < head.d(); ++e) {
          const double y = dout[head.out_at(a, e)] * qkv[head.qkv_at(2, b, e)];
          dp += y;
          dp_size += std::abs(y);
        }
        const double ds = p * (dp - delta) * head.scale();
        const double relative =
            kUnit * ((d + 4) * head.score(qkv, a, b, true) + std::min(std::abs(x), 100.0) +
                     std::abs(lse[head.lse_at(a)]) + kExp);
        const double ds_size = p * (dp_size + delta_size) * head.scale();
        const double ds_error = ds_size * (relative + (d + n + 8) * kUnit) * 1.01 +
                                rounding.weights * std::abs(ds) + kTiny;
        for (Size e = 0; e < head.d(); ++e) {
          const double q = qkv[head.qkv_at(0, a, e)], k = qkv[head.qkv_at(1, b, e)];
          const double g = dout[head.out_at(a, e)];
          see(head.qkv_at(0, a, e), ds * k, ds_error * std::abs(k));
          see(head.qkv_at(1, b, e), ds * q, ds_error * std::abs(q));
          see(head.qkv_at(2, b, e), p * g,
              (p * ((relative + (n + 2) * kUnit) * 1.01 + rounding.weights) + kTiny) * std::abs(g));
        }
      }
    }
  });
  if (bound != nullptr) {
    for (Size i = 0; i < dqkv.size(); ++i) {
      (*bound)[i] += rounding.storage * (std::abs(dqkv[i]) + (*bound)[i]) + kTiny;
    }
  }
  return dqkv;
}

template <class T>
struct Result {
  std::vector<T> out;
  std::vector<float> lse;
};

template <class T>
Result<T> run_forward(Device device, const WindowAttentionShape& s, const std::vector<T>& qkv) {
  const Size rows = Size(s.windows) * Size(s.tokens);
  const Array qkv_array(device, qkv),
      out(device, std::vector<T>(rows * Size(s.channels()), from_float<T>(NAN)));
  const Array lse(device, std::vector<float>(rows * Size(s.heads), NAN));
  testing::run(device,
               WindowAttentionForward<T>{
                   .qkv = qkv_array.data(), .out = out.data(), .lse = lse.data(), .shape = s});
  return {out.host(), lse.host()};
}

template <class T>
std::vector<T> run_backward(Device device, const WindowAttentionShape& s, const std::vector<T>& qkv,
                            const std::vector<T>& out, const std::vector<float>& lse,
                            const std::vector<T>& dout) {
  const Array qkv_array(device, qkv), out_array(device, out), dout_array(device, dout),
      dqkv(device, std::vector<T>(qkv.size(), from_float<T>(NAN)));
  const Array lse_array(device, lse);
  testing::run(device, WindowAttentionBackward<T>{.qkv = qkv_array.data(),
                                                  .out = out_array.data(),
                                                  .lse = lse_array.data(),
                                                  .dout = dout_array.data(),
                                                  .dqkv = dqkv.data(),
                                                  .shape = s});
  return dqkv.host();
}

/// Both directions against the definition.
template <class T>
void check(Device device, const WindowAttentionShape& s, const std::vector<T>& qkv) {
  const Rounding rounded = rounding<T>(device);
  const auto exact_qkv = widen(qkv);
  std::vector<double> out_bound, lse_bound, bound;
  const Exact exact = forward(s, exact_qkv, &out_bound, &lse_bound, rounded);
  const auto got = run_forward(device, s, qkv);
  Worst worst_out, worst_lse, worst_grad;
  for (Size i = 0; i < got.out.size(); ++i) {
    worst_out.see(to_float(got.out[i]) - exact.out[i], out_bound[i], i);
  }
  for (Size i = 0; i < got.lse.size(); ++i) {
    worst_lse.see(got.lse[i] - exact.lse[i], lse_bound[i], i);
  }

  const auto dout = normal<T>(got.out.size(), 8);
  // On the lse of the definition, so that a wrong forward can't excuse a wrong backward.
  const std::vector<float> lse(exact.lse.begin(), exact.lse.end());
  std::vector<T> out(exact.out.size());
  std::transform(exact.out.begin(), exact.out.end(), out.begin(),
                 [](double x) { return from_float<T>(float(x)); });
  const auto want = backward(s, exact_qkv, widen(out), widen(lse), widen(dout), &bound, rounded);
  const auto dqkv = run_backward(device, s, qkv, out, lse, dout);
  for (Size i = 0; i < dqkv.size(); ++i) {
    worst_grad.see(to_float(dqkv[i]) - want[i], bound[i], i);
  }
  CAPTURE(worst_out.index, worst_lse.index, worst_grad.index);
  CHECK(worst_out.ratio <= 1);
  CHECK(worst_lse.ratio <= 1);
  CHECK(worst_grad.ratio <= 1);
}

Size qkv_size(const WindowAttentionShape& s) {
  return Size(s.windows) * Size(s.tokens) * 3 * Size(s.channels());
}

TEMPLATE_TEST_CASE("window_attention agrees with its definition", "[attention]", float, bf16, f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  // Windows x N x heads x d, on both sides of the sizes of tiles, vectors and groups of heads.
  const auto [windows, n, heads, d] = GENERATE(table<int, int, int, int>(
      {{3, 2, 1, 32},   {3, 3, 8, 64},   {3, 4, 8, 64},   {3, 9, 2, 16},   {3, 15, 3, 24},
       {5, 16, 1, 32},  {3, 16, 8, 8},   {3, 16, 8, 16},  {3, 16, 4, 32},  {3, 17, 5, 32},
       {3, 17, 2, 128}, {3, 31, 2, 1},   {3, 31, 2, 32},  {3, 33, 1, 7},   {2, 33, 24, 32},
       {2, 33, 6, 32},  {2, 33, 12, 64}, {2, 48, 2, 64},  {3, 49, 16, 32}, {17, 20, 16, 32},
       {3, 64, 1, 127}, {3, 65, 3, 64},  {1, 113, 1, 64}, {2, 129, 2, 32}, {1, 196, 4, 32},
       {1, 196, 1, 64}, {1, 197, 2, 33}, {1, 208, 4, 32}, {1, 256, 1, 32}, {1, 257, 1, 32},
       {1, 1023, 1, 8}, {1, 1024, 1, 16}}));
  const WindowAttentionShape s{.windows = windows, .tokens = n, .heads = heads, .head_dim = d};
  if (device != kCpu && qkv_size(s) * Size(n) > 20'000'000) return;  // too long for a simulator
  CAPTURE(device, n, heads, d);
  check<TestType>(device, s, normal<TestType>(qkv_size(s), 1));
}

TEST_CASE("window_attention with large scores and ties", "[attention]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int n = GENERATE(2, 16, 50);
  const WindowAttentionShape s{.windows = 2, .tokens = n, .heads = 2, .head_dim = 32};
  auto qkv = normal(qkv_size(s), 1, 0, 30);  // scores of thousands: exp without the shift is inf
  check<float>(device, s, qkv);
  qkv = normal(qkv_size(s), 2);
  for_each_head(s, [&](const Head& head) {
    for (Size t = 0; t < head.n(); ++t) {
      for (Size e = 0; e < head.d(); ++e) {
        qkv[head.qkv_at(1, t, e)] = qkv[head.qkv_at(1, 0, e)];  // every key the same
      }
    }
  });
  check<float>(device, s, qkv);
  // All scores far below zero: a maximum that starts from 0 gives 0 / 0.
  for_each_head(s, [&](const Head& head) {
    for (Size t = 0; t < head.n(); ++t) {
      for (Size e = 0; e < head.d(); ++e) {
        qkv[head.qkv_at(0, t, e)] = 8;
        qkv[head.qkv_at(1, t, e)] = -8 + 0.01f * float(t);
      }
    }
  });
  check<float>(device, s, qkv);
}

TEST_CASE("window_attention's definition and its gradient agree", "[attention]") {
  const WindowAttentionShape s{.windows = 1, .tokens = 5, .heads = 2, .head_dim = 3};
  auto qkv = widen(normal(qkv_size(s), 1));
  const auto dout = widen(normal(qkv_size(s) / 3, 2));
  const Exact exact = forward(s, qkv);
  const auto gradient = backward(s, qkv, exact.out, exact.lse, dout);
  const auto loss = [&] {
    const auto out = forward(s, qkv).out;
    double sum = 0;
    for (Size i = 0; i < out.size(); ++i) sum += out[i] * dout[i];
    return sum;
  };
  Worst worst;
  for (Size i = 0; i < qkv.size(); ++i) {
    const double x = qkv[i], h = 1e-5;
    qkv[i] = x + h;
    const double above = loss();
    qkv[i] = x - h;
    const double below = loss();
    qkv[i] = x;
    // h^2 of the third derivative and 1e-16 / h of rounding, both of values near 10.
    worst.see((above - below) / (2 * h) - gradient[i], 1e-8, i);
  }
  CAPTURE(worst.index);
  REQUIRE(worst.ratio <= 1);
}

TEMPLATE_TEST_CASE("window_attention of one token is the value, exactly", "[attention]", float,
                   bf16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  const int d = GENERATE(8, 32, 64, 100);
  const WindowAttentionShape s{.windows = 5, .tokens = 1, .heads = 8, .head_dim = d};
  const auto qkv = normal<T>(qkv_size(s), 1, 0, 10);
  const auto dout = normal<T>(qkv.size() / 3, 2);
  const auto got = run_forward(device, s, qkv);
  const auto dqkv = run_backward(device, s, qkv, got.out, got.lse, dout);
  Size wrong = 0;
  Worst worst_lse;
  const auto exact_qkv = widen(qkv);
  for_each_head(s, [&](const Head& head) {
    worst_lse.see(got.lse[head.lse_at(0)] - head.score(exact_qkv, 0, 0),
                  (d + 4) * kUnit * head.score(exact_qkv, 0, 0, true), head.lse_at(0));
    for (Size e = 0; e < head.d(); ++e) {
      const float v = to_float(qkv[head.qkv_at(2, 0, e)]);
      wrong += to_float(got.out[head.out_at(0, e)]) != v;
      wrong += to_float(dqkv[head.qkv_at(0, 0, e)]) != 0;
      wrong += to_float(dqkv[head.qkv_at(1, 0, e)]) != 0;
      wrong += to_float(dqkv[head.qkv_at(2, 0, e)]) != to_float(dout[head.out_at(0, e)]);
    }
  });
  REQUIRE(wrong == 0);
  REQUIRE(worst_lse.ratio <= 1);
}

TEST_CASE("window_attention gives the same bits for any number of threads", "[attention]") {
  // Windows x N x heads x d; the first has fewer windows than threads, so heads are divided too.
  const auto [windows, n, heads, d] = GENERATE(table<int, int, int, int>(
      {{1, 49, 16, 32}, {3, 196, 4, 32}, {50, 16, 1, 32}, {7, 16, 8, 8}, {2, 49, 3, 64}}));
  const WindowAttentionShape s{.windows = windows, .tokens = n, .heads = heads, .head_dim = d};
  const auto qkv = normal(qkv_size(s), 1), dout = normal(qkv.size() / 3, 2);
  cpu::set_num_threads(1);
  const auto one = run_forward(kCpu, s, qkv);
  const auto one_grad = run_backward(kCpu, s, qkv, one.out, one.lse, dout);
  for (const int threads : {2, 3}) {
    cpu::set_num_threads(threads);
    const auto more = run_forward(kCpu, s, qkv);
    CHECK(more.out == one.out);
    CHECK(more.lse == one.lse);
    CHECK(run_backward(kCpu, s, qkv, one.out, one.lse, dout) == one_grad);
  }
  cpu::set_num_threads(0);
}

TEMPLATE_TEST_CASE("window_attention gives a window the same bits, whatever is beside it",
                   "[attention]", float, bf16) {
  const Device device = GENERATE(from_range(testing::devices()));
  // The fewer the windows, the fewer of a window's heads go to a block of the GPU.
  const auto [windows, n, heads, d] = GENERATE(table<int, int, int, int>({{17, 196, 16, 32},
                                                                          {9, 16, 1, 32},
                                                                          {5, 7, 2, 64},
                                                                          {132, 65, 4, 32},
                                                                          {132, 65, 2, 64},
                                                                          {264, 9, 16, 64}}));
  if (device == kCpu && n > 100) return;
  const WindowAttentionShape s{.windows = windows, .tokens = n, .heads = heads, .head_dim = d},
      one{.windows = 1, .tokens = n, .heads = heads, .head_dim = d};
  const auto qkv = normal<TestType>(qkv_size(s), 1), dout = normal<TestType>(qkv.size() / 3, 2);
  const auto all = run_forward(device, s, qkv);
  const auto all_grad = run_backward(device, s, qkv, all.out, all.lse, dout);
  const int window = windows - 1;
  const auto part = [&](const auto& of) {
    const auto size = std::ptrdiff_t(of.size()) / windows;
    return std::decay_t<decltype(of)>(of.begin() + window * size, of.begin() + (window + 1) * size);
  };
  const auto alone = run_forward(device, one, part(qkv));
  CHECK(widen(alone.out) == widen(part(all.out)));
  CHECK(alone.lse == part(all.lse));
  const auto alone_grad = run_backward(device, one, part(qkv), alone.out, alone.lse, part(dout));
  CHECK(widen(alone_grad) == widen(part(all_grad)));
}

TEST_CASE("window_attention takes no window, and no lse in inference", "[attention]") {
  const Device device = GENERATE(from_range(testing::devices()));
  testing::run(device, WindowAttentionForward<float>{.shape = {.windows = 0}});
  testing::run(device, WindowAttentionBackward<float>{.shape = {.windows = 0}});
  const int n = GENERATE(1, 20);
  const WindowAttentionShape s{.windows = 2, .tokens = n, .heads = 2, .head_dim = 8};
  const auto qkv = normal(qkv_size(s), 1);
  const Array qkv_array(device, qkv), out(device, std::vector<float>(qkv.size() / 3, NAN));
  testing::run(device, WindowAttentionForward<float>{
                           .qkv = qkv_array.data(), .out = out.data(), .shape = s});
  REQUIRE(out.host() == run_forward(device, s, qkv).out);
}

TEST_CASE("window_attention passes a NaN on, and only where it belongs", "[attention]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const int d = GENERATE(8, 32);
  const WindowAttentionShape s{.windows = 2, .tokens = 18, .heads = 2, .head_dim = d};
  auto qkv = normal(qkv_size(s), 1);
  const Head head(s, 1, 1);
  // A query: its row of its head. The payload would end up in the exponent of an exp that adds
  // bits.
  qkv[head.qkv_at(0, 17, 3)] = std::bit_cast<float>(0x7fc00123u);
  const auto got = run_forward(device, s, qkv);
  Size wrong = 0;
  for_each_head(s, [&](const Head& at) {
    for (Size t = 0; t < at.n(); ++t) {
      const bool broken = at.window == 1 && at.head == 1 && t == 17;
      wrong += std::isnan(got.lse[at.lse_at(t)]) != broken;
      for (Size e = 0; e < at.d(); ++e) wrong += std::isnan(got.out[at.out_at(t, e)]) != broken;
    }
  });
  REQUIRE(wrong == 0);
}

TEST_CASE("window_attention names what it refuses", "[attention]") {
  const auto message = [](WindowAttentionShape s) {
    try {
      cpu::run(WindowAttentionForward<float>{.shape = s});
    } catch (const std::invalid_argument& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  using Catch::Contains;
  REQUIRE_THAT(message({.windows = 1, .tokens = 1025}), Contains("tokens = 1025"));
  REQUIRE_THAT(message({.windows = 1, .tokens = 0}), Contains("tokens = 0"));
  REQUIRE_THAT(message({.windows = 1, .head_dim = 129}), Contains("head_dim = 129"));
  REQUIRE_THAT(message({.windows = 1, .heads = 0}), Contains("heads = 0"));
  REQUIRE_THAT(message({.windows = -1}), Contains("windows = -1"));
  REQUIRE_THAT(message({.windows = 1}), Contains("null"));
}

}  // namespace
}  // namespace hh
