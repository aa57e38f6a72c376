// SPDX-License-Identifier: Apache-2.0
// Traffic   One line of patches at a time, whose rows stay in L1 while the p image lines of each
//           channel are dealt out to them; images and rows go to and from memory once.
// Numerics  A pixel has 256 values, so normalising it is a table of each channel, made by the
//           formula of the header with two float32 roundings (no fused multiply-add).
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/core/parallel.h"
#include "kernels/input/patchify.h"

namespace hh::cpu {
namespace {

/// Calls body(b, i) for every line i of patches of every image b.
template <class Body>
void for_each_line(const PatchShape& s, Body body) {
  const std::int64_t lines = s.size / s.patch;
  const std::int64_t line_elements = std::max<std::int64_t>(lines * s.cols(), 1);
  constexpr std::int64_t kGrain = 16384;  // elements per thread; a guess
  parallel_for(s.images * lines, std::max<std::int64_t>(1, kGrain / line_elements),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t k = begin; k < end; ++k) body(k / lines, k % lines);
               });
}

/// Calls f with the patch side, as a constant for the sides in use, so that the copies of a piece
/// are single moves.
template <class F>
void with_patch(int patch, F f) {
  if (patch == 4) return f(std::integral_constant<int, 4>());
  if (patch == 2) return f(std::integral_constant<int, 2>());
  f(patch);
}

}  // namespace

template <class T>
void run(const PatchifyForward<T>& p) {
  p.validate();
  const std::int64_t size = p.shape.size, cols = p.shape.cols(), channels = p.shape.channels;
  with_patch(p.shape.patch, [&](auto patch) {
    const std::int64_t side = patch, across = size / side;
    for_each_line(p.shape, [&](std::int64_t b, std::int64_t i) {
      T* rows = p.rows + (b * across + i) * across * cols;
      for (std::int64_t k = 0; k < channels * side; ++k) {
        const std::int64_t c = k / side, u = k % side;
        const float* from = p.image + ((b * channels + c) * size + i * side + u) * size;
        for (std::int64_t j = 0; j < across; ++j) {
          for (int v = 0; v < patch; ++v) {
            rows[j * cols + k * side + v] = from_float<T>(from[j * side + v]);
          }
        }
      }
    });
  });
}

template <class T>
void run(const PatchifyBackward<T>& p) {
  p.validate();
  const std::int64_t size = p.shape.size, cols = p.shape.cols(), channels = p.shape.channels;
  with_patch(p.shape.patch, [&](auto patch) {
    const std::int64_t side = patch, across = size / side;
    for_each_line(p.shape, [&](std::int64_t b, std::int64_t i) {
      const T* rows = p.drows + (b * across + i) * across * cols;
      for (std::int64_t k = 0; k < channels * side; ++k) {
        const std::int64_t c = k / side, u = k % side;
        float* to = p.dimage + ((b * channels + c) * size + i * side + u) * size;
        for (std::int64_t j = 0; j < across; ++j) {
          for (int v = 0; v < patch; ++v) {
            to[j * side + v] = to_float(rows[j * cols + k * side + v]);
          }
        }
      }
    });
  });
}

template <class T>
void run(const PatchifyPixels<T>& p) {
  p.validate();
  const std::int64_t size = p.shape.size, cols = p.shape.cols(), channels = p.shape.channels;
  T table[4][256];
  for (std::int64_t c = 0; c < channels; ++c) {
    const float scale = 1 / (255 * p.std[c]), shift = p.mean[c] / p.std[c];
    for (int value = 0; value < 256; ++value) {
      table[c][value] = from_float<T>(float(value) * scale - shift);
    }
  }
  with_patch(p.shape.patch, [&](auto patch) {
    const std::int64_t side = patch, across = size / side;
    for_each_line(p.shape, [&](std::int64_t b, std::int64_t i) {
      T* rows = p.rows + (b * across + i) * across * cols;
      for (std::int64_t k = 0; k < channels * side; ++k) {
        const std::int64_t c = k / side, u = k % side;
        const std::uint8_t* from = p.pixels + (b * size + i * side + u) * size * channels + c;
        for (std::int64_t j = 0; j < across; ++j) {
          for (int v = 0; v < patch; ++v) {
            rows[j * cols + k * side + v] = table[c][from[(j * side + v) * channels]];
          }
        }
      }
    });
  });
}

template void run(const PatchifyForward<float>&);
template void run(const PatchifyForward<bf16>&);
template void run(const PatchifyBackward<float>&);
template void run(const PatchifyBackward<bf16>&);
template void run(const PatchifyPixels<float>&);
template void run(const PatchifyPixels<bf16>&);

}  // namespace hh::cpu
