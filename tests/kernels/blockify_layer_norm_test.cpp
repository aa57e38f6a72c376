// SPDX-License-Identifier: Apache-2.0
#include "kernels/blockify/blockify_layer_norm.h"

#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/block_order.h"
#include "tests/support/device.h"
#include "tests/support/row_norm.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal, testing::unit, testing::Worst;
using testing::block_order, testing::Bounded, testing::BoundedSum, testing::stored,
    testing::RowNorm, testing::RowNormGradient;
using Size = std::size_t;
constexpr std::uint64_t kBefore = 20;  // seed of what the parameter gradients hold before

template <class T>
struct Problem {
  BlockGrid shape;
  Size tokens, positions, cols;
  std::vector<T> x, dz, dy;
  std::vector<float> pos, gamma, beta;
  bool stream = true;

  explicit Problem(const BlockGrid& s, float offset = 0)
      : shape(s), tokens(Size(s.tokens())), positions(Size(s.positions())), cols(Size(s.channels)) {
    x = normal<T>(tokens * cols, 1, offset);
    dz = normal<T>(tokens * cols, 2);
    dy = normal<T>(tokens * cols, 3);
    pos = normal(positions * cols, 4);
    gamma = normal(cols, 5, 1, 0.2f);
    beta = normal(cols, 6);
  }
};

template <class T>
struct Forward {
  std::vector<T> z, y;
  std::vector<float> mean, rstd;
};

template <class T>
Forward<T> run_forward(Device device, const Problem<T>& p) {
  const std::vector<T> unwritten(p.x.size(), from_float<T>(NAN));
  const std::vector<float> unwritten_rows(p.tokens, NAN);
  const Array x(device, p.x), z(device, unwritten), y(device, unwritten);
  const Array pos(device, p.pos), gamma(device, p.gamma), beta(device, p.beta),
      mean(device, unwritten_rows), rstd(device, unwritten_rows);
  testing::run(device, BlockifyLayerNormForward<T>{.x = x.data(),
                                                   .pos = pos.data(),
                                                   .gamma = gamma.data(),
                                                   .beta = beta.data(),
                                                   .z = z.data(),
                                                   .y = y.data(),
                                                   .mean = mean.data(),
                                                   .rstd = rstd.data(),
                                                   .shape = p.shape});
  return {z.host(), y.host(), mean.host(), rstd.host()};
}

template <class T>
struct Backward {
  std::vector<T> dx;
  std::vector<float> dpos, dgamma, dbeta;
};

template <class T>
Backward<T> run_backward(Device device, const Problem<T>& p, const Forward<T>& f) {
  const Array dz(device, p.dz), dy(device, p.dy), z(device, f.z),
      dx(device, std::vector<T>(p.x.size(), from_float<T>(NAN)));
  const Array gamma(device, p.gamma), mean(device, f.mean), rstd(device, f.rstd),
      dpos(device, normal(p.pos.size(), kBefore)), dgamma(device, normal(p.cols, kBefore + 1)),
      dbeta(device, normal(p.cols, kBefore + 2));
  testing::run(device, BlockifyLayerNormBackward<T>{.dz = p.stream ? dz.data() : nullptr,
                                                    .dy = dy.data(),
                                                    .z = z.data(),
                                                    .gamma = gamma.data(),
                                                    .mean = mean.data(),
                                                    .rstd = rstd.data(),
                                                    .dx = dx.data(),
                                                    .dpos = dpos.data(),
                                                    .dgamma = dgamma.data(),
                                                    .dbeta = dbeta.data(),
                                                    .shape = p.shape});
  return {dx.host(), dpos.host(), dgamma.host(), dbeta.host()};
}

template <class V>
std::vector<double> row_of(const std::vector<V>& values, Size row, Size cols) {
  std::vector<double> out(cols);
  for (Size c = 0; c < cols; ++c) out[c] = to_float(values[row * cols + c]);
  return out;
}

template <class T>
void check_forward(const Problem<T>& p, const Forward<T>& got) {
  const auto order = block_order(p.shape);
  Size wrong_z = 0;
  Worst mean_error, rstd_error, y_error;
  for (Size r = 0; r < p.tokens; ++r) {
    for (Size c = 0; c < p.cols; ++c) {
      // One addition: nothing to tolerate.
      const float sum = to_float(p.x[order[r] * p.cols + c]) + p.pos[r % p.positions * p.cols + c];
      wrong_z += to_float(got.z[r * p.cols + c]) != to_float(from_float<T>(sum));
    }
    const auto z = row_of(got.z, r, p.cols);
    const RowNorm norm(z, 1e-6f);
    mean_error.see(got.mean[r] - norm.mean.value, norm.mean.bound, r);
    rstd_error.see(got.rstd[r] - norm.rstd.value, norm.rstd.bound, r);
    for (Size c = 0; c < p.cols; ++c) {
      const Bounded want = stored<T>(norm.y(z[c], p.gamma[c], p.beta[c]));
      y_error.see(to_float(got.y[r * p.cols + c]) - want.value, want.bound, r * p.cols + c);
    }
  }
  CAPTURE(mean_error.index, rstd_error.index, y_error.index);
  REQUIRE(wrong_z == 0);
  REQUIRE(mean_error.ratio <= 1);
  REQUIRE(rstd_error.ratio <= 1);
  REQUIRE(y_error.ratio <= 1);
}

/// Backward starts from any z, so x serves; the statistics are those of the definition.
template <class T>
Forward<T> exact_statistics(const Problem<T>& p) {
  Forward<T> f{p.x, {}, {}, {}};
  for (Size r = 0; r < p.tokens; ++r) {
    const RowNorm norm(row_of(f.z, r, p.cols), 1e-6f);
    f.mean.push_back(float(norm.mean.value));
    f.rstd.push_back(float(norm.rstd.value));
  }
  return f;
}

template <class T>
void check_backward(const Problem<T>& p, const Forward<T>& f, const Backward<T>& got) {
  constexpr double u = unit<float>();
  const auto order = block_order(p.shape);
  const auto before = [&](Size n, std::uint64_t which) {
    const auto values = normal(n, kBefore + which);
    return std::vector<BoundedSum>(values.begin(), values.end());
  };
  auto dpos = before(p.pos.size(), 0), dgamma = before(p.cols, 1), dbeta = before(p.cols, 2);
  const auto gamma = row_of(p.gamma, 0, p.cols);
  Worst dx_error, dpos_error, dgamma_error, dbeta_error;
  for (Size r = 0; r < p.tokens; ++r) {
    const RowNormGradient norm(row_of(p.dy, r, p.cols), row_of(f.z, r, p.cols), f.mean[r],
                               f.rstd[r], gamma);
    for (Size c = 0; c < p.cols; ++c) {
      const Bounded total = norm.dz(c, p.stream ? to_float(p.dz[r * p.cols + c]) : 0);
      const Bounded want = stored<T>(total);
      const Size at = order[r] * p.cols + c;
      dx_error.see(to_float(got.dx[at]) - want.value, want.bound, at);
      dpos[r % p.positions * p.cols + c].add(total.value, total.bound);
      const double term = norm.dy[c] * norm.h[c];
      dgamma[c].add(term, 4 * u * std::abs(term));
      dbeta[c].add(norm.dy[c], 0);
    }
  }
  for (Size i = 0; i < dpos.size(); ++i) {
    dpos_error.see(got.dpos[i] - dpos[i].value, dpos[i].bound(), i);
  }
  for (Size c = 0; c < p.cols; ++c) {
    dgamma_error.see(got.dgamma[c] - dgamma[c].value, dgamma[c].bound(), c);
    dbeta_error.see(got.dbeta[c] - dbeta[c].value, dbeta[c].bound(), c);
  }
  CAPTURE(dx_error.index, dpos_error.index, dgamma_error.index, dbeta_error.index);
  REQUIRE(dx_error.ratio <= 1);
  REQUIRE(dpos_error.ratio <= 1);
  REQUIRE(dgamma_error.ratio <= 1);
  REQUIRE(dbeta_error.ratio <= 1);
}

// That the definition's LayerNorm and its gradient agree is tested with residual_layer_norm; the
// rest of this op is an addition and a permutation.
TEMPLATE_TEST_CASE("blockify_layer_norm agrees with its definition", "[blockify]", float, bf16,
                   f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  const auto [images, grid, side] = GENERATE(table<int, int, int>(
      {{0, 4, 4}, {1, 1, 1}, {3, 1, 5}, {2, 2, 3}, {3, 4, 1}, {2, 4, 4}, {1, 3, 7}}));
  const int cols = GENERATE(1, 15, 16, 33, 64, 130, 200, 520);
  if (cols > 130 && images * grid * side > 12) return;  // the larger shapes take long
  const float offset = GENERATE(0.f, 1000.f);           // |mean| >> std
  CAPTURE(device, images, grid, side, cols, offset);
  Problem<T> p({.images = images, .grid = grid, .side = side, .channels = cols}, offset);
  p.stream = cols != 33;
  check_forward(p, run_forward(device, p));
  const auto f = exact_statistics(p);
  check_backward(p, f, run_backward(device, p, f));
}

TEST_CASE("blockify_layer_norm gives the same bits for any number of threads", "[blockify]") {
  const Problem<float> p({.images = 6, .grid = 4, .side = 4, .channels = GENERATE(33, 64)});
  cpu::set_num_threads(1);
  const auto one = run_forward(kCpu, p);
  const auto one_grad = run_backward(kCpu, p, one);
  for (const int threads : {2, 3}) {
    cpu::set_num_threads(threads);
    const auto more = run_forward(kCpu, p);
    CHECK(more.z == one.z);
    CHECK(more.y == one.y);
    CHECK(more.mean == one.mean);
    CHECK(more.rstd == one.rstd);
    const auto grad = run_backward(kCpu, p, one);
    CHECK(grad.dx == one_grad.dx);
    CHECK(grad.dpos == one_grad.dpos);
    CHECK(grad.dgamma == one_grad.dgamma);
    CHECK(grad.dbeta == one_grad.dbeta);
  }
  cpu::set_num_threads(0);
}

TEST_CASE("blockify_layer_norm names what it refuses", "[blockify]") {
  using Catch::Contains;
  const auto refuses = [](const BlockifyLayerNormForward<float>& p, const char* what) {
    REQUIRE_THROWS_WITH(cpu::run(p), Contains(what));
  };
  refuses({.shape = {.images = -1, .channels = 1}}, "blockify_layer_norm: images = -1");
  refuses({.shape = {.images = 1, .grid = 0, .channels = 1}}, "grid = 0");
  refuses({.shape = {.images = 1, .side = 0, .channels = 1}}, "side = 0");
  refuses({.shape = {.images = 1, .channels = 0}}, "channels = 0");
  refuses({.shape = {.channels = 1}, .eps = -1}, "eps = -1");
  refuses({.shape = {.images = 1, .channels = 1}}, "null");
  float out = 0;
  refuses({.mean = &out, .shape = {.channels = 1}}, "mean and rstd");
  REQUIRE_THROWS_WITH(
      cpu::run(BlockifyLayerNormBackward<float>{.shape = {.images = 1, .channels = 1}}),
      Contains("null"));
}

}  // namespace
}  // namespace hh
