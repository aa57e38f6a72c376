#include "bench/support/harness.h"
#include "kernels/hash/hash_pool.h"

namespace hh {

// Images x side x channels: the micro preset at batch 64 and the paper's at batch 2 and 8.
HH_BENCHMARK(hash_pool) {
  const auto shapes = bench::shapes<3>("BSC", {{64, 4, 128}}, {{2, 14, 512}, {8, 14, 512}});
  for (const auto [b, s, c] : shapes) {
    const std::size_t vectors = std::size_t(b) * std::size_t(c);
    const std::size_t map = vectors * std::size_t(s * s);
    const int o = (s - 1) / 2 + 1;
    const std::size_t windows = vectors * std::size_t(o * o);
    const Tensor local = bench::normal<float>(device, map, 1);
    const Tensor glob = bench::normal<float>(device, vectors, 2);
    const Tensor pooled = bench::normal<float>(device, vectors, 3);
    const Tensor argmax({std::int64_t(windows)}, DType::u8, device);
    const std::string shape =
        "/f32/" + std::to_string(b) + "x" + std::to_string(s) + "x" + std::to_string(c);
    const bench::Work work{.bytes = 4.0 * double(map + vectors) + double(windows)};
    bench::measure("hash_pool_forward" + shape, device,
                   HashPoolForward<float>{.local = local.data<float>(),
                                          .glob = glob.data<float>(),
                                          .pooled = pooled.data<float>(),
                                          .argmax = argmax.data<std::uint8_t>(),
                                          .images = b,
                                          .side = s,
                                          .channels = c},
                   work);
    bench::measure("hash_pool_backward" + shape, device,
                   HashPoolBackward<float>{.dpooled = pooled.data<float>(),
                                           .argmax = argmax.data<std::uint8_t>(),
                                           .dlocal = local.data<float>(),
                                           .images = b,
                                           .side = s,
                                           .channels = c},
                   work);
  }
}

}  // namespace hh
