// SPDX-License-Identifier: Apache-2.0
#include "bench/peers/make.h"
#include "kernels/core/cuda_check.h"
#include "kernels/loss/wml_loss.h"

namespace hh::bench {
namespace {

/// Packed labels as a matrix of ones and zeros, as frameworks keep them.
View one_hot(Composition& c, const std::uint64_t* labels, std::int64_t rows, int words) {
  std::vector<std::uint64_t> packed(std::size_t(rows * words));
  HH_CUDA_CHECK(cudaMemcpy(packed.data(), labels, packed.size() * 8, cudaMemcpyDeviceToHost));
  std::vector<float> values(packed.size() * 64);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = float(packed[i / 64] >> (i % 64) & 1);
  }
  return c.constant(values, {1, rows, words * 64});
}

}  // namespace

Peer make(const WmlLoss<float>& p, StreamHandle stream) {
  if (p.gradient_scale != nullptr) return {};
  const auto c = std::make_shared<Composition>(stream);
  const std::int64_t images = p.images, rows = p.bank_rows, bits = p.bits;
  const Extents pairs{1, images, rows}, one{1, 1, 1};
  const auto floats = [&](const Extents& dim) { return c->scratch(CUDNN_DATA_FLOAT, dim); };
  const View u = dense(p.u, {1, images, bits}), bank = dense(p.bank, {1, rows, bits}),
             y = one_hot(*c, p.labels, images, p.label_words),
             bank_y = one_hot(*c, p.bank_labels, rows, p.label_words);
  const View theta = floats(pairs), similar = floats(pairs), weight = floats(pairs),
             loss = floats(pairs), inverse1 = floats(one), inverse0 = floats(one);
  // s, and the weights 1/S1 and 1/S0.
  c->product(y, transposed(bank_y), similar);
  c->binary(Binary::kGreater, similar, 0.5f, similar);
  c->sum(similar, inverse1);
  c->binary(Binary::kSubtract, inverse1, float(images * rows), inverse0);  // -S0
  c->unary(Unary::kReciprocal, inverse1, inverse1);
  c->unary(Unary::kReciprocal, inverse0, inverse0);
  const View difference = floats(one);
  c->binary(Binary::kAdd, inverse1, inverse0, difference);  // 1/S1 - 1/S0
  c->binary(Binary::kMultiply, similar, difference, weight);
  c->binary(Binary::kSubtract, weight, inverse0, weight);
  // The loss.
  c->product(u, transposed(bank), theta);
  c->binary(Binary::kMultiply, theta, p.alpha, theta);
  const View product = floats(pairs);
  c->unary(Unary::kSoftplus, theta, loss);
  c->binary(Binary::kMultiply, similar, theta, product);
  c->binary(Binary::kSubtract, loss, product, loss);
  c->binary(Binary::kMultiply, loss, weight, loss);
  c->sum(loss, dense(p.loss, one));
  if (p.du == nullptr) return Composition::finish(c);
  c->unary(Unary::kSigmoid, theta, theta);
  c->binary(Binary::kSubtract, theta, similar, theta);
  c->binary(Binary::kMultiply, theta, weight, theta);
  const View du = dense(p.du, {1, images, bits});
  c->product(theta, bank, du);
  c->binary(Binary::kMultiply, du, p.alpha, du);
  return Composition::finish(c);
}

}  // namespace hh::bench
