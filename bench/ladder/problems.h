// SPDX-License-Identifier: Apache-2.0
// Inputs of the ladders, and float64 references with a bound for each result.
#pragma once
#include <string>

#include "bench/ladder/rung.h"
#include "engine/tensor/tensor.h"
#include "tests/support/values.h"

namespace hh::ladder {

/// A problem on the GPU. `args` are complete but for the workspace.
struct LayerNormProblem {
  LayerNormProblem(Device device, int images, int rows_per_image, int cols);
  void clear() const;  // fills the results with NaN
  /// Of the results that are on the device now: the largest error over its bound.
  testing::Worst check() const;
  double bytes() const;  // that must move at least once
  std::string shape() const;

  LayerNorm args;

 private:
  Tensor residual_, branch_, bias_, scale_, gamma_, beta_, z_, y_, mean_, rstd_;
};

struct LayerNormBackwardProblem {
  LayerNormBackwardProblem(Device device, int images, int rows_per_image, int cols);
  void clear() const;  // and gives the parameter gradients what is to be added to
  testing::Worst check() const;
  double bytes() const;
  std::string shape() const;

  LayerNormBackward args;

 private:
  Tensor dz_, dy_, z_, scale_, gamma_, mean_, rstd_, dresidual_, dbranch_, dgamma_, dbeta_, dbias_;
};

struct AttentionProblem {
  AttentionProblem(Device device, const WindowAttentionShape& shape);
  void clear() const;
  testing::Worst check() const;
  double bytes() const;
  std::string shape() const;

  Attention args;

 private:
  Tensor qkv_, out_, lse_;
};

struct LinearGeluProblem {
  LinearGeluProblem(Device device, std::int64_t rows, int in, int hidden);
  void clear() const;
  testing::Worst check() const;
  double bytes() const;
  std::string shape() const;
  /// The same by cuBLASLt's product and a kernel for bias and GELU.
  LinearGelu library() const;

  LinearGelu args;

 private:
  Tensor x_, weight_, bias_, pre_, y_;
};

struct LossProblem {
  LossProblem(Device device, int images, std::int64_t bank_rows, int bits, int classes);
  void clear() const;
  testing::Worst check() const;
  double bytes() const;
  std::string shape() const;

  Loss args;

 private:
  std::vector<std::uint64_t> labels_of(std::int64_t items, std::uint64_t seed, int classes) const;
  Tensor u_, labels_, bank_, bank_labels_, loss_, pairs_, du_;
};

}  // namespace hh::ladder
