#include "bench/support/harness.h"
#include "kernels/interaction/block_average_pool.h"

namespace hh {

// Images x grid x side x channels: the micro preset's levels at batch 64, the paper's at batch 2
// and 8 (after conv_glo), and the paper's hash layer.
HH_BENCHMARK(block_average_pool) {
  const auto shapes =
      bench::shapes<4>("BGSC", {{64, 4, 4, 64}, {64, 2, 4, 128}},
                       {{2, 4, 14, 256}, {8, 4, 14, 256}, {8, 2, 14, 512}, {8, 1, 14, 512}});
  for (const auto [b, g, s, c] : shapes) {
    const std::size_t outputs = std::size_t(b) * std::size_t(g * g * c);
    const std::size_t inputs = outputs * std::size_t(s * s);
    const Tensor x = bench::normal<float>(device, inputs, 1);
    const Tensor y = bench::normal<float>(device, outputs, 2);
    const std::string shape = "/f32/" + std::to_string(b) + "x" + std::to_string(g) + "x" +
                              std::to_string(s) + "x" + std::to_string(c);
    const bench::Work work{.bytes = 4.0 * double(inputs + outputs)};
    bench::measure("block_average_pool_forward" + shape, device,
                   BlockAveragePoolForward<float>{.x = x.data<float>(),
                                                  .y = y.data<float>(),
                                                  .images = b,
                                                  .grid = g,
                                                  .side = s,
                                                  .channels = c},
                   work);
    bench::measure("block_average_pool_backward" + shape, device,
                   BlockAveragePoolBackward<float>{.dy = y.data<float>(),
                                                   .dx = x.data<float>(),
                                                   .images = b,
                                                   .grid = g,
                                                   .side = s,
                                                   .channels = c},
                   work);
  }
}

}  // namespace hh
