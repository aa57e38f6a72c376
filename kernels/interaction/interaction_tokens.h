// SPDX-License-Identifier: Apache-2.0
// The tokens of the interaction attention. The reference RESHAPES its channels-first map (C, m, m)
// to (M, C), M = m*m, without permuting it, so with our channels-last map z[b, position, channel]:
//
//   tokens[b,t,c] = z[b, f % M, f / M] + pos[t,c],    f = t*C + c
//
// Backward: dz[b, f % M, f / M] = dtokens[b,t,c];  dpos[t,c] += sum_b dtokens[b,t,c].
// Source: docs/specification.md, section 1, "Interactive Attention"; section 6, oddity 2.
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/work.h"

namespace hh {

template <class T>  // float, bf16 or (GPU) f16
struct InteractionTokensForward {
  const T* z = nullptr;        // [B, M, C] in
  const float* pos = nullptr;  // [M, C] in
  T* tokens = nullptr;         // [B, M, C] out
  int images = 0;              // B >= 0
  int positions = 1;           // M, 1 to 64
  int channels = 0;            // C >= 1

  static constexpr int kMaxPositions = 64;

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(images >= 0, "interaction_tokens: images = " << images);
    HH_PRECONDITION(positions >= 1 && positions <= kMaxPositions,
                    "interaction_tokens: positions = " << positions);
    HH_PRECONDITION(channels >= 1, "interaction_tokens: channels = " << channels);
    HH_PRECONDITION(images == 0 || (z && pos && tokens), "interaction_tokens: an array is null");
  }
  Work work() const { return {.bytes = 2.0 * sizeof(T) * images * positions * channels}; }
};

template <class T>
struct InteractionTokensBackward {
  const T* dtokens = nullptr;  // [B, M, C] in
  T* dz = nullptr;             // [B, M, C] out
  float* dpos = nullptr;       // [M, C] in/out  added to
  int images = 0, positions = 1, channels = 0;

  void validate() const {
    HH_PRECONDITION(images >= 0, "interaction_tokens: images = " << images);
    HH_PRECONDITION(positions >= 1 && positions <= InteractionTokensForward<T>::kMaxPositions,
                    "interaction_tokens: positions = " << positions);
    HH_PRECONDITION(channels >= 1, "interaction_tokens: channels = " << channels);
    HH_PRECONDITION(images == 0 || (dtokens && dz && dpos), "interaction_tokens: an array is null");
  }
  Work work() const { return {.bytes = 2.0 * sizeof(T) * images * positions * channels}; }
};

namespace cpu {
/// Return when done; the same bits for any number of threads.
template <class T>
void run(const InteractionTokensForward<T>& p);
template <class T>
void run(const InteractionTokensBackward<T>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class T>
void run(const InteractionTokensForward<T>& p, StreamHandle stream);
template <class T>
void run(const InteractionTokensBackward<T>& p, StreamHandle stream);
}  // namespace gpu

}  // namespace hh
