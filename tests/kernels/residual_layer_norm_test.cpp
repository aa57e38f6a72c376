// SPDX-License-Identifier: Apache-2.0
#include "kernels/layer_norm/residual_layer_norm.h"

#include <bit>
#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/row_norm.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal, testing::unit, testing::Worst;
using testing::Bounded, testing::BoundedSum, testing::stored, testing::RowNorm,
    testing::RowNormGradient;
using Size = std::size_t;

/// A case: the sizes, which of the arrays there are, and the inputs.
template <class T>
struct Problem {
  Size rows, per_image, cols;
  bool branch = true, bias = true, scale = true, norm = true, stream = true;
  std::vector<T> residual, branch_values, dz, dy;
  std::vector<float> bias_values, scale_values, gamma, beta;

  Problem(Size rows_in, Size per_image_in, Size cols_in, float offset = 0)
      : rows(rows_in), per_image(per_image_in), cols(cols_in) {
    residual = normal<T>(rows * cols, 1, offset);
    branch_values = normal<T>(rows * cols, 2);
    dz = normal<T>(rows * cols, 3);
    dy = normal<T>(rows * cols, 4);
    bias_values = normal(cols, 5);
    gamma = normal(cols, 6, 1, 0.2f);
    beta = normal(cols, 7);
    // Drop path: every third image's branch is dropped, the others' are scaled up.
    for (Size i = 0; i < rows / per_image; ++i) scale_values.push_back(i % 3 == 1 ? 0.f : 1.25f);
  }

  double scale_of(Size row) const { return branch && scale ? scale_values[row / per_image] : 1; }
};

template <class T>
struct Forward {
  std::vector<T> z, y;
  std::vector<float> mean, rstd;
  bool operator==(const Forward&) const = default;
};

template <class T>
struct Bits {
  std::vector<std::uint32_t> bits;
  explicit Bits(const std::vector<T>& values) {
    for (const T v : values) bits.push_back(std::bit_cast<std::uint32_t>(to_float(v)));
  }
  bool operator==(const Bits&) const = default;
};

template <class T>
Forward<T> run_forward(Device device, const Problem<T>& p, bool in_place = false) {
  const std::vector<T> unwritten(p.rows * p.cols, from_float<T>(NAN));
  const std::vector<float> unwritten_rows(p.rows, NAN);
  const Array residual(device, p.residual), branch(device, p.branch_values), z(device, unwritten),
      y(device, unwritten);
  const Array bias(device, p.bias_values), scale(device, p.scale_values), gamma(device, p.gamma),
      beta(device, p.beta), mean(device, unwritten_rows), rstd(device, unwritten_rows);
  const auto& z_out = in_place ? residual : z;
  testing::run(device, ResidualLayerNormForward<T>{
                           .residual = residual.data(),
                           .branch = p.branch ? branch.data() : nullptr,
                           .bias = p.branch && p.bias ? bias.data() : nullptr,
                           .image_scale = p.branch && p.scale ? scale.data() : nullptr,
                           .gamma = p.norm ? gamma.data() : nullptr,
                           .beta = p.norm ? beta.data() : nullptr,
                           .z = p.branch ? z_out.data() : nullptr,
                           .y = p.norm ? y.data() : nullptr,
                           .mean = p.norm ? mean.data() : nullptr,
                           .rstd = p.norm ? rstd.data() : nullptr,
                           .rows = std::int64_t(p.rows),
                           .rows_per_image = std::int64_t(p.per_image),
                           .cols = int(p.cols)});
  return {z_out.host(), y.host(), mean.host(), rstd.host()};
}

template <class T>
struct Backward {
  std::vector<T> dresidual, dbranch;
  std::vector<float> dbias, dgamma, dbeta;
};

constexpr std::uint64_t kBefore = 20;  // seed of what the parameter gradients hold before

enum class InPlace { kNo, kDz, kDy };

template <class T>
Backward<T> run_backward(Device device, const Problem<T>& p, const std::vector<T>& z,
                         const std::vector<float>& mean, const std::vector<float>& rstd,
                         InPlace in_place = InPlace::kNo) {
  const std::vector<T> unwritten(p.rows * p.cols, from_float<T>(NAN));
  const Array dz(device, p.dz), dy(device, p.dy), z_array(device, z), fresh(device, unwritten),
      dbranch(device, unwritten);
  const Array scale(device, p.scale_values), gamma(device, p.gamma), mean_array(device, mean),
      rstd_array(device, rstd), dbias(device, normal(p.cols, kBefore)),
      dgamma(device, normal(p.cols, kBefore + 1)), dbeta(device, normal(p.cols, kBefore + 2));
  const auto& dresidual = in_place == InPlace::kDz ? dz : in_place == InPlace::kDy ? dy : fresh;
  testing::run(device, ResidualLayerNormBackward<T>{
                           .dz = p.stream ? dz.data() : nullptr,
                           .dy = p.norm ? dy.data() : nullptr,
                           .z = p.norm ? z_array.data() : nullptr,
                           .image_scale = p.branch && p.scale ? scale.data() : nullptr,
                           .gamma = p.norm ? gamma.data() : nullptr,
                           .mean = p.norm ? mean_array.data() : nullptr,
                           .rstd = p.norm ? rstd_array.data() : nullptr,
                           .dresidual = dresidual.data(),
                           .dbranch = p.branch && p.scale ? dbranch.data() : nullptr,
                           .dbias = p.branch && p.bias ? dbias.data() : nullptr,
                           .dgamma = p.norm ? dgamma.data() : nullptr,
                           .dbeta = p.norm ? dbeta.data() : nullptr,
                           .rows = std::int64_t(p.rows),
                           .rows_per_image = std::int64_t(p.per_image),
                           .cols = int(p.cols)});
  return {dresidual.host(), dbranch.host(), dbias.host(), dgamma.host(), dbeta.host()};
}

template <class V>
std::vector<double> row_of(const std::vector<V>& values, Size row, Size cols) {
  std::vector<double> out(cols);
  for (Size c = 0; c < cols; ++c) out[c] = to_float(values[row * cols + c]);
  return out;
}

/// The definition in fp64, on the z that was stored; z's own error is checked apart.
template <class T>
void check_forward(const Problem<T>& p, const Forward<T>& got) {
  constexpr double u = unit<float>();
  Worst z_error, mean_error, rstd_error, y_error;
  for (Size r = 0; r < p.rows; ++r) {
    for (Size c = 0; p.branch && c < p.cols; ++c) {
      const Size i = r * p.cols + c;
      const double residual = to_float(p.residual[i]), branch = to_float(p.branch_values[i]);
      const double bias = p.bias ? p.bias_values[c] : 0, s = p.scale_of(r);
      const double size = std::abs(residual) + s * (std::abs(branch) + std::abs(bias));
      // Two additions and a product.
      const Bounded want = stored<T>(Bounded{residual + s * (branch + bias), 3 * u * size});
      z_error.see(to_float(got.z[i]) - want.value, want.bound, i);
    }
    if (!p.norm) continue;
    const auto z = row_of(p.branch ? got.z : p.residual, r, p.cols);
    const RowNorm norm(z, 1e-6f);
    mean_error.see(got.mean[r] - norm.mean.value, norm.mean.bound, r);
    rstd_error.see(got.rstd[r] - norm.rstd.value, norm.rstd.bound, r);
    for (Size c = 0; c < p.cols; ++c) {
      const Bounded want = stored<T>(norm.y(z[c], p.gamma[c], p.beta[c]));
      y_error.see(to_float(got.y[r * p.cols + c]) - want.value, want.bound, r * p.cols + c);
    }
  }
  CAPTURE(z_error.index, mean_error.index, rstd_error.index, y_error.index);
  REQUIRE(z_error.ratio <= 1);
  REQUIRE(mean_error.ratio <= 1);
  REQUIRE(rstd_error.ratio <= 1);
  REQUIRE(y_error.ratio <= 1);
}

/// What backward starts from: z, and the float32 statistics nearest to those of the definition, so
/// that a wrong forward can't excuse a wrong backward.
template <class T>
Forward<T> exact_statistics(const Problem<T>& p) {
  Forward<T> f{p.residual, {}, {}, {}};
  for (Size r = 0; r < p.rows; ++r) {
    const RowNorm norm(row_of(f.z, r, p.cols), 1e-6f);
    f.mean.push_back(float(norm.mean.value));
    f.rstd.push_back(float(norm.rstd.value));
  }
  return f;
}

template <class T>
void check_backward(const Problem<T>& p, const Forward<T>& f, const Backward<T>& got) {
  constexpr double u = unit<float>();
  Worst dresidual_error, dbranch_error, dbias_error, dgamma_error, dbeta_error;
  std::vector<BoundedSum> dbias, dgamma, dbeta;
  const auto before = [&](std::uint64_t which) {
    const auto values = normal(p.cols, kBefore + which);
    return std::vector<BoundedSum>(values.begin(), values.end());
  };
  dbias = before(0), dgamma = before(1), dbeta = before(2);
  for (Size r = 0; r < p.rows; ++r) {
    const auto gamma = row_of(p.gamma, 0, p.cols);
    const RowNormGradient norm(row_of(p.dy, r, p.cols), row_of(f.z, r, p.cols), f.mean[r],
                               f.rstd[r], gamma);
    for (Size c = 0; c < p.cols; ++c) {
      const Size i = r * p.cols + c;
      const double dz = p.stream ? to_float(p.dz[i]) : 0, s = p.scale_of(r);
      const Bounded total = p.norm ? norm.dz(c, dz) : Bounded{dz, 0};
      const Bounded want = stored<T>(total);
      dresidual_error.see(to_float(got.dresidual[i]) - want.value, want.bound, i);
      const Bounded branch{s * total.value, s * total.bound + u * std::abs(s * total.value)};
      if (p.branch && p.scale) {
        const Bounded rounded = stored<T>(branch);
        dbranch_error.see(to_float(got.dbranch[i]) - rounded.value, rounded.bound, i);
      }
      if (p.branch && p.bias) dbias[c].add(branch.value, branch.bound);
      if (!p.norm) continue;
      const double dy = to_float(p.dy[i]), term = dy * norm.h[c];
      dgamma[c].add(term, 4 * u * std::abs(term));
      dbeta[c].add(dy, 0);
    }
  }
  for (Size c = 0; c < p.cols; ++c) {
    dbias_error.see(got.dbias[c] - dbias[c].value, dbias[c].bound(), c);
    dgamma_error.see(got.dgamma[c] - dgamma[c].value, dgamma[c].bound(), c);
    dbeta_error.see(got.dbeta[c] - dbeta[c].value, dbeta[c].bound(), c);
  }
  CAPTURE(dresidual_error.index, dbranch_error.index, dbias_error.index, dgamma_error.index,
          dbeta_error.index);
  REQUIRE(dresidual_error.ratio <= 1);
  REQUIRE(dbranch_error.ratio <= 1);
  REQUIRE(dbias_error.ratio <= 1);
  REQUIRE(dgamma_error.ratio <= 1);
  REQUIRE(dbeta_error.ratio <= 1);
}

TEMPLATE_TEST_CASE("residual_layer_norm agrees with its definition", "[layer_norm]", float, bf16,
                   f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  const int cols = GENERATE(1, 2, 15, 16, 17, 33, 64, 127, 128, 200, 257, 512, 1000);
  const auto [rows, per_image] = GENERATE(table<int, int>({{0, 1}, {1, 1}, {12, 4}, {35, 7}}));
  const float offset = GENERATE(0.f, 1000.f);  // |mean| >> std
  CAPTURE(device, cols, rows, per_image, offset);
  const Problem<T> p(Size(rows), Size(per_image), Size(cols), offset);
  check_forward(p, run_forward(device, p));
  const auto f = exact_statistics(p);
  check_backward(p, f, run_backward(device, p, f.z, f.mean, f.rstd));
}

TEMPLATE_TEST_CASE("residual_layer_norm without some of its arrays", "[layer_norm]", float, bf16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  Problem<T> p(12, 2, 50);
  p.branch = GENERATE(true, false);
  p.bias = GENERATE(true, false);
  p.scale = GENERATE(true, false);
  p.norm = GENERATE(true, false);
  p.stream = GENERATE(true, false);
  CAPTURE(device, p.branch, p.bias, p.scale, p.norm, p.stream);
  check_forward(p, run_forward(device, p));
  const auto f = exact_statistics(p);
  check_backward(p, f, run_backward(device, p, f.z, f.mean, f.rstd));
}

TEMPLATE_TEST_CASE("residual_layer_norm in place gives the same bits", "[layer_norm]", float,
                   bf16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  const Problem<T> p(10, 5, Size(GENERATE(7, 64, 100)));
  const auto apart = run_forward(device, p), inside = run_forward(device, p, true);
  CHECK(Bits(inside.z) == Bits(apart.z));
  CHECK(Bits(inside.y) == Bits(apart.y));
  const auto fresh = run_backward(device, p, apart.z, apart.mean, apart.rstd);
  for (const InPlace where : {InPlace::kDz, InPlace::kDy}) {
    const auto got = run_backward(device, p, apart.z, apart.mean, apart.rstd, where);
    CHECK(Bits(got.dresidual) == Bits(fresh.dresidual));
    CHECK(Bits(got.dbranch) == Bits(fresh.dbranch));
    CHECK(got.dgamma == fresh.dgamma);
  }
}

TEST_CASE("residual_layer_norm gives the same bits for any number of threads", "[layer_norm]") {
  const auto [rows, cols] = GENERATE(table<int, int>({{1500, 33}, {700, 128}}));
  const Problem<float> p(Size(rows), 100, Size(cols));
  cpu::set_num_threads(1);
  const auto one = run_forward(kCpu, p);
  const auto one_grad = run_backward(kCpu, p, one.z, one.mean, one.rstd);
  check_backward(p, one, one_grad);
  for (const int threads : {2, 3}) {
    cpu::set_num_threads(threads);
    CHECK(run_forward(kCpu, p) == one);
    const auto grad = run_backward(kCpu, p, one.z, one.mean, one.rstd);
    CHECK(grad.dresidual == one_grad.dresidual);
    CHECK(grad.dbias == one_grad.dbias);
    CHECK(grad.dgamma == one_grad.dgamma);
    CHECK(grad.dbeta == one_grad.dbeta);
  }
  cpu::set_num_threads(0);
}

TEST_CASE("residual_layer_norm's definition and its gradient agree", "[layer_norm]") {
  const Size cols = 7;
  auto z = row_of(normal(cols, 1), 0, cols), gamma = row_of(normal(cols, 2), 0, cols);
  const auto beta = row_of(normal(cols, 3), 0, cols), dy = row_of(normal(cols, 4), 0, cols);
  const auto loss = [&] {
    const RowNorm norm(z, 1e-6);
    double sum = 0;
    for (Size c = 0; c < cols; ++c) sum += dy[c] * norm.y(z[c], gamma[c], beta[c]).value;
    return sum;
  };
  const RowNorm norm(z, 1e-6);
  const RowNormGradient gradient(dy, z, norm.mean.value, norm.rstd.value, gamma);
  const double h = 1e-5;
  const auto slope = [&](double& x) {
    const double at = x;
    x = at + h;
    const double above = loss();
    x = at - h;
    const double below = loss();
    x = at;
    return (above - below) / (2 * h);
  };
  Worst worst;
  for (Size c = 0; c < cols; ++c) {
    // h^2 of the third derivative and 1e-16 / h of rounding, both of values near 10.
    worst.see(slope(z[c]) - gradient.dz(c, 0).value, 1e-8, c);
    worst.see(slope(gamma[c]) - dy[c] * gradient.h[c], 1e-8, cols + c);
  }
  CAPTURE(worst.index);
  REQUIRE(worst.ratio <= 1);
}

TEST_CASE("residual_layer_norm names what it refuses", "[layer_norm]") {
  using Catch::Contains;
  const float one = 1;
  float out = 0;
  const auto refuses = [](const ResidualLayerNormForward<float>& p, const char* what) {
    REQUIRE_THROWS_WITH(cpu::run(p), Contains(what));
  };
  refuses({.rows = -1, .cols = 1}, "rows = -1");
  refuses({.rows = 1, .cols = 0}, "cols = 0");
  refuses({.rows = 3, .rows_per_image = 2, .cols = 1}, "rows_per_image = 2 of rows = 3");
  refuses({.cols = 1, .eps = 0}, "eps = 0");
  refuses({.rows = 1, .cols = 1}, "residual is null");
  refuses({.residual = &one, .branch = &one, .rows = 1, .cols = 1}, "branch and z");
  refuses({.residual = &one, .bias = &one, .rows = 1, .cols = 1}, "without a branch");
  refuses({.residual = &one, .gamma = &one, .rows = 1, .cols = 1}, "gamma and beta");
  refuses({.residual = &one, .gamma = &one, .beta = &one, .rows = 1, .cols = 1}, "gamma and y");
  refuses({.residual = &one, .mean = &out, .rows = 1, .cols = 1}, "mean and rstd");
  REQUIRE_THROWS_WITH(cpu::run(ResidualLayerNormBackward<float>{.rows = 1, .cols = 1}),
                      Contains("dresidual is null"));
  REQUIRE_THROWS_WITH(cpu::run(ResidualLayerNormBackward<float>{
                          .dy = &one, .dresidual = &out, .rows = 1, .cols = 1}),
                      Contains("array of the LayerNorm"));
}

}  // namespace
}  // namespace hh
