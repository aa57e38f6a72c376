// SPDX-License-Identifier: Apache-2.0
// The peers compute what our kernels compute, so that timing one beside the other means something.
#include "bench/peers/peers.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>

#include "bench/support/harness.h"
#include "kernels/attention/window_attention.h"
#include "kernels/blockify/blockify_layer_norm.h"
#include "kernels/blockify/deblockify_residual.h"
#include "kernels/hash/hash_head.h"
#include "kernels/hash/hash_pool.h"
#include "kernels/input/patchify.h"
#include "kernels/interaction/interaction_merge.h"
#include "kernels/interaction/interaction_tokens.h"
#include "kernels/layer_norm/residual_layer_norm.h"
#include "kernels/linear/bias_gelu.h"
#include "kernels/loss/wml_loss.h"
#include "kernels/optimizer/optimizer_update.h"
#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh::bench {
namespace {

/// Frameworks round to T after each operation and cuDNN's float32 products have TF32's 11 bits:
/// a few units in the last place of the largest value.
template <class T>
constexpr double kBound = sizeof(T) == 2 ? 2e-2 : 3e-3;

/// GPUs under test, where the library of peers was built.
std::vector<Device> gpus() {
  auto list = testing::devices();
  std::erase(list, kCpu);
  if (!list.empty() && !std::filesystem::exists(peers_library())) {
    WARN("skipped: " << peers_library() << " wasn't built (docs/benchmarks.md, Peers)");
    list.clear();
  }
  return list;
}

template <class T>
Tensor normal(Device device, std::size_t n, std::uint64_t seed) {
  return Tensor::from(testing::normal<T>(n, seed), {std::int64_t(n)}, device);
}
Tensor zeros(Device device, std::int64_t n, DType type = DType::f32) {
  return Tensor::zeros({n}, type, device);
}

template <class T>
std::vector<double> values(const Tensor& t) {
  const auto list = t.template to_host<T>();
  std::vector<double> wide;
  for (const T value : list) wide.push_back(double(to_float(value)));
  return wide;
}

template <class T, class Stored>
void check_close(const char* what, const Tensor& ours, const Tensor& peers) {
  const auto a = values<Stored>(ours), b = values<Stored>(peers);
  double largest = 0, worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(a[i]));
    worst = std::isfinite(b[i]) ? std::max(worst, std::abs(a[i] - b[i])) : INFINITY;
  }
  INFO(what << ": largest " << largest);
  CHECK(largest > 0);
  CHECK(worst <= kBound<T> * largest);
}

/// Runs the kernel on `ours` and the peer on `peers`, which differ in their outputs.
template <class Args>
void run_both(Device device, const Args& ours, const Args& peers, int calls,
              typename PeerOf<Args>::Make PeerOf<Args>::*which = &PeerOf<Args>::unfused) {
  prepared(device, ours)();
  Backend& on = backend(device);
  const Peer peer = make_peer(peers, on.stream(), which);
  REQUIRE(peer.calls == calls);
  peer.run();
  on.synchronize();
}

struct Pair {
  Tensor ours, peers;
};
template <class T>
Pair outputs(Device device, std::int64_t n) {
  return {zeros(device, n, dtype_of<T>()), zeros(device, n, dtype_of<T>())};
}

TEMPLATE_TEST_CASE("peer of bias_gelu", "[peers]", float, bf16) {
  using T = TestType;
  for (const Device device : gpus()) {
    const int rows = 50, cols = 40;
    const auto n = std::size_t(rows * cols);
    const Tensor x = normal<T>(device, n, 1), bias = normal<float>(device, cols, 2),
                 dy = normal<T>(device, n, 3);
    const Pair y = outputs<T>(device, n), dx = outputs<T>(device, n),
               dbias = outputs<float>(device, cols);
    BiasGeluForward<T> f{.x = x.data<T>(),
                         .bias = bias.data<float>(),
                         .y = y.ours.data<T>(),
                         .rows = rows,
                         .cols = cols};
    auto f_peer = f;
    f_peer.y = y.peers.data<T>();
    run_both(device, f, f_peer, 2);
    check_close<T, T>("y", y.ours, y.peers);
    BiasGeluBackward<T> b{.x = f.x,
                          .bias = f.bias,
                          .dy = dy.data<T>(),
                          .dx = dx.ours.data<T>(),
                          .dbias = dbias.ours.data<float>(),
                          .rows = rows,
                          .cols = cols};
    auto b_peer = b;
    b_peer.dx = dx.peers.data<T>();
    b_peer.dbias = dbias.peers.data<float>();
    run_both(device, b, b_peer, 3);
    check_close<T, T>("dx", dx.ours, dx.peers);
    check_close<T, float>("dbias", dbias.ours, dbias.peers);
  }
}

// Each round of a benchmark has other arrays; making plans anew for them would take it seconds.
TEST_CASE("plans of peers are made once for all arrays of their extents", "[peers]") {
  for (const Device device : gpus()) {
    const int rows = 51, cols = 24;  // of no other test
    const auto n = std::size_t(rows * cols);
    const auto made_by = [&](std::uint64_t seed, int wide) {
      const Tensor x = normal<float>(device, n, seed), bias = normal<float>(device, n, seed + 1);
      const Pair y = outputs<float>(device, n);
      BiasGeluForward<float> f{.x = x.data<float>(),
                               .bias = bias.data<float>(),
                               .y = y.ours.data<float>(),
                               .rows = rows * cols / wide,
                               .cols = wide};
      auto peer = f;
      peer.y = y.peers.data<float>();
      const int before = peers().plans_made();
      run_both(device, f, peer, 2);
      check_close<float, float>("y", y.ours, y.peers);
      return peers().plans_made() - before;
    };
    CHECK(made_by(1, cols) == 2);  // the bias, GELU
    CHECK(made_by(3, cols) == 0);
    CHECK(made_by(5, cols / 2) > 0);
  }
}

TEMPLATE_TEST_CASE("peer of residual_layer_norm", "[peers]", float, bf16) {
  using T = TestType;
  for (const Device device : gpus()) {
    const int images = 3, per_image = 10, rows = images * per_image, cols = 64;
    const auto n = std::size_t(rows * cols);
    const Tensor residual = normal<T>(device, n, 1), branch = normal<T>(device, n, 2),
                 bias = normal<float>(device, cols, 3), scale = normal<float>(device, images, 4),
                 gamma = normal<float>(device, cols, 5), beta = normal<float>(device, cols, 6),
                 dz = normal<T>(device, n, 7), dy = normal<T>(device, n, 8);
    const Pair z = outputs<T>(device, n), y = outputs<T>(device, n),
               mean = outputs<float>(device, rows), rstd = outputs<float>(device, rows),
               dresidual = outputs<T>(device, n), dbranch = outputs<T>(device, n),
               dbias = outputs<float>(device, cols), dgamma = outputs<float>(device, cols),
               dbeta = outputs<float>(device, cols);
    const auto forward = [&](Tensor Pair::*of) {
      return ResidualLayerNormForward<T>{.residual = residual.data<T>(),
                                         .branch = branch.data<T>(),
                                         .bias = bias.data<float>(),
                                         .image_scale = scale.data<float>(),
                                         .gamma = gamma.data<float>(),
                                         .beta = beta.data<float>(),
                                         .z = (z.*of).template data<T>(),
                                         .y = (y.*of).template data<T>(),
                                         .mean = (mean.*of).template data<float>(),
                                         .rstd = (rstd.*of).template data<float>(),
                                         .rows = rows,
                                         .rows_per_image = per_image,
                                         .cols = cols};
    };
    run_both(device, forward(&Pair::ours), forward(&Pair::peers), 4);
    check_close<T, T>("z", z.ours, z.peers);
    check_close<T, T>("y", y.ours, y.peers);
    check_close<T, float>("rstd", rstd.ours, rstd.peers);
    const auto backward = [&](Tensor Pair::*of) {
      return ResidualLayerNormBackward<T>{.dz = dz.data<T>(),
                                          .dy = dy.data<T>(),
                                          .z = z.ours.data<T>(),
                                          .image_scale = scale.data<float>(),
                                          .gamma = gamma.data<float>(),
                                          .mean = mean.ours.data<float>(),
                                          .rstd = rstd.ours.data<float>(),
                                          .dresidual = (dresidual.*of).template data<T>(),
                                          .dbranch = (dbranch.*of).template data<T>(),
                                          .dbias = (dbias.*of).template data<float>(),
                                          .dgamma = (dgamma.*of).template data<float>(),
                                          .dbeta = (dbeta.*of).template data<float>(),
                                          .rows = rows,
                                          .rows_per_image = per_image,
                                          .cols = cols};
    };
    run_both(device, backward(&Pair::ours), backward(&Pair::peers), 4);
    check_close<T, T>("dresidual", dresidual.ours, dresidual.peers);
    check_close<T, T>("dbranch", dbranch.ours, dbranch.peers);
    check_close<T, float>("dbias", dbias.ours, dbias.peers);
    check_close<T, float>("dgamma", dgamma.ours, dgamma.peers);
  }
}

TEMPLATE_TEST_CASE("peer of window_attention", "[peers]", float, bf16) {
  using T = TestType;
  for (const Device device : gpus()) {
    const WindowAttentionShape s{.windows = 2, .tokens = 16, .heads = 3, .head_dim = 32};
    const auto rows = std::size_t(s.windows * s.tokens), n = rows * std::size_t(s.channels());
    const Tensor qkv = normal<T>(device, 3 * n, 1), dout = normal<T>(device, n, 2);
    const Pair out = outputs<T>(device, std::int64_t(n)),
               dqkv = outputs<T>(device, 3 * std::int64_t(n)),
               lse = outputs<float>(device, std::int64_t(rows) * s.heads);
    const auto forward = [&](Tensor Pair::*of) {
      return WindowAttentionForward<T>{.qkv = qkv.data<T>(),
                                       .out = (out.*of).template data<T>(),
                                       .lse = (lse.*of).template data<float>(),
                                       .shape = s};
    };
    run_both(device, forward(&Pair::ours), forward(&Pair::peers), 5);
    check_close<T, T>("out", out.ours, out.peers);
    if (sizeof(T) == 2) {  // cuDNN's attention has no float
      run_both(device, forward(&Pair::ours), forward(&Pair::peers), 2,
               &PeerOf<WindowAttentionForward<T>>::library);
      check_close<T, T>("out of cuDNN's attention", out.ours, out.peers);
      check_close<T, float>("lse of cuDNN's attention", lse.ours, lse.peers);
    }
    const auto backward = [&](const Tensor& to) {
      return WindowAttentionBackward<T>{.qkv = qkv.data<T>(),
                                        .out = out.ours.data<T>(),
                                        .lse = lse.ours.data<float>(),
                                        .dout = dout.data<T>(),
                                        .dqkv = to.data<T>(),
                                        .shape = s};
    };
    run_both(device, backward(dqkv.ours), backward(dqkv.peers), 7);
    check_close<T, T>("dqkv", dqkv.ours, dqkv.peers);
  }
}

TEMPLATE_TEST_CASE("peer of blockify_layer_norm", "[peers]", float, bf16) {
  using T = TestType;
  for (const Device device : gpus()) {
    const BlockGrid s{.images = 3, .grid = 2, .side = 3, .channels = 64};
    const std::int64_t rows = s.tokens(), n = rows * s.channels, one = s.positions() * s.channels;
    const Tensor x = normal<T>(device, std::size_t(n), 1),
                 pos = normal<float>(device, std::size_t(one), 2),
                 gamma = normal<float>(device, 64, 3), beta = normal<float>(device, 64, 4),
                 dz = normal<T>(device, std::size_t(n), 5),
                 dy = normal<T>(device, std::size_t(n), 6);
    const Pair z = outputs<T>(device, n), y = outputs<T>(device, n),
               mean = outputs<float>(device, rows), rstd = outputs<float>(device, rows),
               dx = outputs<T>(device, n), dpos = outputs<float>(device, one),
               dgamma = outputs<float>(device, 64), dbeta = outputs<float>(device, 64);
    const auto forward = [&](Tensor Pair::*of) {
      return BlockifyLayerNormForward<T>{.x = x.data<T>(),
                                         .pos = pos.data<float>(),
                                         .gamma = gamma.data<float>(),
                                         .beta = beta.data<float>(),
                                         .z = (z.*of).template data<T>(),
                                         .y = (y.*of).template data<T>(),
                                         .mean = (mean.*of).template data<float>(),
                                         .rstd = (rstd.*of).template data<float>(),
                                         .shape = s};
    };
    run_both(device, forward(&Pair::ours), forward(&Pair::peers), 3);
    check_close<T, T>("z", z.ours, z.peers);
    check_close<T, T>("y", y.ours, y.peers);
    check_close<T, float>("rstd", rstd.ours, rstd.peers);
    const auto backward = [&](Tensor Pair::*of) {
      return BlockifyLayerNormBackward<T>{.dz = dz.data<T>(),
                                          .dy = dy.data<T>(),
                                          .z = z.ours.data<T>(),
                                          .gamma = gamma.data<float>(),
                                          .mean = mean.ours.data<float>(),
                                          .rstd = rstd.ours.data<float>(),
                                          .dx = (dx.*of).template data<T>(),
                                          .dpos = (dpos.*of).template data<float>(),
                                          .dgamma = (dgamma.*of).template data<float>(),
                                          .dbeta = (dbeta.*of).template data<float>(),
                                          .shape = s};
    };
    run_both(device, backward(&Pair::ours), backward(&Pair::peers), 4);
    check_close<T, T>("dx", dx.ours, dx.peers);
    check_close<T, float>("dpos", dpos.ours, dpos.peers);
    check_close<T, float>("dgamma", dgamma.ours, dgamma.peers);
    check_close<T, float>("dbeta", dbeta.ours, dbeta.peers);
  }
}

TEMPLATE_TEST_CASE("peer of deblockify_residual", "[peers]", float, bf16) {
  using T = TestType;
  for (const Device device : gpus()) {
    const BlockGrid s{.images = 3, .grid = 2, .side = 3, .channels = 8};
    const std::int64_t n = s.tokens() * s.channels;
    const Tensor z = normal<T>(device, std::size_t(n), 1),
                 branch = normal<T>(device, std::size_t(n), 2), bias = normal<float>(device, 8, 3),
                 scale = normal<float>(device, 3, 4), dout = normal<T>(device, std::size_t(n), 5);
    const Pair out = outputs<T>(device, n), dz = outputs<T>(device, n),
               dbranch = outputs<T>(device, n), dbias = outputs<float>(device, 8);
    const auto forward = [&](const Tensor& to) {
      return DeblockifyResidualForward<T>{.z = z.data<T>(),
                                          .branch = branch.data<T>(),
                                          .bias = bias.data<float>(),
                                          .image_scale = scale.data<float>(),
                                          .out = to.data<T>(),
                                          .shape = s};
    };
    run_both(device, forward(out.ours), forward(out.peers), 4);
    check_close<T, T>("out", out.ours, out.peers);
    const auto backward = [&](Tensor Pair::*of) {
      return DeblockifyResidualBackward<T>{.dout = dout.data<T>(),
                                           .image_scale = scale.data<float>(),
                                           .dz = (dz.*of).template data<T>(),
                                           .dbranch = (dbranch.*of).template data<T>(),
                                           .dbias = (dbias.*of).template data<float>(),
                                           .shape = s};
    };
    run_both(device, backward(&Pair::ours), backward(&Pair::peers), 3);
    check_close<T, T>("dz", dz.ours, dz.peers);
    check_close<T, T>("dbranch", dbranch.ours, dbranch.peers);
    check_close<T, float>("dbias", dbias.ours, dbias.peers);
  }
}

TEMPLATE_TEST_CASE("peer of patchify", "[peers]", float, bf16) {
  using T = TestType;
  for (const Device device : gpus()) {
    const PatchShape s{.images = 2, .channels = 3, .size = 12, .patch = 4};
    const std::int64_t n = s.rows() * s.cols();
    const Tensor image = normal<float>(device, std::size_t(n), 1),
                 drows = normal<T>(device, std::size_t(n), 2);
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::uint8_t(i * 101);
    const Tensor pixels = Tensor::from(std::span<const std::uint8_t>(bytes), {n}, device);
    const Pair rows = outputs<T>(device, n), of_pixels = outputs<T>(device, n),
               dimage = outputs<float>(device, n);
    const int casts = sizeof(T) == 2 ? 1 : 0;
    const auto forward = [&](const Tensor& to) {
      return PatchifyForward<T>{.image = image.data<float>(), .rows = to.data<T>(), .shape = s};
    };
    run_both(device, forward(rows.ours), forward(rows.peers), 2 + casts);
    check_close<T, T>("rows", rows.ours, rows.peers);
    const auto backward = [&](const Tensor& to) {
      return PatchifyBackward<T>{.drows = drows.data<T>(), .dimage = to.data<float>(), .shape = s};
    };
    run_both(device, backward(dimage.ours), backward(dimage.peers), 2 + casts);
    check_close<T, float>("dimage", dimage.ours, dimage.peers);
    const auto from_pixels = [&](const Tensor& to) {
      return PatchifyPixels<T>{.pixels = pixels.data<std::uint8_t>(),
                               .rows = to.data<T>(),
                               .mean = {0.5f, 0.4f, 0.3f},
                               .std = {0.2f, 0.3f, 0.25f},
                               .shape = s};
    };
    run_both(device, from_pixels(of_pixels.ours), from_pixels(of_pixels.peers), 4);
    check_close<T, T>("rows of pixels", of_pixels.ours, of_pixels.peers);
  }
}

TEMPLATE_TEST_CASE("peer of hash_head", "[peers]", float, bf16) {
  using T = TestType;
  for (const Device device : gpus()) {
    const int images = 5, channels = 24, bits = 16;
    const std::int64_t codes = images * bits;
    const Tensor pooled = normal<T>(device, std::size_t(images * channels), 1),
                 weight = normal<T>(device, std::size_t(bits * channels), 2),
                 bias = normal<float>(device, bits, 3),
                 dcode = normal<float>(device, std::size_t(codes), 4);
    const Pair logits = outputs<float>(device, codes), code = outputs<float>(device, codes),
               dpooled = outputs<T>(device, images * channels),
               dweight = outputs<float>(device, bits * channels),
               dbias = outputs<float>(device, bits);
    const auto forward = [&](Tensor Pair::*of) {
      return HashHeadForward<T>{.pooled = pooled.data<T>(),
                                .weight = weight.data<T>(),
                                .bias = bias.data<float>(),
                                .logits = (logits.*of).template data<float>(),
                                .code = (code.*of).template data<float>(),
                                .images = images,
                                .channels = channels,
                                .bits = bits};
    };
    run_both(device, forward(&Pair::ours), forward(&Pair::peers), 3);
    check_close<T, float>("logits", logits.ours, logits.peers);
    check_close<T, float>("code", code.ours, code.peers);
    const auto backward = [&](Tensor Pair::*of) {
      return HashHeadBackward<T>{.dcode = dcode.data<float>(),
                                 .code = code.ours.data<float>(),
                                 .pooled = pooled.data<T>(),
                                 .weight = weight.data<T>(),
                                 .dpooled = (dpooled.*of).template data<T>(),
                                 .dweight = (dweight.*of).template data<float>(),
                                 .dbias = (dbias.*of).template data<float>(),
                                 .images = images,
                                 .channels = channels,
                                 .bits = bits};
    };
    run_both(device, backward(&Pair::ours), backward(&Pair::peers), 6);
    check_close<T, T>("dpooled", dpooled.ours, dpooled.peers);
    check_close<T, float>("dweight", dweight.ours, dweight.peers);
    check_close<T, float>("dbias", dbias.ours, dbias.peers);
  }
}

TEMPLATE_TEST_CASE("peer of hash_pool", "[peers]", float, bf16) {
  using T = TestType;
  const int images = 2, channels = 24, side = GENERATE(5, 6);
  for (const Device device : gpus()) {
    const Tensor local = normal<T>(device, std::size_t(images * side * side * channels), 1),
                 glob = normal<T>(device, std::size_t(images * channels), 2);
    const Pair pooled = outputs<T>(device, images * channels);
    const auto forward = [&](const Tensor& to) {
      return HashPoolForward<T>{.local = local.data<T>(),
                                .glob = glob.data<T>(),
                                .pooled = to.data<T>(),
                                .images = images,
                                .side = side,
                                .channels = channels};
    };
    run_both(device, forward(pooled.ours), forward(pooled.peers), 3);
    check_close<T, T>("pooled", pooled.ours, pooled.peers);
  }
}

TEMPLATE_TEST_CASE("peer of interaction_tokens", "[peers]", float, bf16) {
  using T = TestType;
  for (const Device device : gpus()) {
    const int images = 3, positions = 4, channels = 24;
    const std::int64_t one = positions * channels, n = images * one;
    const Tensor z = normal<T>(device, std::size_t(n), 1),
                 pos = normal<float>(device, std::size_t(one), 2),
                 dtokens = normal<T>(device, std::size_t(n), 3);
    const Pair tokens = outputs<T>(device, n), dz = outputs<T>(device, n),
               dpos = outputs<float>(device, one);
    const auto forward = [&](const Tensor& to) {
      return InteractionTokensForward<T>{.z = z.data<T>(),
                                         .pos = pos.data<float>(),
                                         .tokens = to.data<T>(),
                                         .images = images,
                                         .positions = positions,
                                         .channels = channels};
    };
    run_both(device, forward(tokens.ours), forward(tokens.peers), 2);
    check_close<T, T>("tokens", tokens.ours, tokens.peers);
    const auto backward = [&](Tensor Pair::*of) {
      return InteractionTokensBackward<T>{.dtokens = dtokens.data<T>(),
                                          .dz = (dz.*of).template data<T>(),
                                          .dpos = (dpos.*of).template data<float>(),
                                          .images = images,
                                          .positions = positions,
                                          .channels = channels};
    };
    run_both(device, backward(&Pair::ours), backward(&Pair::peers), 2);
    check_close<T, T>("dz", dz.ours, dz.peers);
    check_close<T, float>("dpos", dpos.ours, dpos.peers);
  }
}

TEST_CASE("peer of optimizer_update", "[peers]") {
  for (const Device device : gpus()) {
    // The first two are one list of calls, the third has another decay.
    const OptimizerSegment segments[] = {{0, 40, 0.1f}, {40, 60, 0.1f}, {112, 50, 0}};
    const std::int64_t n = 162;
    const Tensor gradient = normal<float>(device, std::size_t(n), 1);
    const auto start = [&](std::uint64_t seed) {
      return Pair{normal<float>(device, std::size_t(n), seed),
                  normal<float>(device, std::size_t(n), seed)};
    };
    const auto squares = [&] {
      auto values = testing::normal<float>(std::size_t(n), 4);
      for (float& v : values) v *= v;
      return Pair{Tensor::from(values, {n}, device), Tensor::from(values, {n}, device)};
    };
    const auto arrays = [&](const Tensor& weight, const Tensor* copy = nullptr) {
      return OptimizerArrays{.weight = weight.data<float>(),
                             .gradient = gradient.data<float>(),
                             .copy = copy != nullptr ? copy->data<bf16>() : nullptr,
                             .segments = segments,
                             .segment_count = 3,
                             .learning_rate = 0.1f};
    };
    {
      const Pair weight = start(2), square = squares(), copy = outputs<bf16>(device, n);
      const auto args = [&](Tensor Pair::*of) {
        return RmspropUpdate{.arrays = arrays(weight.*of, &(copy.*of)),
                             .square = (square.*of).data<float>()};
      };
      run_both(device, args(&Pair::ours), args(&Pair::peers), 2 * 7);
      check_close<float, float>("rmsprop, weight", weight.ours, weight.peers);
      check_close<float, float>("rmsprop, square", square.ours, square.peers);
      check_close<bf16, bf16>("rmsprop, copy", copy.ours, copy.peers);
    }
    {
      const Pair weight = start(2), mean = start(3), square = squares();
      const auto args = [&](Tensor Pair::*of) {
        return AdamwUpdate{.arrays = arrays(weight.*of),
                           .mean = (mean.*of).data<float>(),
                           .square = (square.*of).data<float>(),
                           .step = 3};
      };
      run_both(device, args(&Pair::ours), args(&Pair::peers), 2 * 8);
      check_close<float, float>("adamw, weight", weight.ours, weight.peers);
      check_close<float, float>("adamw, mean", mean.ours, mean.peers);
      check_close<float, float>("adamw, square", square.ours, square.peers);
    }
    {
      const Pair weight = start(2), buffer = start(3);
      const auto args = [&](Tensor Pair::*of) {
        return SgdUpdate{.arrays = arrays(weight.*of),
                         .momentum_buffer = (buffer.*of).data<float>()};
      };
      run_both(device, args(&Pair::ours), args(&Pair::peers), 2 * 4);
      check_close<float, float>("sgd, weight", weight.ours, weight.peers);
      check_close<float, float>("sgd, momentum", buffer.ours, buffer.peers);
    }
  }
}

// In float32 only: when bf16 is stored between the calls, equal values make other maxima win.
TEST_CASE("peer of interaction_merge", "[peers]") {
  using T = float;
  for (const Device device : gpus()) {
    const InteractionMergeShape s{.images = 2, .grid = 2, .factor = 4, .channels = 32};
    const auto n = std::size_t(s.images * s.side() * s.side() * s.channels),
               small = std::size_t(s.images * s.grid * s.grid * s.channels);
    const Tensor local = normal<T>(device, n, 1), glob = normal<T>(device, small, 2),
                 gamma = normal<float>(device, 32, 3), beta = normal<float>(device, 32, 4),
                 dout = normal<T>(device, n / 4, 5),
                 argmax = zeros(device, std::int64_t(n / 4), DType::u8),
                 mean = zeros(device, std::int64_t(n) / s.channels),
                 rstd = zeros(device, std::int64_t(n) / s.channels);
    const Pair out = outputs<T>(device, std::int64_t(n / 4)),
               dlocal = outputs<T>(device, std::int64_t(n)),
               dglob = outputs<T>(device, std::int64_t(small)), dgamma = outputs<float>(device, 32),
               dbeta = outputs<float>(device, 32);
    const auto forward = [&](const Tensor& to) {
      return InteractionMergeForward<T>{.local = local.data<T>(),
                                        .glob = glob.data<T>(),
                                        .gamma = gamma.data<float>(),
                                        .beta = beta.data<float>(),
                                        .out = to.data<T>(),
                                        .argmax = argmax.data<std::uint8_t>(),
                                        .mean = mean.data<float>(),
                                        .rstd = rstd.data<float>(),
                                        .shape = s};
    };
    run_both(device, forward(out.ours), forward(out.peers), 4);
    check_close<T, T>("out", out.ours, out.peers);
    const auto backward = [&](Tensor Pair::*of) {
      return InteractionMergeBackward<T>{.dout = dout.data<T>(),
                                         .argmax = argmax.data<std::uint8_t>(),
                                         .local = local.data<T>(),
                                         .glob = glob.data<T>(),
                                         .gamma = gamma.data<float>(),
                                         .mean = mean.data<float>(),
                                         .rstd = rstd.data<float>(),
                                         .dlocal = (dlocal.*of).data<T>(),
                                         .dglob = (dglob.*of).data<T>(),
                                         .dgamma = (dgamma.*of).data<float>(),
                                         .dbeta = (dbeta.*of).data<float>(),
                                         .shape = s};
    };
    run_both(device, backward(&Pair::ours), backward(&Pair::peers), 3);
    check_close<T, T>("dlocal", dlocal.ours, dlocal.peers);
    check_close<T, T>("dglob", dglob.ours, dglob.peers);
    check_close<T, float>("dgamma", dgamma.ours, dgamma.peers);
  }
}

TEST_CASE("peer of wml_loss", "[peers]") {
  for (const Device device : gpus()) {
    const int images = 5, rows = 70, bits = 16;
    const Tensor u = normal<float>(device, std::size_t(images * bits), 1),
                 bank = normal<float>(device, std::size_t(rows * bits), 2);
    std::vector<std::uint64_t> some(images), all(rows);
    for (int i = 0; i < images; ++i) some[std::size_t(i)] = std::uint64_t{1} << (i % 3);
    for (int i = 0; i < rows; ++i) all[std::size_t(i)] = std::uint64_t{1} << (i % 4);
    const auto labels_of = [&](const std::vector<std::uint64_t>& list) {
      return Tensor::from(list, {std::int64_t(list.size())}, device);
    };
    const Tensor labels = labels_of(some), bank_labels = labels_of(all),
                 pairs = zeros(device, 2, DType::i64);
    const Pair loss = outputs<float>(device, 1), du = outputs<float>(device, images * bits);
    const auto args = [&](Tensor Pair::*of) {
      return WmlLoss<float>{.u = u.data<float>(),
                            .labels = labels.data<std::uint64_t>(),
                            .bank = bank.data<float>(),
                            .bank_labels = bank_labels.data<std::uint64_t>(),
                            .loss = (loss.*of).data<float>(),
                            .pairs = pairs.data<std::int64_t>(),
                            .du = (du.*of).data<float>(),
                            .images = images,
                            .bank_rows = rows,
                            .bits = bits};
    };
    run_both(device, args(&Pair::ours), args(&Pair::peers), 21);
    check_close<float, float>("loss", loss.ours, loss.peers);
    check_close<float, float>("du", du.ours, du.peers);
  }
}

}  // namespace
}  // namespace hh::bench
