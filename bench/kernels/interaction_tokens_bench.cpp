#include "bench/support/harness.h"
#include "kernels/interaction/interaction_tokens.h"

namespace hh {

// Images x positions x channels: the micro preset at batch 64 and the paper's at batch 8.
HH_BENCHMARK(interaction_tokens) {
  const auto shapes = bench::shapes<3>("BTC", {{64, 16, 64}}, {{8, 16, 256}, {8, 4, 512}});
  for (const auto [b, m, c] : shapes) {
    const std::size_t size = std::size_t(m) * std::size_t(c), n = size * std::size_t(b);
    const Tensor z = bench::normal<float>(device, n, 1),
                 pos = bench::normal<float>(device, size, 2);
    const Tensor tokens = bench::normal<float>(device, n, 3);
    const std::string shape =
        "/f32/" + std::to_string(b) + "x" + std::to_string(m) + "x" + std::to_string(c);
    const bench::Work work{.bytes = 8.0 * double(n)};
    bench::measure("interaction_tokens_forward" + shape, device,
                   InteractionTokensForward<float>{.z = z.data<float>(),
                                                   .pos = pos.data<float>(),
                                                   .tokens = tokens.data<float>(),
                                                   .images = b,
                                                   .positions = m,
                                                   .channels = c},
                   work);
    bench::measure("interaction_tokens_backward" + shape, device,
                   InteractionTokensBackward<float>{.dtokens = tokens.data<float>(),
                                                    .dz = z.data<float>(),
                                                    .dpos = pos.data<float>(),
                                                    .images = b,
                                                    .positions = m,
                                                    .channels = c},
                   work);
  }
}

}  // namespace hh
