#include "bench/support/harness.h"
#include "kernels/interaction/interaction_tokens.h"
#include "tests/support/values.h"

namespace hh {

// The interaction attention of the micro preset at batch 64 and of the paper's at batch 8.
HH_BENCHMARK(interaction_tokens) {
  using testing::normal;
  const int shapes[][3] = {{64, 16, 64}, {8, 16, 256}, {8, 4, 512}};
  for (const auto [b, m, c] : shapes) {
    const std::size_t size = std::size_t(m) * std::size_t(c), n = size * std::size_t(b);
    const auto z = normal(n, 1), pos = normal(size, 2);
    std::vector<float> tokens(n), dz(n), dpos(size);
    const std::string shape = std::to_string(b) + "x" + std::to_string(m) + "x" + std::to_string(c);
    const InteractionTokensForward<float> forward{.z = z.data(),
                                                  .pos = pos.data(),
                                                  .tokens = tokens.data(),
                                                  .images = b,
                                                  .positions = m,
                                                  .channels = c};
    bench::report("interaction_tokens_forward/f32/" + shape, {.bytes = 8.0 * double(n)},
                  bench::time([&] { cpu::interaction_tokens_forward(forward); }));
    const InteractionTokensBackward<float> backward{.dtokens = z.data(),
                                                    .dz = dz.data(),
                                                    .dpos = dpos.data(),
                                                    .images = b,
                                                    .positions = m,
                                                    .channels = c};
    bench::report("interaction_tokens_backward/f32/" + shape, {.bytes = 8.0 * double(n)},
                  bench::time([&] { cpu::interaction_tokens_backward(backward); }));
  }
}

}  // namespace hh
