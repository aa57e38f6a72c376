// SPDX-License-Identifier: Apache-2.0
// Mapping   A thread has 16 bytes of a token at one position and goes through some of the images:
//           its place in image order, its share of the bias, and of the bias's gradient, stay in
//           registers.
// Traffic   every array once; per block and column one float of the bias or one partial sum.
// Numerics  float32.
#include "kernels/blockify/deblockify_residual.h"
#include "kernels/blockify/positions.cuh"
#include "kernels/core/column_sum.cuh"

namespace hh::gpu {
namespace {

/// Blocks: positions by images by tiles of columns.
struct Split {
  int lanes = 1;
  int images = 1;  // per block
  dim3 grid;

  Split(const BlockGrid& s, int columns_per_lane)
      : lanes(lanes_of_row(s.channels, columns_per_lane, kRowThreads)) {
    constexpr std::int64_t kLeastRows = 32;
    const std::int64_t groups = kRowThreads / lanes, tiles = ceil_div(s.positions(), groups);
    const std::int64_t least =
        std::max(ceil_div(kLeastRows, groups), ceil_div(s.images * tiles, kMostBlocks));
    images = int(std::min<std::int64_t>(least, s.images));
    grid =
        grid_of(tiles, ceil_div(s.images, images), ceil_div(s.channels, lanes * columns_per_lane));
  }
  std::int64_t blocks() const { return std::int64_t{grid.x} * grid.y; }
};

/// f(image, element in block order, element in image order), elements at the thread's columns.
template <int kVec, class F>
__device__ void for_each_token(const BlockGrid& s, const ColumnTile<kVec>& tile, int images, F f) {
  const std::int64_t position = std::int64_t{blockIdx.x} * tile.groups + tile.group;
  if (position >= s.positions() || !tile.has_columns()) return;
  const std::int64_t in_image = place_in_image(s, position), column = tile.first + tile.column;
  const int begin = int(blockIdx.y) * images, end = min(begin + images, s.images);
  for (int image = begin; image < end; ++image) {
    const std::int64_t base = image * s.positions();
    f(image, (base + position) * s.channels + column, (base + in_image) * s.channels + column);
  }
}

template <class T, int kVec>
__global__ void __launch_bounds__(kRowThreads)
    deblockify_residual_forward_kernel(const DeblockifyResidualForward<T> p, int lanes,
                                       int images) {
  extern __shared__ float4 memory[];
  const ColumnTile<kVec> tile(int(blockIdx.z), lanes, p.shape.channels);
  const SharedRows<kVec> shared(memory, tile.cols);
  shared.fill(0, p.bias + tile.first);
  __syncthreads();
  float bias[kVec] = {};
  if (tile.has_columns()) shared.load(0, tile.column, bias);
  for_each_token(p.shape, tile, images, [&](int image, std::int64_t block, std::int64_t place) {
    float z[kVec], branch[kVec];
    load_floats(p.z + block, z);
    load_floats(p.branch + block, branch);
    const float scale = p.image_scale != nullptr ? p.image_scale[image] : 1.0f;
#pragma unroll
    for (int k = 0; k < kVec; ++k) z[k] += scale * (branch[k] + bias[k]);
    store_floats(z, p.out + place);
  });
}

template <class T, int kVec>
__global__ void __launch_bounds__(kRowThreads)
    deblockify_residual_backward_kernel(const DeblockifyResidualBackward<T> p, int lanes,
                                        int images) {
  extern __shared__ float4 memory[];
  const ColumnTile<kVec> tile(int(blockIdx.z), lanes, p.shape.channels);
  const SharedRows<kVec> shared(memory, tile.cols);
  float dbias[kVec] = {};
  for_each_token(p.shape, tile, images, [&](int image, std::int64_t block, std::int64_t place) {
    float g[kVec];
    load_floats(p.dout + place, g);
    store_floats(g, p.dz + block);
    if (p.dbranch != nullptr) {
      const float scale = p.image_scale[image];
#pragma unroll
      for (int k = 0; k < kVec; ++k) g[k] *= scale;
      store_floats(g, p.dbranch + block);
    }
#pragma unroll
    for (int k = 0; k < kVec; ++k) dbias[k] += g[k];
  });
  if (tile.has_columns()) shared.store(tile.group, tile.column, dbias);
  const std::int64_t block = std::int64_t{blockIdx.y} * gridDim.x + blockIdx.x;
  sum_shared_rows(shared, tile.groups,
                  static_cast<float*>(p.workspace) + block * p.shape.channels + tile.first);
}

}  // namespace

template <class T>
void run(const DeblockifyResidualForward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.images == 0) return;
  choose_vector<T>(p.shape.channels, all_aligned16(p.z, p.branch, p.out), [&](auto vec) {
    const Split split(p.shape, vec);
    deblockify_residual_forward_kernel<T, vec()>
        <<<split.grid, kRowThreads, SharedRows<vec()>::bytes(1, split.lanes * vec), stream>>>(
            p, split.lanes, split.images);
  });
  HH_CHECK_LAUNCH(stream);
}

template <class T>
void run(const DeblockifyResidualBackward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.images == 0) return;
  float* const partials = rows_of_sums(p.left, p.workspace);
  // Not an argument of the kernel's own, which would take it ten registers more.
  DeblockifyResidualBackward<T> with_rows = p;
  with_rows.workspace = partials;
  std::int64_t blocks = 0;
  choose_vector<T>(p.shape.channels, all_aligned16(p.dout, p.dz, p.dbranch), [&](auto vec) {
    const Split split(p.shape, vec);
    const std::size_t shared =
        SharedRows<vec()>::bytes(kRowThreads / split.lanes, split.lanes * vec);
    blocks = split.blocks();
    deblockify_residual_backward_kernel<T, vec()>
        <<<split.grid, kRowThreads, shared, stream>>>(with_rows, split.lanes, split.images);
  });
  HH_CHECK_LAUNCH(stream);
  finish_sums({.rows = partials, .count = blocks, .cols = p.shape.channels, .to = {p.dbias}},
              p.left, stream);
}

template <class T>
std::size_t partial_sums_bytes(const DeblockifyResidualBackward<T>& p) {
  if (p.shape.images == 0) return 0;
  // The arrays' alignment, which decides between the two, isn't known yet.
  const std::int64_t blocks =
      std::max(Split(p.shape, kVector<T>).blocks(), Split(p.shape, 1).blocks());
  return std::size_t(blocks) * std::size_t(p.shape.channels) * sizeof(float);
}
template <class T>
std::size_t workspace_bytes(const DeblockifyResidualBackward<T>& p) {
  return p.left != nullptr ? 0 : partial_sums_bytes(p);
}

template void run(const DeblockifyResidualForward<float>&, StreamHandle);
template void run(const DeblockifyResidualForward<bf16>&, StreamHandle);
template void run(const DeblockifyResidualForward<f16>&, StreamHandle);
template void run(const DeblockifyResidualBackward<float>&, StreamHandle);
template void run(const DeblockifyResidualBackward<bf16>&, StreamHandle);
template void run(const DeblockifyResidualBackward<f16>&, StreamHandle);
template std::size_t workspace_bytes(const DeblockifyResidualBackward<float>&);
template std::size_t partial_sums_bytes(const DeblockifyResidualBackward<float>&);
template std::size_t workspace_bytes(const DeblockifyResidualBackward<bf16>&);
template std::size_t partial_sums_bytes(const DeblockifyResidualBackward<bf16>&);
template std::size_t workspace_bytes(const DeblockifyResidualBackward<f16>&);
template std::size_t partial_sums_bytes(const DeblockifyResidualBackward<f16>&);

}  // namespace hh::gpu
