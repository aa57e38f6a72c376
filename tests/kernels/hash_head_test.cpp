// SPDX-License-Identifier: Apache-2.0
#include "kernels/hash/hash_head.h"

#include <catch2/catch.hpp>

#include "kernels/core/parallel.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal, testing::unit, testing::Worst;
using Size = std::size_t;
constexpr double kUnit = unit<float>();
constexpr double kTanh = 8;  // units: Highway's tanh errs by 4 ulps at most

template <class T>
struct Case {
  int images, channels, bits;

  Size codes() const { return Size(images) * Size(bits); }
  Size vectors() const { return Size(images) * Size(channels); }
  Size weights() const { return Size(bits) * Size(channels); }

  struct Codes {
    std::vector<float> logits, code;
  };
  struct Gradients {
    std::vector<T> dpooled;
    std::vector<float> dweight, dbias;
  };

  Codes forward(Device device, const std::vector<T>& pooled, const std::vector<T>& weight,
                const std::vector<float>& bias) const {
    const Array pooled_array(device, pooled), weight_array(device, weight);
    const Array bias_array(device, bias), logits(device, std::vector<float>(codes(), NAN)),
        code(device, std::vector<float>(codes(), NAN));
    testing::run(device, HashHeadForward<T>{.pooled = pooled_array.data(),
                                            .weight = weight_array.data(),
                                            .bias = bias_array.data(),
                                            .logits = logits.data(),
                                            .code = code.data(),
                                            .images = images,
                                            .channels = channels,
                                            .bits = bits});
    return {logits.host(), code.host()};
  }

  Gradients backward(Device device, const std::vector<float>& dcode, const std::vector<float>& code,
                     const std::vector<T>& pooled, const std::vector<T>& weight,
                     const std::vector<float>& dweight_before,
                     const std::vector<float>& dbias_before) const {
    const Array pooled_array(device, pooled), weight_array(device, weight),
        dpooled(device, std::vector<T>(vectors(), from_float<T>(NAN)));
    const Array dcode_array(device, dcode), code_array(device, code),
        dweight(device, dweight_before), dbias(device, dbias_before);
    testing::run(device, HashHeadBackward<T>{.dcode = dcode_array.data(),
                                             .code = code_array.data(),
                                             .pooled = pooled_array.data(),
                                             .weight = weight_array.data(),
                                             .dpooled = dpooled.data(),
                                             .dweight = dweight.data(),
                                             .dbias = dbias.data(),
                                             .images = images,
                                             .channels = channels,
                                             .bits = bits});
    return {dpooled.host(), dweight.host(), dbias.host()};
  }
};

template <class T>
void check_forward(const Case<T>& shape, const std::vector<T>& pooled, const std::vector<T>& weight,
                   const std::vector<float>& bias, const typename Case<T>::Codes& got) {
  const int images = shape.images, channels = shape.channels, bits = shape.bits;
  const auto x = [&](int b, int c) { return double(to_float(pooled[Size(b * channels + c)])); };
  const auto w = [&](int k, int c) { return double(to_float(weight[Size(k * channels + c)])); };
  Worst worst_logit, worst_code;
  for (int b = 0; b < images; ++b) {
    for (int k = 0; k < bits; ++k) {
      double want = bias[Size(k)], size = std::abs(want);
      for (int c = 0; c < channels; ++c) {
        want += x(b, c) * w(k, c);
        size += std::abs(x(b, c) * w(k, c));
      }
      const Size i = Size(b * bits + k);
      worst_logit.see(got.logits[i] - want, (channels + 2) * kUnit * size, i);
      const double code = std::tanh(double(got.logits[i]));
      worst_code.see(got.code[i] - code, kTanh * kUnit * std::abs(code), i);
    }
  }
  CAPTURE(worst_logit.index, worst_code.index);
  CHECK(worst_logit.ratio <= 1);
  CHECK(worst_code.ratio <= 1);
}

/// `grad` has been added to dweight and dbias.
template <class T>
void check_backward(const Case<T>& shape, const std::vector<T>& pooled,
                    const std::vector<T>& weight, const std::vector<float>& codes,
                    const std::vector<float>& dcode, const std::vector<float>& dweight,
                    const std::vector<float>& dbias, const typename Case<T>::Gradients& grad) {
  const int images = shape.images, channels = shape.channels, bits = shape.bits;
  const auto x = [&](int b, int c) { return double(to_float(pooled[Size(b * channels + c)])); };
  const auto w = [&](int k, int c) { return double(to_float(weight[Size(k * channels + c)])); };
  // 1 - code^2 errs by 4 units of itself at most when taken as (1 - code)(1 + code), by 2 units of
  // 1 when the square is rounded first; a product, and a sum of as many terms as there are.
  const auto dlogit = [&](int b, int k) {
    const double code = codes[Size(b * bits + k)];
    return dcode[Size(b * bits + k)] * (1 - code * code);
  };
  const auto dlogit_error = [&](int b, int k) {
    return 2 * kUnit * (std::abs(dlogit(b, k)) + std::abs(double(dcode[Size(b * bits + k)])));
  };
  const double storage = 1.01 * testing::storage<T>();
  Worst worst_pooled, worst_weight, worst_bias;
  for (int b = 0; b < images; ++b) {
    for (int c = 0; c < channels; ++c) {
      double want = 0, bound = 0;
      for (int k = 0; k < bits; ++k) {
        want += dlogit(b, k) * w(k, c);
        bound +=
            std::abs(w(k, c)) * (dlogit_error(b, k) + (bits + 2) * kUnit * std::abs(dlogit(b, k)));
      }
      const Size i = Size(b * channels + c);
      worst_pooled.see(to_float(grad.dpooled[i]) - want, 1.01 * bound + storage * std::abs(want),
                       i);
    }
  }
  for (int k = 0; k < bits; ++k) {
    double bias_want = dbias[Size(k)], bias_bound = std::abs(bias_want) * (images + 1) * kUnit;
    for (int b = 0; b < images; ++b) {
      bias_want += dlogit(b, k);
      bias_bound += dlogit_error(b, k) + (images + 2) * kUnit * std::abs(dlogit(b, k));
    }
    worst_bias.see(grad.dbias[Size(k)] - bias_want, bias_bound, Size(k));
    for (int c = 0; c < channels; ++c) {
      const Size i = Size(k * channels + c);
      double want = dweight[i], bound = std::abs(want) * (images + 1) * kUnit;
      for (int b = 0; b < images; ++b) {
        want += dlogit(b, k) * x(b, c);
        bound += std::abs(x(b, c)) *
                 (dlogit_error(b, k) + (images + 3) * kUnit * std::abs(dlogit(b, k)));
      }
      worst_weight.see(grad.dweight[i] - want, 1.01 * bound, i);
    }
  }
  CAPTURE(worst_pooled.index, worst_weight.index, worst_bias.index);
  CHECK(worst_pooled.ratio <= 1);
  CHECK(worst_weight.ratio <= 1);
  CHECK(worst_bias.ratio <= 1);
}

TEMPLATE_TEST_CASE("hash_head agrees with its definition", "[hash]", float, bf16, f16) {
  using T = TestType;
  const std::vector<Device> devices = testing::devices_of<T>();
  if (devices.empty()) return;
  const Device device = GENERATE_COPY(from_range(devices));
  const auto [images, channels, bits] = GENERATE(table<int, int, int>({{0, 8, 8},
                                                                       {1, 1, 1},
                                                                       {3, 40, 5},
                                                                       {3, 31, 9},
                                                                       {4, 64, 16},
                                                                       {5, 257, 30},
                                                                       {9, 130, 64},
                                                                       {2, 33, 512},
                                                                       {260, 5, 8},
                                                                       {513, 16, 11}}));
  // Scale of the weights: small logits, and some that saturate tanh.
  const float scale = GENERATE(0.1f, 3.f);
  CAPTURE(device, images, channels, bits, scale);
  const Case<T> shape{images, channels, bits};
  const auto pooled = normal<T>(shape.vectors(), 1),
             weight = normal<T>(shape.weights(), 2, 0, scale);
  const auto bias = normal(Size(bits), 3);
  const auto got = shape.forward(device, pooled, weight, bias);
  check_forward(shape, pooled, weight, bias, got);

  const auto dcode = normal(shape.codes(), 4), dweight = normal(shape.weights(), 5),
             dbias = normal(Size(bits), 6);
  const auto grad = shape.backward(device, dcode, got.code, pooled, weight, dweight, dbias);
  check_backward(shape, pooled, weight, got.code, dcode, dweight, dbias, grad);
}

TEST_CASE("hash_head's tanh is good near zero, and saturates", "[hash]") {
  const Device device = GENERATE(from_range(testing::devices()));
  // One channel of 1 and weights that are the logits.
  std::vector<float> logits{0, -0.f, 1e-38f, -1e-20f, 1e-5f, -0.01f, 9, -9, 20, -88, 1000, -1e30f};
  const Case<float> shape{1, 1, int(logits.size())};
  const auto code = shape.forward(device, {1.f}, logits, std::vector<float>(logits.size())).code;
  Worst worst;
  for (Size i = 0; i < code.size(); ++i) {
    const double want = std::tanh(double(logits[i]));
    worst.see(code[i] - want, kTanh * kUnit * std::abs(want), i);
    CHECK(std::abs(code[i]) <= 1);
  }
  CAPTURE(worst.index, code);
  CHECK(worst.ratio <= 1);
  CHECK(code[8] == 1);
  CHECK(code[11] == -1);
}

TEST_CASE("hash_head gives the same bits for any number of threads and any batch", "[hash]") {
  const auto [images, channels, bits] =
      GENERATE(table<int, int, int>({{13, 300, 70}, {64, 512, 64}, {2, 512, 512}}));
  const Case<float> shape{images, channels, bits};
  const auto pooled = normal(shape.vectors(), 1), weight = normal(shape.weights(), 2, 0, 0.05f);
  const auto bias = normal(Size(bits), 3), dcode = normal(shape.codes(), 4);
  cpu::set_num_threads(1);
  const auto one = shape.forward(kCpu, pooled, weight, bias);
  const auto grad = shape.backward(kCpu, dcode, one.code, pooled, weight, weight, bias);
  for (const int threads : {2, 3}) {
    cpu::set_num_threads(threads);
    const auto more = shape.forward(kCpu, pooled, weight, bias);
    CHECK(more.logits == one.logits);
    CHECK(more.code == one.code);
    const auto more_grad = shape.backward(kCpu, dcode, one.code, pooled, weight, weight, bias);
    CHECK(more_grad.dpooled == grad.dpooled);
    CHECK(more_grad.dweight == grad.dweight);
    CHECK(more_grad.dbias == grad.dbias);
  }
  cpu::set_num_threads(0);
  const Case<float> single{1, channels, bits};
  const std::vector<float> last(pooled.end() - channels, pooled.end());
  const auto alone = single.forward(kCpu, last, weight, bias);
  CHECK(alone.code == std::vector<float>(one.code.end() - bits, one.code.end()));
}

TEST_CASE("hash_head names what it refuses", "[hash]") {
  using Catch::Contains;
  const auto refuses = [](int images, int channels, int bits, const char* what) {
    REQUIRE_THROWS_WITH(
        cpu::run(HashHeadForward<float>{.images = images, .channels = channels, .bits = bits}),
        Contains(what));
    REQUIRE_THROWS_WITH(
        cpu::run(HashHeadBackward<float>{.images = images, .channels = channels, .bits = bits}),
        Contains(what));
  };
  refuses(-1, 1, 8, "images = -1");
  refuses(1, 0, 8, "channels = 0");
  refuses(1, 1, 0, "bits = 0");
  refuses(1, 1, 513, "bits = 513");
  refuses(1, 1, 8, "null");
}

}  // namespace
}  // namespace hh
