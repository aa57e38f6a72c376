// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/hash/hash_head.h"

namespace hh {

// Images x channels x bits: the micro preset at batch 64, the paper's at batch 8.
HH_BENCHMARK(hash_head) {
  const auto shapes = bench::shapes<3>("BCK", {{64, 128, 32}}, {{8, 512, 64}, {256, 512, 128}});
  for (const auto [b, c, k] : shapes) {
    const std::size_t vectors = std::size_t(b) * std::size_t(c);
    const std::size_t weights = std::size_t(k) * std::size_t(c);
    const std::size_t codes = std::size_t(b) * std::size_t(k);
    const Tensor pooled = bench::normal<float>(device, vectors, 1);
    const Tensor weight = bench::normal<float>(device, weights, 2);
    const Tensor bias = bench::normal<float>(device, std::size_t(k), 3);
    const Tensor logits = bench::normal<float>(device, codes, 4);
    const Tensor code = bench::normal<float>(device, codes, 5);
    const std::string shape =
        "/f32/" + std::to_string(b) + "x" + std::to_string(c) + "x" + std::to_string(k);
    bench::measure("hash_head_forward" + shape, device,
                   HashHeadForward<float>{.pooled = pooled.data<float>(),
                                          .weight = weight.data<float>(),
                                          .bias = bias.data<float>(),
                                          .logits = logits.data<float>(),
                                          .code = code.data<float>(),
                                          .images = b,
                                          .channels = c,
                                          .bits = k});
    const Tensor dweight = Tensor::zeros({std::int64_t(weights)}, DType::f32, device);
    const Tensor dbias = Tensor::zeros({k}, DType::f32, device);
    bench::measure("hash_head_backward" + shape, device,
                   HashHeadBackward<float>{.dcode = logits.data<float>(),
                                           .code = code.data<float>(),
                                           .pooled = pooled.data<float>(),
                                           .weight = weight.data<float>(),
                                           .dpooled = pooled.data<float>(),
                                           .dweight = dweight.data<float>(),
                                           .dbias = dbias.data<float>(),
                                           .images = b,
                                           .channels = c,
                                           .bits = k});
  }
}

}  // namespace hh
