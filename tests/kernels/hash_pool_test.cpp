// SPDX-License-Identifier: Apache-2.0
#include "kernels/hash/hash_pool.h"

#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal, testing::unit, testing::Worst;
using Size = std::size_t;

template <class T>
struct Case {
  int images, side, channels;

  int outputs() const { return (side - 1) / 2 + 1; }
  Size map() const { return Size(images) * Size(side) * Size(side) * Size(channels); }
  Size windows() const { return Size(images) * Size(outputs()) * Size(outputs()) * Size(channels); }
  Size vectors() const { return Size(images) * Size(channels); }
  Size at(int b, int row, int col, int c) const {
    return Size(((b * side + row) * side + col) * channels + c);
  }

  struct Pooled {
    std::vector<T> pooled;
    std::vector<std::uint8_t> argmax;
  };

  Pooled forward(Device device, const std::vector<T>& local, const std::vector<T>& glob,
                 bool inference = false) const {
    const Array local_array(device, local), glob_array(device, glob),
        pooled(device, std::vector<T>(vectors(), from_float<T>(NAN)));
    const Array argmax(device, std::vector<std::uint8_t>(windows(), 0xff));
    testing::run(device, HashPoolForward<T>{.local = local_array.data(),
                                            .glob = glob_array.data(),
                                            .pooled = pooled.data(),
                                            .argmax = inference ? nullptr : argmax.data(),
                                            .images = images,
                                            .side = side,
                                            .channels = channels});
    return {pooled.host(), argmax.host()};
  }

  std::vector<T> backward(Device device, const std::vector<T>& dpooled,
                          const std::vector<std::uint8_t>& argmax) const {
    const Array dpooled_array(device, dpooled),
        dlocal(device, std::vector<T>(map(), from_float<T>(NAN)));
    const Array argmax_array(device, argmax);
    testing::run(device, HashPoolBackward<T>{.dpooled = dpooled_array.data(),
                                             .argmax = argmax_array.data(),
                                             .dlocal = dlocal.data(),
                                             .images = images,
                                             .side = side,
                                             .channels = channels});
    return dlocal.host();
  }

  /// Calls body(window's index, image, channel, its winner's 3*u + v, winner's index, its value).
  /// The sum is one float32 addition, so the winner is exact, ties included.
  template <class Body>
  void for_each_window(const std::vector<T>& local, const std::vector<T>& glob, Body body) const {
    Size index = 0;
    for (int b = 0; b < images; ++b) {
      for (int i = 0; i < outputs(); ++i) {
        for (int j = 0; j < outputs(); ++j) {
          for (int c = 0; c < channels; ++c, ++index) {
            float most = 0;
            int code = -1;
            Size winner = 0;
            for (int k = 0; k < 9; ++k) {
              const int row = 2 * i - 1 + k / 3, col = 2 * j - 1 + k % 3;
              if (row < 0 || col < 0 || row >= side || col >= side) continue;
              const float sum =
                  to_float(local[at(b, row, col, c)]) + to_float(glob[Size(b * channels + c)]);
              if (code >= 0 && sum <= most) continue;
              most = sum;
              code = k;
              winner = at(b, row, col, c);
            }
            body(index, b, c, code, winner, most);
          }
        }
      }
    }
  }
};

/// Both directions against the definition.
template <class T>
void check(Device device, const Case<T>& shape, const std::vector<T>& local,
           const std::vector<T>& glob) {
  const auto got = shape.forward(device, local, glob);
  const auto dpooled = normal<T>(shape.vectors(), 8);
  const double count = double(shape.outputs()) * shape.outputs();
  std::vector<double> mean(shape.vectors()), magnitude(shape.vectors()), gradient(shape.map()),
      hits(shape.map());
  Size wrong = 0;
  shape.for_each_window(local, glob, [&](Size index, int b, int c, int code, Size winner, float v) {
    wrong += got.argmax[index] != code;
    const Size at = Size(b * shape.channels + c);
    mean[at] += v / count;
    magnitude[at] += std::abs(v) / count;
    gradient[winner] += to_float(dpooled[at]) / count;
    hits[winner] += 1;
  });
  CHECK(wrong == 0);
  // A mean of o^2 numbers; up to four equal parts of a gradient.
  const double storage = 1.01 * testing::storage<T>();
  Worst worst, worst_gradient;
  for (Size i = 0; i < got.pooled.size(); ++i) {
    worst.see(to_float(got.pooled[i]) - mean[i],
              (count + 3) * unit<float>() * magnitude[i] + storage * std::abs(mean[i]), i);
  }
  const auto dlocal = shape.backward(device, dpooled, got.argmax);
  for (Size i = 0; i < dlocal.size(); ++i) {
    worst_gradient.see(to_float(dlocal[i]) - gradient[i],
                       ((hits[i] + 3) * unit<float>() + storage) * std::abs(gradient[i]), i);
  }
  CAPTURE(worst.index, worst_gradient.index);
  CHECK(worst.ratio <= 1);
  CHECK(worst_gradient.ratio <= 1);
}

TEMPLATE_TEST_CASE("hash_pool agrees with its definition", "[hash]", float, bf16, f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  const int side = GENERATE(1, 2, 3, 4, 5, 7, 14);
  const int channels = GENERATE(1, 31, 64, 257);
  const int images = GENERATE(0, 1, 3);
  CAPTURE(device, side, channels, images);
  const Case<T> shape{images, side, channels};
  check(device, shape, normal<T>(shape.map(), 1), normal<T>(shape.vectors(), 2));
}

TEMPLATE_TEST_CASE("hash_pool lets the first of equals win", "[hash]", float, bf16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  const int side = GENERATE(3, 4, 7);
  CAPTURE(device, side);
  const Case<T> shape{2, side, 33};
  auto local = normal<T>(shape.map(), 1);
  for (T& x : local) x = from_float<T>(std::round(to_float(x)));  // mostly -1, 0 and 1
  check(device, shape, local, normal<T>(shape.vectors(), 2));
  // So large a global value that the sums round to few values, which tie although the local ones
  // differ.
  check(device, shape, normal<T>(shape.map(), 1), normal<T>(shape.vectors(), 2, 3e7f));
  check(device, shape, std::vector<T>(shape.map()), normal<T>(shape.vectors(), 2));
}

TEST_CASE("hash_pool gives the same bits for any number of threads and in inference", "[hash]") {
  const auto [images, side, channels] =
      GENERATE(table<int, int, int>({{1, 14, 512}, {2, 7, 100}, {5, 14, 64}}));
  const Case<float> shape{images, side, channels};
  const auto local = normal(shape.map(), 1), glob = normal(shape.vectors(), 2);
  cpu::set_num_threads(1);
  const auto one = shape.forward(kCpu, local, glob);
  const auto dlocal = shape.backward(kCpu, glob, one.argmax);
  for (const int threads : {2, 3}) {
    cpu::set_num_threads(threads);
    const auto more = shape.forward(kCpu, local, glob);
    CHECK(more.pooled == one.pooled);
    CHECK(more.argmax == one.argmax);
    CHECK(shape.backward(kCpu, glob, one.argmax) == dlocal);
    CHECK(shape.forward(kCpu, local, glob, true).pooled == one.pooled);
  }
  cpu::set_num_threads(0);
}

TEST_CASE("hash_pool names what it refuses", "[hash]") {
  using Catch::Contains;
  const auto refuses = [](int images, int side, int channels, const char* what) {
    REQUIRE_THROWS_WITH(
        cpu::run(HashPoolForward<float>{.images = images, .side = side, .channels = channels}),
        Contains(what));
    REQUIRE_THROWS_WITH(
        cpu::run(HashPoolBackward<float>{.images = images, .side = side, .channels = channels}),
        Contains(what));
  };
  refuses(-1, 1, 1, "images = -1");
  refuses(1, 0, 1, "side = 0");
  refuses(1, 40000, 1, "side = 40000");
  refuses(1, 1, 0, "channels = 0");
  refuses(1, 1, 1, "null");
}

}  // namespace
}  // namespace hh
