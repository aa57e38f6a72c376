// SPDX-License-Identifier: Apache-2.0
// One optimiser step over all parameters at once. They lie in one flat array; `segments` says which
// parts of it exist and how much weight decay each takes. With g = scale[0] * gradient:
//
//   RMSprop   g += wd*w;  v = rho*v + (1-rho)*g^2;  w -= lr * g / (sqrt(v) + eps)
//   AdamW     w -= lr*wd*w;  m = b1*m + (1-b1)*g;  v = b2*v + (1-b2)*g^2;
//             w -= lr * (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)
//   SGD       g += wd*w;  m = momentum*m + g;  w -= lr*m
//
// Nothing is changed when skip[0] is not 0 (non-finite gradients under a loss scaler).
// `copy` and `f16_copy`, when given, receive the new weights rounded in the same pass.
// Source: docs/specification.md, section 3 (RMSprop, as PyTorch computes it); Loshchilov and
// Hutter, arXiv 1711.05101 (AdamW); PyTorch's SGD without dampening.
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/work.h"

namespace hh {

struct OptimizerSegment {
  std::int64_t begin = 0;  // first element in the flat arrays
  std::int64_t count = 0;
  float weight_decay = 0;  // wd of these elements
};

/// What the three have in common.
struct OptimizerArrays {
  float* weight = nullptr;          // [n] in/out
  const float* gradient = nullptr;  // [n] in
  bf16* copy = nullptr;             // [n] out  may be null
  f16* f16_copy = nullptr;          // [n] out  may be null; on the GPU only
  const OptimizerSegment* segments =
      nullptr;  // [segment_count] in, host memory, ascending, disjoint
  int segment_count = 0;
  const float* scale = nullptr;        // [1] in   null: 1
  const std::int32_t* skip = nullptr;  // [1] in   null: 0
  float learning_rate = 0;             // >= 0

  /// Of an optimiser with so many running averages, which it reads and writes as the weights.
  Work work(int averages) const {
    double n = 0;
    for (int i = 0; i < segment_count; ++i) n += double(segments[i].count);
    return {.bytes = n * (12.0 + 8 * averages + (copy ? 2 : 0) + (f16_copy ? 2 : 0))};
  }

  /// `op` and `state` are the caller's: its name and whether its running averages are there.
  void validate(const char* op, bool state) const {
    HH_PRECONDITION(segment_count >= 0, op << ": segment_count = " << segment_count);
    HH_PRECONDITION(learning_rate >= 0, op << ": learning_rate = " << learning_rate);
    HH_PRECONDITION(segment_count == 0 || segments, op << ": segments is null");
    std::int64_t end = 0;
    for (int i = 0; i < segment_count; ++i) {
      const OptimizerSegment& s = segments[i];
      HH_PRECONDITION(s.begin >= end && s.count >= 0, op << ": segment " << i << " of " << s.count
                                                         << " elements begins at " << s.begin
                                                         << ", the one before ends at " << end);
      end = s.begin + s.count;
    }
    HH_PRECONDITION(end == 0 || (weight && gradient && state), op << ": an array is null");
  }
};

struct RmspropUpdate {
  OptimizerArrays arrays;
  float* square = nullptr;  // [n] in/out  v
  float rho = 0.99f;        // in [0, 1]
  float eps = 1e-8f;        // >= 0

  void validate() const {
    arrays.validate("rmsprop_update", square != nullptr);
    HH_PRECONDITION(rho >= 0 && rho <= 1, "rmsprop_update: rho = " << rho);
    HH_PRECONDITION(eps >= 0, "rmsprop_update: eps = " << eps);
  }
  Work work() const { return arrays.work(1); }
};

struct AdamwUpdate {
  OptimizerArrays arrays;
  float* mean = nullptr;               // [n] in/out  m
  float* square = nullptr;             // [n] in/out  v
  float beta1 = 0.9f, beta2 = 0.999f;  // in [0, 1)
  float eps = 1e-8f;                   // >= 0
  std::int64_t step = 1;               // t, from 1

  void validate() const {
    arrays.validate("adamw_update", mean != nullptr && square != nullptr);
    HH_PRECONDITION(beta1 >= 0 && beta1 < 1, "adamw_update: beta1 = " << beta1);
    HH_PRECONDITION(beta2 >= 0 && beta2 < 1, "adamw_update: beta2 = " << beta2);
    HH_PRECONDITION(eps >= 0, "adamw_update: eps = " << eps);
    HH_PRECONDITION(step >= 1, "adamw_update: step = " << step);
  }
  Work work() const { return arrays.work(2); }
};

struct SgdUpdate {
  OptimizerArrays arrays;
  float* momentum_buffer = nullptr;  // [n] in/out  m
  float momentum = 0.9f;             // in [0, 1)

  void validate() const {
    arrays.validate("sgd_update", momentum_buffer != nullptr);
    HH_PRECONDITION(momentum >= 0 && momentum < 1, "sgd_update: momentum = " << momentum);
  }
  Work work() const { return arrays.work(1); }
};

namespace cpu {
/// Return when done; the same bits for any number of threads.
void run(const RmspropUpdate& p);
void run(const AdamwUpdate& p);
void run(const SgdUpdate& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
void run(const RmspropUpdate& p, StreamHandle stream);
void run(const AdamwUpdate& p, StreamHandle stream);
void run(const SgdUpdate& p, StreamHandle stream);
}  // namespace gpu

}  // namespace hh
