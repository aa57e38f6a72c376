// SPDX-License-Identifier: Apache-2.0
#include "bench/support/yardstick.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>
#include <tuple>

#include "bench/support/harness.h"
#include "engine/ops/product_rate.h"
#include "kernels/core/parallel.h"
#include "kernels/linear/linear.h"

namespace hh::bench {
namespace {

constexpr double kLarge = 256 << 20;

/// The library's product of n x n matrices, with its arrays.
template <class T>
std::function<void()> square_product(Device device, int n) {
  const auto count = std::size_t(n) * std::size_t(n);
  const Tensor x = normal<T>(device, count, 1), w = normal<T>(device, count, 2),
               y = normal<T>(device, count, 3);
  const auto product = prepared(
      device,
      LinearForward<T>{
          .x = x.data<T>(), .weight = w.data<T>(), .y = y.data<T>(), .rows = n, .in = n, .out = n});
  return [x, w, y, product] { product(); };
}

std::function<void()> square_product(Device device, int n, bool half) {
  return half ? square_product<bf16>(device, n) : square_product<float>(device, n);
}

double least_us(Device device, const std::function<void()>& call) {
  return sample(device, {0, 4, 4, true}, call).front();
}

}  // namespace

double copy_us(Device device, double bytes, bool reads_only) {
  static std::map<std::tuple<std::string, double, bool>, double> known;
  if (device != kCpu) reads_only = false;
  double& least = known[{to_string(device), bytes, reads_only}];
  if (least > 0) return least;
  const auto size = std::max(std::int64_t(reads_only ? bytes : bytes / 2), std::int64_t{1});
  const Tensor from = Tensor::zeros({size}, DType::u8, device);
  const Tensor to = Tensor::zeros({reads_only ? 1 : size}, DType::u8, device);
  const auto move = [&](std::int64_t begin, std::int64_t end) {
    const auto n = std::size_t(end - begin);
    if (!reads_only) {
      std::memcpy(to.raw() + begin, from.raw() + begin, n);
    } else if (std::memchr(from.raw() + begin, 1, n) != nullptr) {  // reads all, as all are 0
      throw std::logic_error("the yardstick's array has changed");
    }
  };
  std::vector<std::function<void()>> ways;
  if (device == kCpu) {
    ways.emplace_back([&] { move(0, size); });
    ways.emplace_back([&] { cpu::parallel_for(size, 4096, move); });
  } else {
    ways.emplace_back([&] { to.copy_from(from); });
  }
  least = 1e300;
  const bool fits_no_cache = bytes >= kLarge;
  for (const auto& way : ways) {
    least = std::min(least, sample(device, {0.02, 15, 200, fits_no_cache}, way).front());
  }
  return least;
}

const Yardstick& yardstick(Device device, bool half_product) {
  static std::map<std::pair<std::string, bool>, Yardstick> known;
  const std::pair key(to_string(device), half_product);
  if (const auto found = known.find(key); found != known.end()) return found->second;
  return known[key] = {
             kLarge / copy_us(device, kLarge, false) / 1e3,
             measured_product_rate(device, half_product ? DType::bf16 : DType::f32) / 1e12};
}

Round reference_now(Device device, bool half_product) {
  struct Both {
    std::function<void()> product, copy;
  };
  static std::map<std::pair<std::string, bool>, Both> known;
  Both& calls = known[{to_string(device), half_product}];
  if (!calls.product) {
    calls.product = square_product(device, 384, half_product);
    const std::int64_t bytes = 8 << 20;
    Tensor from = Tensor::zeros({bytes}, DType::u8, device),
           to = Tensor::zeros({bytes}, DType::u8, device);
    calls.copy = [device, from, to, bytes]() mutable {
      if (device == kCpu) {
        cpu::parallel_for(bytes, 4096, [&](std::int64_t begin, std::int64_t end) {
          std::memcpy(to.raw() + begin, from.raw() + begin, std::size_t(end - begin));
        });
      } else {
        to.copy_from(from);
      }
    };
  }
  return {.product_us = least_us(device, calls.product), .copy_us = least_us(device, calls.copy)};
}

}  // namespace hh::bench
