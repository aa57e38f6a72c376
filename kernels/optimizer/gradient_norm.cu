// SPDX-License-Identifier: Apache-2.0
// Mapping   CUB's device-wide reduction of the squares in float64, whose order is fixed for a size
//           and a GPU; then one thread turns the sum into norm, scale and skip.
// Traffic   reads the gradient once.
#include <cub/device/device_reduce.cuh>

#include "kernels/core/device.cuh"
#include "kernels/core/workspace.h"
#include "kernels/optimizer/gradient_norm.h"

namespace hh::gpu {
namespace {

struct SquareInDouble {
  __device__ double operator()(float g) const { return double(g) * double(g); }
};
struct Plus {
  __device__ double operator()(double a, double b) const { return a + b; }
};

cudaError_t reduce(const GradientNorm& p, void* scratch, std::size_t& bytes, double* sum,
                   StreamHandle stream) {
  return cub::DeviceReduce::TransformReduce(scratch, bytes, p.gradient, sum, p.n, Plus{},
                                            SquareInDouble{}, 0.0, stream);
}

__global__ void gradient_norm_kernel(const GradientNorm p, const double* sum) {
  const double norm = double(p.inverse_loss_scale) * sqrt(*sum);
  const bool finite = isfinite(norm);
  const bool clip = p.max_norm > 0 && norm > double(p.max_norm);
  *p.norm = float(norm);
  *p.scale = float(double(p.inverse_loss_scale) * (clip ? double(p.max_norm) / norm : 1.0));
  *p.skip = finite ? 0 : 1;
}

}  // namespace

std::size_t workspace_bytes(const GradientNorm& p) {
  std::size_t bytes = 0;
  HH_CUDA_CHECK(reduce(p, nullptr, bytes, nullptr, nullptr));
  return Workspace::padded(sizeof(double)) + bytes;
}

void run(const GradientNorm& p, StreamHandle stream) {
  p.validate();
  Workspace workspace(p.workspace);
  auto* const sum = workspace.take<double>(1);
  std::size_t bytes = workspace_bytes(p) - workspace.bytes();  // CUB's own
  HH_CUDA_CHECK(reduce(p, workspace.rest(), bytes, sum, stream));
  gradient_norm_kernel<<<1, 1, 0, stream>>>(p, sum);
  HH_CHECK_LAUNCH(stream);
}

}  // namespace hh::gpu
