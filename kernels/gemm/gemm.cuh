// SPDX-License-Identifier: Apache-2.0
// One matrix product by cuBLASLt, row-major:
//
//   D[rows, cols] = (accumulate ? D : 0) + A[rows, inner] B[inner, cols] (+ bias[cols])
//   a_sums[rows] = sum_k A[rows, k], in the same reading of A
//
// Inputs are float, bf16 or f16, sums float32, D float or the inputs' type. float products are
// exact float32 ones unless HH_TF32=1 allows TF32's shorter factors.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"

namespace hh::gpu {

template <class TIn, class TOut>
struct Gemm {
  const TIn* a = nullptr;
  bool a_transposed = false;  // A lies in memory as [inner, rows]
  const TIn* b = nullptr;
  bool b_transposed = false;  // B lies in memory as [cols, inner]
  TOut* d = nullptr;
  std::int64_t rows = 0, cols = 0, inner = 0;  // rows may be 0
  const TOut* bias = nullptr;  // added to every row; may be null; not when accumulating
  bool accumulate = false;
  float* a_sums = nullptr;  // [rows] out; may be null; not together with a bias
};

/// Scratch memory that gemm() is given, whatever the sizes: 32 MiB, which NVIDIA advises for its GPUs
/// from 9.0 on (cuBLAS, "cublasSetWorkspace") and which products that are cut along their sums ask
/// for; or none. It never grows, so memory that was asked for is large enough when it is used.
std::size_t gemm_workspace_bytes();

/// For a GPU that is nearly full: from now on, in the whole process, gemm() needs no scratch memory and
/// takes algorithms that use none, which may add up in another order. False: so it was already.
bool use_no_gemm_workspace();

/// False when cuBLASLt has no algorithm that also makes a_sums, which then is unchanged. Throws
/// DeviceError when it has none at all. `workspace` has gemm_workspace_bytes(), aligned to
/// 256. The chosen algorithm (algorithm_choice.cuh) is kept per shape and alignment, so the bits are the
/// same every time.
template <class TIn, class TOut>
bool gemm(const Gemm<TIn, TOut>& g, void* workspace, StreamHandle stream);

}  // namespace hh::gpu
