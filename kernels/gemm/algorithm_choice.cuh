// SPDX-License-Identifier: Apache-2.0
// Which of cuBLASLt's algorithms gemm() takes for a product: its first, unless somebody who may wait
// for the GPU chooses.
#pragma once
#include <cstddef>
#include <span>
#include <string>

#include "kernels/core/check.h"
#include "kernels/core/function_ref.h"

namespace hh::gpu {

/// A product that is met for the first time.
struct GemmProposal {
  std::string product;                      // what decides the algorithm, one line
  std::span<const std::string> algorithms;  // names in cuBLASLt's order, at least one
  std::size_t d_bytes,
      sums_bytes;  // of D, which is read too where it says "accumulate", and a_sums
  StreamHandle stream;
  /// Queues algorithm i on the stream, with these in place of the product's own D and a_sums, as
  /// aligned as cudaMalloc's. False: refused.
  FunctionRef<bool(std::size_t i, void* d, void* sums)> run;
};

/// Gives a position in `algorithms`. Called by one thread at a time, and before the product itself is
/// queued.
using ChooseAlgorithm = std::size_t(const GemmProposal&);

/// From the next new product on; null: cuBLASLt's first. A choice lasts as long as the process.
void set_algorithm_choice(ChooseAlgorithm* choose);

}  // namespace hh::gpu
