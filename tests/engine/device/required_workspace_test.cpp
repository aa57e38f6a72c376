// SPDX-License-Identifier: Apache-2.0
// Who calls a kernel alone, without launch(), may forget its scratch memory.
#include <catch2/catch.hpp>
#include <string>
#include <typeinfo>

#include "kernels/attention/window_attention.h"
#include "kernels/blockify/blockify_layer_norm.h"
#include "kernels/blockify/deblockify_residual.h"
#include "kernels/conv/conv2d.h"
#include "kernels/hamming/hamming_average_precision.h"
#include "kernels/hamming/hamming_radius.h"
#include "kernels/hamming/hamming_topk.h"
#include "kernels/interaction/interaction_merge.h"
#include "kernels/layer_norm/residual_layer_norm.h"
#include "kernels/linear/bias_gelu.h"
#include "kernels/linear/linear.h"
#include "kernels/loss/wml_loss.h"

namespace hh {
namespace {

/// Arrays that are there, but of one element: an op that went on would write past them.
float f[1];
std::uint8_t u8[1];
std::int32_t i32[1];
std::uint32_t u32[1];
std::int64_t i64[1];
std::uint64_t u64[1];
double f64[1];

template <class Args>
void refused(const Args& args) {
  CAPTURE(typeid(Args).name());
  REQUIRE(cpu::workspace_bytes(args) > 0);
  REQUIRE_THROWS_WITH(cpu::run(args),
                      Catch::Contains("workspace is null: give it the " +
                                      std::to_string(cpu::workspace_bytes(args)) + " bytes"));
}

TEST_CASE("an op of the network without its workspace is refused", "[workspace]") {
  const WindowAttentionShape windows{.windows = 2, .tokens = 9};
  refused(WindowAttentionForward<float>{.qkv = f, .out = f, .shape = windows});
  refused(WindowAttentionBackward<float>{
      .qkv = f, .out = f, .lse = f, .dout = f, .dqkv = f, .shape = windows});
  refused(ResidualLayerNormBackward<float>{
      .dz = f, .dresidual = f, .dbranch = f, .dbias = f, .rows = 5, .cols = 8});
  const BlockGrid blocks{.images = 1, .grid = 2, .side = 2, .channels = 8};
  refused(BlockifyLayerNormBackward<float>{.dy = f,
                                           .z = f,
                                           .gamma = f,
                                           .mean = f,
                                           .rstd = f,
                                           .dx = f,
                                           .dpos = f,
                                           .dgamma = f,
                                           .dbeta = f,
                                           .shape = blocks});
  refused(DeblockifyResidualBackward<float>{.dout = f, .dz = f, .dbias = f, .shape = blocks});
  const InteractionMergeShape merge{.images = 1, .grid = 2, .factor = 2, .channels = 8};
  refused(InteractionMergeForward<float>{
      .local = f, .glob = f, .gamma = f, .beta = f, .out = f, .shape = merge});
  refused(InteractionMergeBackward<float>{.dout = f,
                                          .argmax = u8,
                                          .local = f,
                                          .glob = f,
                                          .gamma = f,
                                          .mean = f,
                                          .rstd = f,
                                          .dlocal = f,
                                          .dglob = f,
                                          .dgamma = f,
                                          .dbeta = f,
                                          .shape = merge});
  refused(BiasGeluBackward<float>{
      .x = f, .bias = f, .dy = f, .dx = f, .dbias = f, .rows = 5, .cols = 8});
  refused(LinearBackwardWeight<float>{
      .x = f, .dy = f, .dweight = f, .dbias = f, .rows = 5, .in = 8, .out = 8});
  const Conv2dShape image{
      .images = 1, .height = 4, .width = 4, .in_channels = 8, .out_channels = 8};
  refused(Conv2dForward<float>{.x = f, .weight = f, .y = f, .shape = image});
  refused(Conv2dBackwardInput<float>{.dy = f, .weight = f, .dx = f, .shape = image});
  refused(Conv2dBackwardWeight<float>{.x = f, .dy = f, .dweight = f, .shape = image});
}

TEST_CASE("an op of training or search without its workspace is refused", "[workspace]") {
  refused(WmlLoss<float>{.u = f,
                         .labels = u64,
                         .bank = f,
                         .bank_labels = u64,
                         .loss = f,
                         .pairs = i64,
                         .images = 2,
                         .bank_rows = 9,
                         .bits = 8});
  refused(HammingTopk{.queries = u64,
                      .database = u64,
                      .rows = i64,
                      .distances = i32,
                      .query_count = 1,
                      .row_count = 9,
                      .bits = 8});
  refused(HammingRadius{
      .queries = u64, .database = u64, .counts = i64, .query_count = 1, .row_count = 9, .bits = 8});
  refused(HammingAveragePrecision{.queries = u64,
                                  .query_labels = u64,
                                  .database = u64,
                                  .row_labels = u64,
                                  .ap = f64,
                                  .hits = i64,
                                  .retrieved = u32,
                                  .relevant = u32,
                                  .query_count = 1,
                                  .row_count = 9,
                                  .cut = 9,
                                  .bits = 8});
}

}  // namespace
}  // namespace hh
