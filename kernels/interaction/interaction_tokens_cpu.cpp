// Traffic   Both directions read and write each element of the maps once. Read as rows of M, the
//           tokens are the transpose of the map, so M cache lines of the map are open at a time.
// Numerics  One float32 addition, rounded to T. dpos is added up over the images in their order.
#include <algorithm>
#include <cstdint>

#include "kernels/core/parallel.h"
#include "kernels/interaction/interaction_tokens.h"

namespace hh::cpu {
namespace {

constexpr std::int64_t kGrain = 16384;  // elements per thread; a guess: a few microseconds of work

/// to[c*rows + r] = from[r*cols + c] (+ plus[c*rows + r]), for one range of columns.
template <class T>
void transpose(const T* from, std::int64_t rows, std::int64_t cols, std::int64_t begin,
               std::int64_t end, const float* plus, T* to) {
  for (std::int64_t c = begin; c < end; ++c) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t f = c * rows + r;
      to[f] = plus != nullptr ? from_float<T>(to_float(from[r * cols + c]) + plus[f])
                              : from[r * cols + c];
    }
  }
}

}  // namespace

template <class T>
void interaction_tokens_forward(const InteractionTokensForward<T>& p) {
  p.validate();
  const std::int64_t size = std::int64_t{p.positions} * p.channels;
  parallel_for(p.images, std::max<std::int64_t>(1, kGrain / size),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t b = begin; b < end; ++b) {
                   transpose(p.z + b * size, p.positions, p.channels, 0, p.channels, p.pos,
                             p.tokens + b * size);
                 }
               });
}

template <class T>
void interaction_tokens_backward(const InteractionTokensBackward<T>& p) {
  p.validate();
  const std::int64_t size = std::int64_t{p.positions} * p.channels;
  parallel_for(p.images, std::max<std::int64_t>(1, kGrain / size),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t b = begin; b < end; ++b) {
                   // The tokens as C rows of M, back to M rows of C.
                   transpose(p.dtokens + b * size, p.channels, p.positions, 0, p.positions,
                             static_cast<const float*>(nullptr), p.dz + b * size);
                 }
               });
  if (p.images == 0) return;
  const std::int64_t grain = std::max<std::int64_t>(64, kGrain / p.images);
  parallel_for(size, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = 0; b < p.images; ++b) {
      const T* row = p.dtokens + b * size;
      for (std::int64_t f = begin; f < end; ++f) p.dpos[f] += to_float(row[f]);
    }
  });
}

template void interaction_tokens_forward(const InteractionTokensForward<float>&);
template void interaction_tokens_forward(const InteractionTokensForward<bf16>&);
template void interaction_tokens_backward(const InteractionTokensBackward<float>&);
template void interaction_tokens_backward(const InteractionTokensBackward<bf16>&);

}  // namespace hh::cpu
