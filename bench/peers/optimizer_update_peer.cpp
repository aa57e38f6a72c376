// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "bench/peers/make.h"
#include "kernels/optimizer/optimizer_update.h"

namespace hh::bench {
namespace {

/// Neighbours with the same decay, as one: the calls, which a framework makes for each parameter,
/// are then as few as can be.
std::vector<OptimizerSegment> merged(const OptimizerArrays& arrays) {
  std::vector<OptimizerSegment> list;
  for (int i = 0; i < arrays.segment_count; ++i) {
    const OptimizerSegment& s = arrays.segments[i];
    if (!list.empty() && list.back().begin + list.back().count == s.begin &&
        list.back().weight_decay == s.weight_decay) {
      list.back().count += s.count;
    } else if (s.count > 0) {
      list.push_back(s);
    }
  }
  return list;
}

/// The operations of PyTorch's optimizers, in its order, for each segment. `update` gets views of
/// a segment's weight, gradient and scratch. No peer where a step may be skipped.
template <class Update>
Peer make_update(const OptimizerArrays& arrays, StreamHandle stream, const Update& update) {
  if (arrays.scale || arrays.skip || arrays.f16_copy) return {};
  const auto c = std::make_shared<Composition>(stream);
  for (const OptimizerSegment& s : merged(arrays)) {
    const auto part = [&](auto* array) { return dense(array + s.begin, {1, 1, s.count}); };
    const View weight = part(arrays.weight);
    update(*c, s, part, weight, part(arrays.gradient));
    if (arrays.copy) c->unary(Unary::kCopy, weight, part(arrays.copy));
  }
  return Composition::finish(c);
}

}  // namespace

Peer make(const RmspropUpdate& p, StreamHandle stream) {
  return make_update(
      p.arrays, stream,
      [&](Composition& c, const OptimizerSegment& s, const auto& part, const View& weight,
          const View& gradient) {
        const View square = part(p.square), g = c.scratch(CUDNN_DATA_FLOAT, weight.dim),
                   root = c.scratch(CUDNN_DATA_FLOAT, weight.dim);
        c.add_scaled(gradient, s.weight_decay, weight, g);
        c.binary(Binary::kMultiply, square, p.rho, square);
        c.add_scaled(square, 1 - p.rho, Binary::kMultiply, g, g, square);
        c.unary(Unary::kSqrt, square, root);
        c.binary(Binary::kAdd, root, p.eps, root);
        c.add_scaled(weight, -p.arrays.learning_rate, Binary::kDivide, g, root, weight);
      });
}

Peer make(const AdamwUpdate& p, StreamHandle stream) {
  const double correction1 = 1 - std::pow(double(p.beta1), double(p.step)),
               correction2 = 1 - std::pow(double(p.beta2), double(p.step));
  const float rate = p.arrays.learning_rate;
  return make_update(
      p.arrays, stream,
      [&](Composition& c, const OptimizerSegment& s, const auto& part, const View& weight,
          const View& gradient) {
        const View mean = part(p.mean), square = part(p.square),
                   root = c.scratch(CUDNN_DATA_FLOAT, weight.dim);
        c.binary(Binary::kMultiply, weight, 1 - rate * s.weight_decay, weight);
        c.add_scaled(mean, 1 - p.beta1, Binary::kSubtract, gradient, mean, mean);
        c.binary(Binary::kMultiply, square, p.beta2, square);
        c.add_scaled(square, 1 - p.beta2, Binary::kMultiply, gradient, gradient, square);
        c.unary(Unary::kSqrt, square, root);
        c.binary(Binary::kMultiply, root, float(1 / std::sqrt(correction2)), root);
        c.binary(Binary::kAdd, root, p.eps, root);
        c.add_scaled(weight, float(-rate / correction1), Binary::kDivide, mean, root, weight);
      });
}

Peer make(const SgdUpdate& p, StreamHandle stream) {
  return make_update(p.arrays, stream,
                     [&](Composition& c, const OptimizerSegment& s, const auto& part,
                         const View& weight, const View& gradient) {
                       const View buffer = part(p.momentum_buffer),
                                  g = c.scratch(CUDNN_DATA_FLOAT, weight.dim);
                       c.add_scaled(gradient, s.weight_decay, weight, g);
                       c.binary(Binary::kMultiply, buffer, p.momentum, buffer);
                       c.binary(Binary::kAdd, buffer, g, buffer);
                       c.add_scaled(weight, -p.arrays.learning_rate, buffer, weight);
                     });
}

}  // namespace hh::bench
