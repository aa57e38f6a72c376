// SPDX-License-Identifier: Apache-2.0
#include "kernels/blockify/deblockify_residual.h"

#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/block_order.h"
#include "tests/support/device.h"
#include "tests/support/row_norm.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal, testing::unit, testing::Worst;
using testing::block_order, testing::Bounded, testing::BoundedSum, testing::stored;
using Size = std::size_t;

template <class T>
struct Problem {
  BlockGrid shape;
  bool scaled = true;
  std::vector<T> z, branch, dout;
  std::vector<float> bias, scale, before;

  Problem(const BlockGrid& s, bool scaled_in) : shape(s), scaled(scaled_in) {
    const Size n = Size(s.tokens()) * Size(s.channels);
    z = normal<T>(n, 1);
    branch = normal<T>(n, 2);
    dout = normal<T>(n, 3);
    bias = normal(Size(s.channels), 4);
    before = normal(Size(s.channels), 5);
    // Drop path: every third image's branch is dropped, the others' are scaled up.
    for (int b = 0; b < s.images; ++b) scale.push_back(b % 3 == 1 ? 0.f : 1.25f);
  }
};

template <class T>
std::vector<T> run_forward(Device device, const Problem<T>& p) {
  const Array z(device, p.z), branch(device, p.branch),
      out(device, std::vector<T>(p.z.size(), from_float<T>(NAN)));
  const Array bias(device, p.bias), scale(device, p.scale);
  testing::run(device,
               DeblockifyResidualForward<T>{.z = z.data(),
                                            .branch = branch.data(),
                                            .bias = bias.data(),
                                            .image_scale = p.scaled ? scale.data() : nullptr,
                                            .out = out.data(),
                                            .shape = p.shape});
  return out.host();
}

template <class T>
struct Backward {
  std::vector<T> dz, dbranch;
  std::vector<float> dbias;
};

template <class T>
Backward<T> run_backward(Device device, const Problem<T>& p) {
  const std::vector<T> unwritten(p.z.size(), from_float<T>(NAN));
  const Array dout(device, p.dout), dz(device, unwritten), dbranch(device, unwritten);
  const Array scale(device, p.scale), dbias(device, p.before);
  testing::run(device,
               DeblockifyResidualBackward<T>{.dout = dout.data(),
                                             .image_scale = p.scaled ? scale.data() : nullptr,
                                             .dz = dz.data(),
                                             .dbranch = p.scaled ? dbranch.data() : nullptr,
                                             .dbias = dbias.data(),
                                             .shape = p.shape});
  return {dz.host(), dbranch.host(), dbias.host()};
}

TEMPLATE_TEST_CASE("deblockify_residual agrees with its definition", "[blockify]", float, bf16,
                   f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  const auto [images, grid, side] = GENERATE(table<int, int, int>(
      {{0, 4, 4}, {1, 1, 1}, {3, 1, 5}, {5, 2, 3}, {3, 4, 1}, {4, 4, 4}, {1, 3, 7}}));
  const int channels = GENERATE(1, 15, 16, 33, 64, 130);
  const bool scaled = GENERATE(true, false);
  CAPTURE(device, images, grid, side, channels, scaled);
  constexpr double u = unit<float>();
  const Problem<T> p({.images = images, .grid = grid, .side = side, .channels = channels}, scaled);
  const auto out = run_forward(device, p);
  const auto [dz, dbranch, dbias] = run_backward(device, p);

  const auto order = block_order(p.shape);
  const Size cols = Size(channels), positions = Size(p.shape.positions());
  std::vector<BoundedSum> sums(p.before.begin(), p.before.end());
  Worst out_error, dbias_error;
  Size wrong_dz = 0, wrong_dbranch = 0;
  for (Size r = 0; r < order.size(); ++r) {
    const float s = scaled ? p.scale[r / positions] : 1;
    for (Size c = 0; c < cols; ++c) {
      const Size block = r * cols + c, image = order[r] * cols + c;
      const double z = to_float(p.z[block]), branch = to_float(p.branch[block]);
      const double size = std::abs(z) + s * (std::abs(branch) + std::abs(p.bias[c]));
      // Two additions and a product.
      const Bounded want = stored<T>(Bounded{z + s * (branch + p.bias[c]), 3 * u * size});
      out_error.see(to_float(out[image]) - want.value, want.bound, image);
      const float g = to_float(p.dout[image]);
      wrong_dz += to_float(dz[block]) != g;  // a move, and one product: nothing to tolerate
      wrong_dbranch += scaled && to_float(dbranch[block]) != to_float(from_float<T>(s * g));
      sums[c].add(s * g, 0);
    }
  }
  for (Size c = 0; c < cols; ++c) {
    dbias_error.see(dbias[c] - sums[c].value, sums[c].bound(), c);
  }
  CAPTURE(out_error.index, dbias_error.index);
  REQUIRE(out_error.ratio <= 1);
  REQUIRE(wrong_dz == 0);
  REQUIRE(wrong_dbranch == 0);
  REQUIRE(dbias_error.ratio <= 1);
}

TEST_CASE("deblockify_residual gives the same bits for any number of threads", "[blockify]") {
  const Problem<float> p({.images = 6, .grid = 4, .side = 4, .channels = GENERATE(33, 64)}, true);
  cpu::set_num_threads(1);
  const auto one = run_forward(kCpu, p);
  const auto one_grad = run_backward(kCpu, p);
  for (const int threads : {2, 3}) {
    cpu::set_num_threads(threads);
    CHECK(run_forward(kCpu, p) == one);
    const auto grad = run_backward(kCpu, p);
    CHECK(grad.dz == one_grad.dz);
    CHECK(grad.dbranch == one_grad.dbranch);
    CHECK(grad.dbias == one_grad.dbias);
  }
  cpu::set_num_threads(0);
}

TEST_CASE("deblockify_residual names what it refuses", "[blockify]") {
  using Catch::Contains;
  REQUIRE_THROWS_WITH(
      cpu::run(DeblockifyResidualForward<float>{.shape = {.images = 1, .grid = -4, .channels = 1}}),
      Contains("deblockify_residual: grid = -4"));
  REQUIRE_THROWS_WITH(
      cpu::run(DeblockifyResidualForward<float>{.shape = {.images = 1, .channels = 1}}),
      Contains("null"));
  REQUIRE_THROWS_WITH(
      cpu::run(DeblockifyResidualBackward<float>{.shape = {.images = 1, .channels = 1}}),
      Contains("null"));
  const float one = 1;
  float out = 0;
  REQUIRE_THROWS_WITH(
      cpu::run(DeblockifyResidualBackward<float>{.dout = &one,
                                                 .image_scale = &one,
                                                 .dz = &out,
                                                 .dbias = &out,
                                                 .shape = {.images = 1, .channels = 1}}),
      Contains("only one of image_scale and dbranch"));
}

}  // namespace
}  // namespace hh
