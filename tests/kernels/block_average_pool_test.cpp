// SPDX-License-Identifier: Apache-2.0
#include "kernels/interaction/block_average_pool.h"

#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::least, testing::normal, testing::unit, testing::Worst;
using Size = std::size_t;

template <class T>
struct Case {
  int images, grid, side, channels;

  Size inputs() const { return outputs() * Size(side) * Size(side); }
  Size outputs() const { return Size(images) * Size(grid) * Size(grid) * Size(channels); }

  /// Where x[i] goes in y.
  Size block_of(Size i) const {
    const Size c = i % Size(channels), pixel = i / Size(channels);
    const Size h = Size(grid) * Size(side), s = Size(side), g = Size(grid);
    const Size b = pixel / (h * h), row = pixel / h % h, col = pixel % h;
    return ((b * g + row / s) * g + col / s) * Size(channels) + c;
  }

  std::vector<T> forward(Device device, const std::vector<T>& x) const {
    const Array x_array(device, x), y(device, std::vector<T>(outputs(), from_float<T>(NAN)));
    testing::run(device, BlockAveragePoolForward<T>{.x = x_array.data(),
                                                    .y = y.data(),
                                                    .images = images,
                                                    .grid = grid,
                                                    .side = side,
                                                    .channels = channels});
    return y.host();
  }

  std::vector<T> backward(Device device, const std::vector<T>& dy, const std::vector<T>& before,
                          bool accumulate) const {
    const Array dy_array(device, dy), dx(device, before);
    testing::run(device, BlockAveragePoolBackward<T>{.dy = dy_array.data(),
                                                     .dx = dx.data(),
                                                     .accumulate = accumulate,
                                                     .images = images,
                                                     .grid = grid,
                                                     .side = side,
                                                     .channels = channels});
    return dx.host();
  }
};

TEMPLATE_TEST_CASE("block_average_pool agrees with its definition", "[interaction]", float, bf16,
                   f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  const auto [images, grid, side, channels] = GENERATE(table<int, int, int, int>({{0, 4, 3, 8},
                                                                                  {2, 1, 1, 1},
                                                                                  {1, 1, 14, 64},
                                                                                  {3, 2, 3, 31},
                                                                                  {1, 4, 4, 33},
                                                                                  {2, 4, 5, 16},
                                                                                  {1, 3, 2, 257},
                                                                                  {1, 1, 3, 1500},
                                                                                  {1, 2, 4, 1024},
                                                                                  {1, 2, 7, 129}}));
  // Large offset: the mean must not lose what differs between the pixels.
  const float offset = GENERATE(0.f, 1000.f);
  const Case<T> shape{images, grid, side, channels};
  CAPTURE(device, images, grid, side, channels, offset);
  const auto x = normal<T>(shape.inputs(), 1, offset), dy = normal<T>(shape.outputs(), 2);
  const auto y = shape.forward(device, x);
  std::vector<double> mean(shape.outputs()), magnitude(shape.outputs());
  const double count = double(side) * side;
  for (Size i = 0; i < x.size(); ++i) {
    mean[shape.block_of(i)] += to_float(x[i]) / count;
    magnitude[shape.block_of(i)] += std::abs(to_float(x[i])) / count;
  }
  // A sum of s^2 numbers in any order, times a rounded 1/s^2, then rounded to T.
  const double storage = 1.01 * testing::storage<T>();
  Worst worst;
  for (Size i = 0; i < y.size(); ++i) {
    worst.see(to_float(y[i]) - mean[i],
              (count + 3) * unit<float>() * magnitude[i] + storage * std::abs(mean[i]), i);
  }
  CAPTURE(worst.index);
  CHECK(worst.ratio <= 1);

  const auto before = normal<T>(shape.inputs(), 3);
  const auto dx =
      shape.backward(device, dy, std::vector<T>(shape.inputs(), from_float<T>(NAN)), false);
  const auto added = shape.backward(device, dy, before, true);
  Worst worst_dx, worst_added;
  for (Size i = 0; i < dx.size(); ++i) {
    const double want = to_float(dy[shape.block_of(i)]) / count, old = to_float(before[i]);
    const double sum = want + old, size = std::abs(want) + std::abs(old);
    worst_dx.see(to_float(dx[i]) - want,
                 (3 * unit<float>() + storage) * std::abs(want) + least<T>() / 2, i);
    worst_added.see(to_float(added[i]) - sum,
                    4 * unit<float>() * size + storage * std::abs(sum) + least<T>() / 2, i);
  }
  CHECK(worst_dx.ratio <= 1);
  CHECK(worst_added.ratio <= 1);
}

TEST_CASE("block_average_pool gives the same bits for any number of threads", "[interaction]") {
  const auto [images, grid, side, channels] =
      GENERATE(table<int, int, int, int>({{1, 1, 14, 512}, {2, 2, 14, 100}, {1, 4, 14, 64}}));
  const Case<float> shape{images, grid, side, channels};
  const auto x = normal(shape.inputs(), 1), dy = normal(shape.outputs(), 2);
  cpu::set_num_threads(1);
  const auto y = shape.forward(kCpu, x), dx = shape.backward(kCpu, dy, x, true);
  for (const int threads : {2, 3}) {
    cpu::set_num_threads(threads);
    CHECK(shape.forward(kCpu, x) == y);
    CHECK(shape.backward(kCpu, dy, x, true) == dx);
  }
  cpu::set_num_threads(0);
}

TEST_CASE("block_average_pool names what it refuses", "[interaction]") {
  using Catch::Contains;
  const auto refuses = [](int images, int grid, int side, int channels, const char* what) {
    REQUIRE_THROWS_WITH(
        cpu::run(BlockAveragePoolForward<float>{nullptr, nullptr, images, grid, side, channels}),
        Contains(what));
    REQUIRE_THROWS_WITH(cpu::run(BlockAveragePoolBackward<float>{nullptr, nullptr, false, images,
                                                                 grid, side, channels}),
                        Contains(what));
  };
  refuses(-1, 1, 1, 1, "images = -1");
  refuses(1, 0, 1, 1, "grid = 0");
  refuses(1, 1, 0, 1, "side = 0");
  refuses(1, 1 << 10, 1 << 10, 1, "grid * side = 1048576");
  refuses(1, 1, 1, 0, "channels = 0");
  refuses(1, 1, 1, 1, "null");
}

}  // namespace
}  // namespace hh
