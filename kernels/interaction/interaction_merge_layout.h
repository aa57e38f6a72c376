// SPDX-License-Identifier: Apache-2.0
// How the CPU kernels of interaction_merge.h lay out their scratch memory and share out the work.
#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/core/workspace.h"
#include "kernels/interaction/interaction_merge.h"

namespace hh::cpu {

/// Sizes of the scratch memory, in floats. Rows of channels are padded to whole vectors.
struct MergeLayout {
  explicit MergeLayout(const InteractionMergeShape& s)
      : pitch((std::int64_t{s.channels} + 15) / 16 * 16),
        grid_row((s.grid + 1) * pitch),
        half(s.side() / 2) {}
  std::int64_t pitch;     // of a row of channels
  std::int64_t grid_row;  // of a row of the global map, with one more pixel (see Tap)
  std::int64_t half;      // h / 2
};

/// What a thread keeps of the map in forward.
struct ForwardScratch {
  ForwardScratch(const MergeLayout& l, Workspace workspace)
      : up(workspace.take<float>(2 * l.grid_row)),
        sums(workspace.take<float>(4 * l.pitch)),
        left(workspace.take<float>(2 * l.pitch)),
        above(workspace.take<float>(l.half * l.pitch)),
        above_code(workspace.take<std::int32_t>(l.half * l.pitch)),
        bytes(workspace.bytes()) {}
  float* up;                 // [2][m + 1] pixels
  float* sums;               // [row][column] of 2 x 2 pixels
  float* left;               // [row]: the normalised column before them
  float* above;              // [h/2] pixels: maxima over three columns of the row above
  std::int32_t* above_code;  // [h/2] pixels: 0..2, which of the three
  std::size_t bytes;
};

struct BackwardScratch {
  BackwardScratch(const MergeLayout& l, Workspace workspace)
      : up(workspace.take<float>(2 * l.grid_row)),
        dup(workspace.take<float>(2 * l.grid_row)),
        g(workspace.take<float>(4 * l.pitch)),
        xhat(workspace.take<float>(4 * l.pitch)),
        zeros(workspace.take<float>(l.pitch)),
        bytes(workspace.bytes()) {}
  float* up;     // [2][m + 1] pixels, as in forward
  float* dup;    // [2][m + 1] pixels: their gradients
  float* g;      // [4] pixels
  float* xhat;   // [4] pixels
  float* zeros;  // one pixel, of whatever type
  std::size_t bytes;
};

/// Backward's chunks: `bands` per image, and what each adds up.
struct MergeChunks {
  explicit MergeChunks(const InteractionMergeShape& s)
      : pixels(std::int64_t{s.grid} * s.grid),
        channels(s.channels),
        // 32 chunks in all, or one per image if those are more: enough for the cores of a
        // workstation, few enough that their sums cost little.
        bands(std::clamp<std::int64_t>(s.images == 0 ? 1 : (32 + s.images - 1) / s.images, 1,
                                       s.side() / 2)),
        count(s.images * bands),
        pitch(MergeLayout(s).pitch),
        size((pixels + 2) * pitch) {}
  std::int64_t pixels, channels, bands, count;
  std::int64_t pitch, size;  // dglob [m*m, pitch], dgamma [pitch], dbeta [pitch]
};

/// up[i] = w0 * from[first] + w1 * from[first + 1]. At the far border first + 1 doesn't exist and
/// w1 is 0: the arrays have a pixel more.
struct Tap {
  Tap(std::int64_t i, std::int64_t grid, std::int64_t factor) {
    const std::int64_t twice = std::max<std::int64_t>(0, 2 * i + 1 - factor);  // 2s * position
    first = twice / (2 * factor);
    w1 = float(twice % (2 * factor)) / float(2 * factor);
    if (first >= grid - 1) {
      first = grid - 1;
      w1 = 0;
    }
    w0 = 1 - w1;
  }
  std::int64_t first;
  float w0, w1;
};

}  // namespace hh::cpu
