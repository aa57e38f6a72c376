// SPDX-License-Identifier: Apache-2.0
// Mapping   A group of up to 32 threads per row, which it keeps in registers; a block takes
//           neighbouring rows. bias, gamma and beta wait in shared memory. Sums over rows stay in
//           registers until the block's last row. Rows of more than kLongestRow columns: a block
//           per row, which makes its passes in global memory.
// Traffic   every [R, C] array once, in vectors of 16 bytes; per block the parameters and a row of
//           partial sums for each of their gradients.
// Numerics  float32, see row_norm.cuh.
#include "kernels/core/column_sum.cuh"
#include "kernels/core/row_norm.cuh"
#include "kernels/layer_norm/residual_layer_norm.h"

namespace hh::gpu {
namespace {

constexpr int kGamma = 0, kBeta = 1, kBias = 2;     // rows of parameters in shared memory
constexpr int kDgamma = 0, kDbeta = 1, kDbias = 2;  // rows of partial sums
constexpr int kGradients = 3;

template <class Args>
__device__ float scale_of(const Args& p, std::int64_t row) {
  if (p.image_scale == nullptr) return 1.0f;
  if (p.rows >> 32 != 0) return p.image_scale[row / p.rows_per_image];
  return p.image_scale[unsigned(row) / unsigned(p.rows_per_image)];  // a third of the instructions
}

template <class T, int kVec, int kItems>
__global__ void __launch_bounds__(kRowThreads)
    residual_layer_norm_forward_kernel(const ResidualLayerNormForward<T> p, int lanes,
                                       std::int64_t rows_per_block) {
  extern __shared__ float4 memory[];
  const RowGroup<kVec, kItems> group(lanes);
  const SharedRows<kVec> shared(memory, p.cols);
  shared.fill(kGamma, p.gamma);
  shared.fill(kBeta, p.beta);
  shared.fill(kBias, p.bias);
  __syncthreads();
  const std::int64_t begin = blockIdx.x * rows_per_block, end = min(begin + rows_per_block, p.rows);
  for (std::int64_t first = begin; first < end; first += group.count) {
    const std::int64_t row = first + group.index, at = row * p.cols;
    const int cols = row < end ? p.cols : 0;
    float z[kItems][kVec];
    group.load(p.residual + at, cols, z);
    if (p.branch != nullptr) {
      float branch[kItems][kVec];
      group.load(p.branch + at, cols, branch);
      const float scale = cols != 0 ? scale_of(p, row) : 0.0f;
      group.for_each(cols, [&](int i, int c) {
        float bias[kVec];
        shared.load(kBias, c, bias);
#pragma unroll
        for (int k = 0; k < kVec; ++k) z[i][k] += scale * (branch[i][k] + bias[k]);
        round_floats<T>(z[i]);
      });
      group.store(z, cols, p.z + at);
    }
    if (p.gamma == nullptr) continue;
    const RowStatistics s = row_statistics(group, z, cols, p.cols, p.eps);
    normalise_row(group, s, cols, shared, kGamma, kBeta, z);
    group.store(z, cols, p.y + at);
    if (p.mean != nullptr && cols != 0 && group.lane == 0) {
      p.mean[row] = s.mean;
      p.rstd[row] = s.rstd;
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kRowThreads)
    residual_layer_norm_forward_long_kernel(const ResidualLayerNormForward<T> p) {
  for (std::int64_t row = blockIdx.x; row < p.rows; row += gridDim.x) {
    const std::int64_t at = row * p.cols;
    const float scale = scale_of(p, row);
    const T* z = p.branch != nullptr ? p.z + at : p.residual + at;
    float sum = 0, squares = 0;
    for (int c = threadIdx.x; c < p.cols; c += kRowThreads) {
      float v = widen(p.residual[at + c]);
      if (p.branch != nullptr) {
        const float bias = p.bias != nullptr ? p.bias[c] : 0.0f;
        p.z[at + c] = narrow<T>(v + scale * (widen(p.branch[at + c]) + bias));
        v = widen(p.z[at + c]);
      }
      sum += v;
    }
    if (p.gamma == nullptr) continue;
    const float mean = block_sum<kRowThreads>(sum) / float(p.cols);
    for (int c = threadIdx.x; c < p.cols; c += kRowThreads) {
      const float deviation = widen(z[c]) - mean;
      squares += deviation * deviation;
    }
    const float rstd = rsqrtf(block_sum<kRowThreads>(squares) / float(p.cols) + p.eps);
    for (int c = threadIdx.x; c < p.cols; c += kRowThreads) {
      p.y[at + c] = narrow<T>((widen(z[c]) - mean) * rstd * p.gamma[c] + p.beta[c]);
    }
    if (p.mean != nullptr && threadIdx.x == 0) {
      p.mean[row] = mean;
      p.rstd[row] = rstd;
    }
  }
}

template <class T, int kVec, int kItems>
__global__ void __launch_bounds__(kRowThreads)
    residual_layer_norm_backward_kernel(const ResidualLayerNormBackward<T> p, int lanes,
                                        std::int64_t rows_per_block, float* partials) {
  extern __shared__ float4 memory[];
  const RowGroup<kVec, kItems> group(lanes);
  const SharedRows<kVec> shared(memory, p.cols);
  if (p.dy != nullptr) shared.fill(kGamma, p.gamma);
  __syncthreads();
  float dgamma[kItems][kVec] = {}, dbeta[kItems][kVec] = {}, dbias[kItems][kVec] = {};
  const std::int64_t begin = blockIdx.x * rows_per_block, end = min(begin + rows_per_block, p.rows);
  for (std::int64_t first = begin; first < end; first += group.count) {
    const std::int64_t row = first + group.index, at = row * p.cols;
    const int cols = row < end ? p.cols : 0;
    Pack<T, kVec> dz[kItems];
    RowGradient<T, kVec, kItems> gradient;
    group.load(p.dz + at, p.dz != nullptr ? cols : 0, dz);
    const float scale = cols != 0 ? scale_of(p, row) : 0.0f;
    if (p.dy != nullptr) {
      gradient.load(group, p.dy + at, p.z + at, cols);
      if (cols != 0) gradient.s = {p.mean[row], p.rstd[row]};
      gradient.reduce(group, cols, p.cols, shared, kGamma, dgamma, dbeta);
    }
    group.for_each(cols, [&](int i, int c) {
      float total[kVec];
#pragma unroll
      for (int k = 0; k < kVec; ++k) total[k] = dz[i].get(k);
      if (p.dy != nullptr) gradient.add(i, c, shared, kGamma, total);
      store_floats(total, p.dresidual + at + c);
#pragma unroll
      for (int k = 0; k < kVec; ++k) {
        total[k] *= scale;
        dbias[i][k] += total[k];
      }
      if (p.dbranch != nullptr) store_floats(total, p.dbranch + at + c);
    });
  }
  float* partial = partials + std::int64_t{blockIdx.x} * kGradients * p.cols;
  const auto leave = [&](int which, const float(&sums)[kItems][kVec]) {
    group.store(sums, shared);
    sum_shared_rows(shared, group.count, partial + std::int64_t{which} * p.cols);
  };
  __syncthreads();  // gamma has been read
  if (p.dy != nullptr) {
    leave(kDgamma, dgamma);
    leave(kDbeta, dbeta);
  }
  if (p.dbias != nullptr) leave(kDbias, dbias);
}

template <class T>
__global__ void __launch_bounds__(kRowThreads)
    residual_layer_norm_backward_long_kernel(const ResidualLayerNormBackward<T> p,
                                             std::int64_t rows_per_block, float* partials) {
  // A thread has the same columns in every pass, so that the partial sums, and dresidual in the
  // place of dy, are its own.
  float* dgamma = partials + std::int64_t{blockIdx.x} * kGradients * p.cols;
  float* dbeta = dgamma + p.cols;
  float* dbias = dbeta + p.cols;
  for (int c = threadIdx.x; c < p.cols; c += kRowThreads) dgamma[c] = dbeta[c] = dbias[c] = 0;
  const std::int64_t begin = blockIdx.x * rows_per_block, end = min(begin + rows_per_block, p.rows);
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t at = row * p.cols;
    const float scale = scale_of(p, row);
    float mean = 0, rstd = 0, mean_g = 0, mean_gh = 0;
    if (p.dy != nullptr) {
      mean = p.mean[row];
      rstd = p.rstd[row];
      float sum_g = 0, sum_gh = 0;
      for (int c = threadIdx.x; c < p.cols; c += kRowThreads) {
        const float dy = widen(p.dy[at + c]), h = (widen(p.z[at + c]) - mean) * rstd;
        dgamma[c] += dy * h;
        dbeta[c] += dy;
        sum_g += dy * p.gamma[c];
        sum_gh += dy * p.gamma[c] * h;
      }
      mean_g = block_sum<kRowThreads>(sum_g) / float(p.cols);
      mean_gh = block_sum<kRowThreads>(sum_gh) / float(p.cols);
    }
    for (int c = threadIdx.x; c < p.cols; c += kRowThreads) {
      float total = p.dz != nullptr ? widen(p.dz[at + c]) : 0.0f;
      if (p.dy != nullptr) {
        const float h = (widen(p.z[at + c]) - mean) * rstd;
        total += rstd * (widen(p.dy[at + c]) * p.gamma[c] - mean_g - h * mean_gh);
      }
      p.dresidual[at + c] = narrow<T>(total);
      if (p.dbranch != nullptr) p.dbranch[at + c] = narrow<T>(scale * total);
      dbias[c] += scale * total;
    }
  }
}

/// As many as an H100's multiprocessors hold at once, three each, two of long rows, by their
/// registers: of more the last would have most multiprocessors for themselves.
RowBlocks backward_blocks(std::int64_t rows, int cols) {
  constexpr std::int64_t kStep = 8, kLeastRows = 32;
  const std::int64_t at_once = 132 * (cols > kLongestRow / 2 ? 2 : 3);
  return {rows, cols, std::max(kLeastRows, kStep * ceil_div(rows, kStep * at_once))};
}

}  // namespace

template <class T>
void run(const ResidualLayerNormForward<T>& p, StreamHandle stream) {
  p.validate();
  const RowBlocks split(p.rows, p.cols);
  if (split.blocks == 0) return;
  const dim3 blocks = grid_of(split.blocks);
  const bool aligned = all_aligned16(p.residual, p.branch, p.z, p.y);
  const bool short_rows = choose_row_group<T>(p.cols, aligned, [&](auto vec, auto items) {
    const int lanes = lanes_of_row(p.cols, vec * items, kWarpSize);
    residual_layer_norm_forward_kernel<T, vec(), items()>
        <<<blocks, kRowThreads, SharedRows<vec()>::bytes(3, p.cols), stream>>>(p, lanes,
                                                                               split.rows);
  });
  if (!short_rows) {
    residual_layer_norm_forward_long_kernel<T><<<blocks, kRowThreads, 0, stream>>>(p);
  }
  HH_CHECK_LAUNCH(stream);
}

template <class T>
void run(const ResidualLayerNormBackward<T>& p, StreamHandle stream) {
  p.validate();
  const RowBlocks split = backward_blocks(p.rows, p.cols);
  if (split.blocks == 0) return;
  const dim3 blocks = grid_of(split.blocks);
  float* const partials = rows_of_sums(p.left, p.workspace);
  const bool aligned = all_aligned16(p.dz, p.dy, p.z, p.dresidual, p.dbranch);
  const bool short_rows = choose_row_group<T>(p.cols, aligned, [&](auto vec, auto items) {
    const int lanes = lanes_of_row(p.cols, vec * items, kWarpSize);
    residual_layer_norm_backward_kernel<T, vec(), items()>
        <<<blocks, kRowThreads, SharedRows<vec()>::bytes(kRowThreads / lanes, p.cols), stream>>>(
            p, lanes, split.rows, partials);
  });
  if (!short_rows) {
    residual_layer_norm_backward_long_kernel<T>
        <<<blocks, kRowThreads, 0, stream>>>(p, split.rows, partials);
  }
  HH_CHECK_LAUNCH(stream);
  if (p.dy == nullptr && p.dbias == nullptr) return;
  finish_sums(
      {.rows = partials,
       .count = split.blocks,
       .arrays = kGradients,
       .cols = p.cols,
       .to = {p.dy != nullptr ? p.dgamma : nullptr, p.dy != nullptr ? p.dbeta : nullptr, p.dbias}},
      p.left, stream);
}

template <class T>
std::size_t partial_sums_bytes(const ResidualLayerNormBackward<T>& p) {
  return std::size_t(backward_blocks(p.rows, p.cols).blocks) * kGradients * std::size_t(p.cols) *
         sizeof(float);
}
template <class T>
std::size_t workspace_bytes(const ResidualLayerNormBackward<T>& p) {
  return p.left != nullptr ? 0 : partial_sums_bytes(p);
}

template void run(const ResidualLayerNormForward<float>&, StreamHandle);
template void run(const ResidualLayerNormForward<bf16>&, StreamHandle);
template void run(const ResidualLayerNormForward<f16>&, StreamHandle);
template void run(const ResidualLayerNormBackward<float>&, StreamHandle);
template void run(const ResidualLayerNormBackward<bf16>&, StreamHandle);
template void run(const ResidualLayerNormBackward<f16>&, StreamHandle);
template std::size_t workspace_bytes(const ResidualLayerNormBackward<float>&);
template std::size_t partial_sums_bytes(const ResidualLayerNormBackward<float>&);
template std::size_t workspace_bytes(const ResidualLayerNormBackward<bf16>&);
template std::size_t partial_sums_bytes(const ResidualLayerNormBackward<bf16>&);
template std::size_t workspace_bytes(const ResidualLayerNormBackward<f16>&);
template std::size_t partial_sums_bytes(const ResidualLayerNormBackward<f16>&);

}  // namespace hh::gpu
