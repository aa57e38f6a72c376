// SPDX-License-Identifier: Apache-2.0
#include "model/hybridhash/stages.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace hh::stages {
namespace {

Tensor from_host(const std::vector<float>& values, Shape shape, const Tensor& like) {
  return Tensor::from(values, shape, like.device());
}

}  // namespace

Tensor with_bias(const Tensor& branch, const Parameter& bias) {
  std::vector<float> values = branch.to_host<float>();
  const std::vector<float> b = bias.weight().to_host<float>();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += b[i % b.size()];
  return from_host(values, branch.shape(), branch);
}

Tensor blockified(const Tensor& image, int grid) {
  const std::int64_t images = image.dim(0), h = image.dim(1), c = image.dim(3), s = h / grid;
  const std::vector<float> from = image.to_host<float>();
  std::vector<float> to(from.size());
  for (std::int64_t row = 0; row < images * h * h; ++row) {
    const std::int64_t b = row / (h * h), i = row / h % h, j = row % h;
    const std::int64_t block = i / s * grid + j / s, token = i % s * s + j % s;
    const std::int64_t out = (b * grid * grid + block) * s * s + token;
    std::copy_n(from.begin() + row * c, c, to.begin() + out * c);
  }
  return from_host(to, {images, grid * grid, s * s, c}, image);
}

Tensor upsampled(const Tensor& map, int factor) {
  const std::int64_t images = map.dim(0), m = map.dim(1), c = map.dim(3), h = m * factor;
  const std::vector<float> from = map.to_host<float>();
  std::vector<float> to(std::size_t(images * h * h * c));
  const auto source = [&](std::int64_t i) {
    const double s = std::max(0.0, (double(i) + 0.5) / factor - 0.5);
    const auto low = std::int64_t(s);
    return std::tuple{low, std::min(low + 1, m - 1), s - double(low)};
  };
  for (std::int64_t b = 0; b < images; ++b) {
    for (std::int64_t i = 0; i < h; ++i) {
      const auto [i0, i1, wi] = source(i);
      for (std::int64_t j = 0; j < h; ++j) {
        const auto [j0, j1, wj] = source(j);
        const auto at = [&](std::int64_t y, std::int64_t x, std::int64_t k) {
          return double(from[std::size_t(((b * m + y) * m + x) * c + k)]);
        };
        for (std::int64_t k = 0; k < c; ++k) {
          const double top = at(i0, j0, k) * (1 - wj) + at(i0, j1, k) * wj;
          const double bottom = at(i1, j0, k) * (1 - wj) + at(i1, j1, k) * wj;
          to[std::size_t(((b * h + i) * h + j) * c + k)] = float(top * (1 - wi) + bottom * wi);
        }
      }
    }
  }
  return from_host(to, {images, h, h, c}, map);
}

Tensor sum(const Tensor& a, const Tensor& b) {
  std::vector<float> values = a.to_host<float>();
  const std::vector<float> others = b.to_host<float>();
  std::transform(values.begin(), values.end(), others.begin(), values.begin(), std::plus<>());
  return from_host(values, a.shape(), a);
}

Tensor layer_norm(const Tensor& x, const NormParameters& norm) {
  std::vector<float> values = x.to_host<float>();
  const std::vector<float> gamma = norm.gamma.weight().to_host<float>();
  const std::vector<float> beta = norm.beta.weight().to_host<float>();
  const std::size_t c = gamma.size();
  for (std::size_t row = 0; row < values.size(); row += c) {
    double mean = 0, variance = 0;
    for (std::size_t k = 0; k < c; ++k) mean += values[row + k] / double(c);
    for (std::size_t k = 0; k < c; ++k) {
      variance += (values[row + k] - mean) * (values[row + k] - mean) / double(c);
    }
    const double rstd = 1 / std::sqrt(variance + double(norm.eps));
    for (std::size_t k = 0; k < c; ++k) {
      values[row + k] = float((values[row + k] - mean) * rstd * gamma[k] + beta[k]);
    }
  }
  return from_host(values, x.shape(), x);
}

Tensor max_pooled(const Tensor& x) {
  const std::int64_t images = x.dim(0), s = x.dim(1), c = x.dim(3), o = (s - 1) / 2 + 1;
  const std::vector<float> from = x.to_host<float>();
  std::vector<float> to(std::size_t(images * o * o * c), -INFINITY);
  for (std::int64_t out = 0; out < images * o * o; ++out) {
    const std::int64_t b = out / (o * o), i = 2 * (out / o % o), j = 2 * (out % o);
    for (std::int64_t y = std::max<std::int64_t>(i - 1, 0); y <= std::min(i + 1, s - 1); ++y) {
      for (std::int64_t z = std::max<std::int64_t>(j - 1, 0); z <= std::min(j + 1, s - 1); ++z) {
        for (std::int64_t k = 0; k < c; ++k) {
          float& best = to[std::size_t(out * c + k)];
          best = std::max(best, from[std::size_t(((b * s + y) * s + z) * c + k)]);
        }
      }
    }
  }
  return from_host(to, {images, o, o, c}, x);
}

}  // namespace hh::stages
