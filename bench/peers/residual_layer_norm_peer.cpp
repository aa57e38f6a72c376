// SPDX-License-Identifier: Apache-2.0
#include "bench/peers/make.h"
#include "kernels/layer_norm/residual_layer_norm.h"

namespace hh::bench {

template <class T>
Peer make(const ResidualLayerNormForward<T>& p, StreamHandle stream) {
  if (!p.branch || !p.bias || !p.image_scale || !p.gamma || !p.mean) return {};
  const auto c = std::make_shared<Composition>(stream);
  const std::int64_t images = p.rows / p.rows_per_image;
  const Extents all{images, p.rows_per_image, p.cols}, rows{p.rows, p.cols};
  const View z = dense(p.z, all);
  c->binary(Binary::kAdd, dense(p.branch, all), dense(p.bias, {1, 1, p.cols}), z);
  c->binary(Binary::kMultiply, z, dense(p.image_scale, {images, 1, 1}), z);
  c->binary(Binary::kAdd, dense(p.residual, all), z, z);
  c->layer_norm(dense(p.z, rows), p.gamma, p.beta, p.eps, dense(p.y, rows), p.mean, p.rstd);
  return Composition::finish(c);
}

template <class T>
Peer make(const ResidualLayerNormBackward<T>& p, StreamHandle stream) {
  if (!p.dz || !p.dy || !p.image_scale || !p.dbranch || !p.dbias) return {};
  const auto c = std::make_shared<Composition>(stream);
  const std::int64_t images = p.rows / p.rows_per_image;
  const Extents all{images, p.rows_per_image, p.cols}, rows{p.rows, p.cols};
  const View dresidual = dense(p.dresidual, all), dbranch = dense(p.dbranch, all),
             normalised = c->scratch(kCudnnType<T>, rows);
  c->layer_norm_backward(dense(p.dy, rows), dense(p.z, rows), p.gamma, p.mean, p.rstd, normalised,
                         p.dgamma, p.dbeta);
  c->binary(Binary::kAdd, dense(p.dz, all), dense(normalised.data, normalised.type, all),
            dresidual);
  c->binary(Binary::kMultiply, dresidual, dense(p.image_scale, {images, 1, 1}), dbranch);
  c->sum(dense(p.dbranch, {1, p.rows, p.cols}), dense(p.dbias, {1, 1, p.cols}));
  return Composition::finish(c);
}

template Peer make(const ResidualLayerNormForward<float>&, StreamHandle);
template Peer make(const ResidualLayerNormForward<bf16>&, StreamHandle);
template Peer make(const ResidualLayerNormBackward<float>&, StreamHandle);
template Peer make(const ResidualLayerNormBackward<bf16>&, StreamHandle);

}  // namespace hh::bench
