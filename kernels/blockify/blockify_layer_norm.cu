// SPDX-License-Identifier: Apache-2.0
// Mapping   A group of up to 32 threads keeps a token's row in registers, as in
//           residual_layer_norm.cu, and goes through the images at one position, so that the
//           position's embedding, or its gradient, stays in registers too. Where positions are few,
//           several groups of a block share the images of one; what they have summed comes
//           together in shared memory. Rows of more than kLongestRow columns: a block per position.
// Traffic   every array once, in vectors of 16 bytes; per block gamma and beta, and a row of
//           partial sums for each of their gradients.
// Numerics  float32, see row_norm.cuh.
#include "kernels/blockify/positions.cuh"
#include "kernels/core/column_sum.cuh"
#include "kernels/core/row_norm.cuh"

namespace hh::gpu {
namespace {

constexpr int kDgamma = 0, kDbeta = 1, kGradients = 2;  // rows of partial sums

/// A block's positions, and how many of its groups share the images of each.
struct Share {
  int positions = 1, groups = 1;  // powers of two
  std::int64_t blocks = 0;

  Share(const BlockGrid& s, int lanes) : positions(kRowThreads / lanes) {
    // Two blocks for each multiprocessor of an H100, but not at the price of blocks of few rows.
    constexpr std::int64_t kBlocks = 2 * 132, kLeastRows = 32;
    while (positions > 1 && ceil_div(s.positions(), positions) < kBlocks && groups < s.images &&
           std::int64_t{positions / 2} * s.images >= kLeastRows) {
      positions /= 2;
      groups *= 2;
    }
    blocks = ceil_div(s.positions(), positions);
  }
};

/// The position and the images of a thread's group.
struct Place {
  std::int64_t position, in_image;  // in block order and in image order
  int first_image;                  // then every groups-th
  bool valid;

  __device__ Place(const BlockGrid& s, int group, int positions)
      : position(std::int64_t{blockIdx.x} * positions + group % positions),
        in_image(place_in_image(s, position)),
        first_image(group / positions),
        valid(position < s.positions()) {}
};

template <class T, int kVec, int kItems>
__global__ void __launch_bounds__(kRowThreads)
    blockify_layer_norm_forward_kernel(const BlockifyLayerNormForward<T> p, int lanes,
                                       const Share share) {
  extern __shared__ float4 memory[];
  const int channels = p.shape.channels;
  const RowGroup<kVec, kItems> group(lanes);
  const SharedRows<kVec> shared(memory, channels);
  const int gamma_row = share.positions, beta_row = share.positions + 1;
  const std::int64_t first = std::int64_t{blockIdx.x} * share.positions;
  for (int i = 0; i < share.positions && first + i < p.shape.positions(); ++i) {
    shared.fill(i, p.pos + (first + i) * channels);
  }
  shared.fill(gamma_row, p.gamma);
  shared.fill(beta_row, p.beta);
  __syncthreads();
  const Place place(p.shape, group.index, share.positions);
  float pos[kItems][kVec] = {};
  group.for_each(place.valid ? channels : 0,
                 [&](int i, int c) { shared.load(group.index % share.positions, c, pos[i]); });
  for (int done = 0; done < p.shape.images; done += share.groups) {
    const std::int64_t image = done + place.first_image;
    const int cols = place.valid && image < p.shape.images ? channels : 0;
    const std::int64_t base = image * p.shape.positions(), row = base + place.position;
    float z[kItems][kVec];
    group.load(p.x + (base + place.in_image) * channels, cols, z);
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
#pragma unroll
      for (int k = 0; k < kVec; ++k) z[i][k] += pos[i][k];
      round_floats<T>(z[i]);
    }
    group.store(z, cols, p.z + row * channels);
    const RowStatistics s = row_statistics(group, z, cols, channels, p.eps);
    normalise_row(group, s, cols, shared, gamma_row, beta_row, z);
    group.store(z, cols, p.y + row * channels);
    if (p.mean != nullptr && cols != 0 && group.lane == 0) {
      p.mean[row] = s.mean;
      p.rstd[row] = s.rstd;
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kRowThreads)
    blockify_layer_norm_forward_long_kernel(const BlockifyLayerNormForward<T> p) {
  const int channels = p.shape.channels;
  const std::int64_t position = blockIdx.x, in_image = place_in_image(p.shape, position);
  const float* pos = p.pos + position * channels;
  for (std::int64_t image = 0; image < p.shape.images; ++image) {
    const std::int64_t base = image * p.shape.positions(), row = base + position;
    const T* x = p.x + (base + in_image) * channels;
    T* z = p.z + row * channels;
    float sum = 0, squares = 0;
    for (int c = threadIdx.x; c < channels; c += kRowThreads) {
      z[c] = narrow<T>(widen(x[c]) + pos[c]);
      sum += widen(z[c]);
    }
    const float mean = block_sum<kRowThreads>(sum) / float(channels);
    for (int c = threadIdx.x; c < channels; c += kRowThreads) {
      const float deviation = widen(z[c]) - mean;
      squares += deviation * deviation;
    }
    const float rstd = rsqrtf(block_sum<kRowThreads>(squares) / float(channels) + p.eps);
    for (int c = threadIdx.x; c < channels; c += kRowThreads) {
      p.y[row * channels + c] = narrow<T>((widen(z[c]) - mean) * rstd * p.gamma[c] + p.beta[c]);
    }
    if (p.mean != nullptr && threadIdx.x == 0) {
      p.mean[row] = mean;
      p.rstd[row] = rstd;
    }
  }
}

template <class T, int kVec, int kItems>
__global__ void __launch_bounds__(kRowThreads)
    blockify_layer_norm_backward_kernel(const BlockifyLayerNormBackward<T> p, int lanes,
                                        const Share share, float* partials) {
  extern __shared__ float4 memory[];
  constexpr int kGamma = 0;  // its row in shared memory
  const int channels = p.shape.channels;
  const RowGroup<kVec, kItems> group(lanes);
  const SharedRows<kVec> shared(memory, channels);
  shared.fill(kGamma, p.gamma);
  __syncthreads();
  const Place place(p.shape, group.index, share.positions);
  float dpos[kItems][kVec] = {}, dgamma[kItems][kVec] = {}, dbeta[kItems][kVec] = {};
  for (int done = 0; done < p.shape.images; done += share.groups) {
    const std::int64_t image = done + place.first_image;
    const int cols = place.valid && image < p.shape.images ? channels : 0;
    const std::int64_t base = image * p.shape.positions(), row = base + place.position;
    Pack<T, kVec> dz[kItems];
    RowGradient<T, kVec, kItems> gradient;
    group.load(p.dz + row * channels, p.dz != nullptr ? cols : 0, dz);
    gradient.load(group, p.dy + row * channels, p.z + row * channels, cols);
    if (cols != 0) gradient.s = {p.mean[row], p.rstd[row]};
    gradient.reduce(group, cols, channels, shared, kGamma, dgamma, dbeta);
    T* dx = p.dx + (base + place.in_image) * channels;
    group.for_each(cols, [&](int i, int c) {
      float total[kVec];
#pragma unroll
      for (int k = 0; k < kVec; ++k) total[k] = dz[i].get(k);
      gradient.add(i, c, shared, kGamma, total);
      store_floats(total, dx + c);
#pragma unroll
      for (int k = 0; k < kVec; ++k) dpos[i][k] += total[k];
    });
  }

  __syncthreads();  // gamma has been read
  group.store(dpos, shared);
  __syncthreads();
  const std::int64_t first = std::int64_t{blockIdx.x} * share.positions;
  for (int i = 0; i < share.positions && first + i < p.shape.positions(); ++i) {
    float* to = p.dpos + (first + i) * channels;
    for (int c = threadIdx.x; c < channels; c += kRowThreads) {
      float sum = to[c];
      for (int g = 0; g < share.groups; ++g) sum += shared.at(g * share.positions + i, c);
      to[c] = sum;
    }
  }
  float* partial = partials + std::int64_t{blockIdx.x} * kGradients * channels;
  __syncthreads();
  group.store(dgamma, shared);
  sum_shared_rows(shared, group.count, partial + kDgamma * channels);
  group.store(dbeta, shared);
  sum_shared_rows(shared, group.count, partial + kDbeta * channels);
}

template <class T>
__global__ void __launch_bounds__(kRowThreads)
    blockify_layer_norm_backward_long_kernel(const BlockifyLayerNormBackward<T> p,
                                             float* partials) {
  // A thread has the same columns in every pass, so that the sums are its own.
  const int channels = p.shape.channels;
  const std::int64_t position = blockIdx.x, in_image = place_in_image(p.shape, position);
  float* dpos = p.dpos + position * channels;
  float* dgamma = partials + position * kGradients * channels;
  float* dbeta = dgamma + channels;
  for (int c = threadIdx.x; c < channels; c += kRowThreads) dgamma[c] = dbeta[c] = 0;
  for (std::int64_t image = 0; image < p.shape.images; ++image) {
    const std::int64_t base = image * p.shape.positions(), row = base + position;
    const T* dy = p.dy + row * channels;
    const T* z = p.z + row * channels;
    T* dx = p.dx + (base + in_image) * channels;
    const float mean = p.mean[row], rstd = p.rstd[row];
    float sum_g = 0, sum_gh = 0;
    for (int c = threadIdx.x; c < channels; c += kRowThreads) {
      const float h = (widen(z[c]) - mean) * rstd, g = widen(dy[c]) * p.gamma[c];
      dgamma[c] += widen(dy[c]) * h;
      dbeta[c] += widen(dy[c]);
      sum_g += g;
      sum_gh += g * h;
    }
    const float mean_g = block_sum<kRowThreads>(sum_g) / float(channels);
    const float mean_gh = block_sum<kRowThreads>(sum_gh) / float(channels);
    for (int c = threadIdx.x; c < channels; c += kRowThreads) {
      const float h = (widen(z[c]) - mean) * rstd, g = widen(dy[c]) * p.gamma[c];
      float total = p.dz != nullptr ? widen(p.dz[row * channels + c]) : 0.0f;
      total += rstd * (g - mean_g - h * mean_gh);
      dx[c] = narrow<T>(total);
      dpos[c] += total;
    }
  }
}

}  // namespace

template <class T>
void run(const BlockifyLayerNormForward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.images == 0) return;
  const int channels = p.shape.channels;
  const bool aligned = all_aligned16(p.x, p.z, p.y);
  const bool short_rows = choose_row_group<T>(channels, aligned, [&](auto vec, auto items) {
    const int lanes = lanes_of_row(channels, vec * items, kWarpSize);
    const Share share(p.shape, lanes);
    blockify_layer_norm_forward_kernel<T, vec(), items()>
        <<<grid_of(share.blocks), kRowThreads,
           SharedRows<vec()>::bytes(share.positions + 2, channels), stream>>>(p, lanes, share);
  });
  if (!short_rows) {
    blockify_layer_norm_forward_long_kernel<T>
        <<<grid_of(p.shape.positions()), kRowThreads, 0, stream>>>(p);
  }
  HH_CHECK_LAUNCH(stream);
}

template <class T>
void run(const BlockifyLayerNormBackward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.images == 0) return;
  const int channels = p.shape.channels;
  float* const partials = rows_of_sums(p.left, p.workspace);
  std::int64_t blocks = p.shape.positions();
  const bool aligned = all_aligned16(p.dz, p.dy, p.z, p.dx);
  const bool short_rows = choose_row_group<T>(channels, aligned, [&](auto vec, auto items) {
    const int lanes = lanes_of_row(channels, vec * items, kWarpSize), groups = kRowThreads / lanes;
    const Share share(p.shape, lanes);
    blocks = share.blocks;
    blockify_layer_norm_backward_kernel<T, vec(), items()>
        <<<grid_of(blocks), kRowThreads, SharedRows<vec()>::bytes(groups, channels), stream>>>(
            p, lanes, share, partials);
  });
  if (!short_rows) {
    blockify_layer_norm_backward_long_kernel<T>
        <<<grid_of(blocks), kRowThreads, 0, stream>>>(p, partials);
  }
  HH_CHECK_LAUNCH(stream);
  finish_sums({.rows = partials,
               .count = blocks,
               .arrays = kGradients,
               .cols = channels,
               .to = {p.dgamma, p.dbeta}},
              p.left, stream);
}

template <class T>
std::size_t partial_sums_bytes(const BlockifyLayerNormBackward<T>& p) {
  if (p.shape.images == 0) return 0;
  // At most a block per position. The arrays' alignment, by which blocks get more, isn't known yet.
  return std::size_t(p.shape.positions()) * kGradients * std::size_t(p.shape.channels) *
         sizeof(float);
}
template <class T>
std::size_t workspace_bytes(const BlockifyLayerNormBackward<T>& p) {
  return p.left != nullptr ? 0 : partial_sums_bytes(p);
}

template void run(const BlockifyLayerNormForward<float>&, StreamHandle);
template void run(const BlockifyLayerNormForward<bf16>&, StreamHandle);
template void run(const BlockifyLayerNormForward<f16>&, StreamHandle);
template void run(const BlockifyLayerNormBackward<float>&, StreamHandle);
template void run(const BlockifyLayerNormBackward<bf16>&, StreamHandle);
template void run(const BlockifyLayerNormBackward<f16>&, StreamHandle);
template std::size_t workspace_bytes(const BlockifyLayerNormBackward<float>&);
template std::size_t partial_sums_bytes(const BlockifyLayerNormBackward<float>&);
template std::size_t workspace_bytes(const BlockifyLayerNormBackward<bf16>&);
template std::size_t partial_sums_bytes(const BlockifyLayerNormBackward<bf16>&);
template std::size_t workspace_bytes(const BlockifyLayerNormBackward<f16>&);
template std::size_t partial_sums_bytes(const BlockifyLayerNormBackward<f16>&);

}  // namespace hh::gpu
