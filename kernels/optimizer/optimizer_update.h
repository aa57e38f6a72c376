// One optimiser step over all parameters at once. They lie in one flat array; `segments` says which
// parts of it exist and how much weight decay each takes. With g = scale[0] * gradient:
//
//   RMSprop   g += wd*w;  v = rho*v + (1-rho)*g^2;  w -= lr * g / (sqrt(v) + eps)         (spec
//   section 3) AdamW     w -= lr*wd*w;  m = b1*m + (1-b1)*g;  v = b2*v + (1-b2)*g^2;
//             w -= lr * (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)
//   SGD       g += wd*w;  m = momentum*m + g;  w -= lr*m
//
// Nothing is changed when skip[0] is not 0 (non-finite gradients under a loss scaler).
// `copy`, when given, receives the new weights rounded to bf16 in the same pass.
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"

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
  const OptimizerSegment* segments =
      nullptr;  // [segment_count] in, host memory, ascending, disjoint
  int segment_count = 0;
  const float* scale = nullptr;        // [1] in   null: 1
  const std::int32_t* skip = nullptr;  // [1] in   null: 0
  float learning_rate = 0;
};

struct RmspropUpdate {
  OptimizerArrays arrays;
  float* square = nullptr;  // [n] in/out  v
  float rho = 0.99f;
  float eps = 1e-8f;
  void validate() const;
};

struct AdamwUpdate {
  OptimizerArrays arrays;
  float* mean = nullptr;    // [n] in/out  m
  float* square = nullptr;  // [n] in/out  v
  float beta1 = 0.9f, beta2 = 0.999f;
  float eps = 1e-8f;
  std::int64_t step = 1;  // t, from 1
  void validate() const;
};

struct SgdUpdate {
  OptimizerArrays arrays;
  float* momentum_buffer = nullptr;  // [n] in/out  m
  float momentum = 0.9f;
  void validate() const;
};

namespace cpu {
void rmsprop_update(const RmspropUpdate& p);
void adamw_update(const AdamwUpdate& p);
void sgd_update(const SgdUpdate& p);
}  // namespace cpu

}  // namespace hh
