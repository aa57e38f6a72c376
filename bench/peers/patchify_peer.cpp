// SPDX-License-Identifier: Apache-2.0
#include "bench/peers/make.h"
#include "kernels/input/patchify.h"

namespace hh::bench {
namespace {

/// cudnnTransformTensor takes five axes at most and the permutation has six, so it takes two
/// copies. Between them an image's lines have their patch row before the channel.
struct Patches {
  explicit Patches(const PatchShape& s)
      : channels(s.channels),
        size(s.size),
        patch(s.patch),
        across(s.size / s.patch),
        bands{s.images, channels, across, patch * size},
        pieces{s.images * across, channels * patch, across, patch} {}

  View in_image(const float* p) const { return dense(p, bands); }
  /// The bands of patch rows, first in the image's axes, then cut into patches.
  View bands_of(const View& lines) const {
    return strided(lines, bands,
                   {size * size * channels, patch * size, patch * size * channels, 1});
  }
  View pieces_of(const View& lines) const {
    return strided(lines, pieces, {patch * size * channels, size, patch, 1});
  }
  View in_rows(const View& rows) const {
    const std::int64_t row = channels * patch * patch;
    return strided(rows, pieces, {across * row, patch, row, 1});
  }

  std::int64_t channels, size, patch, across;
  Extents bands, pieces;
};

}  // namespace

template <class T>
Peer make(const PatchifyForward<T>& p, StreamHandle stream) {
  const auto c = std::make_shared<Composition>(stream);
  const Patches patches(p.shape);
  View image = patches.in_image(p.image);
  if constexpr (!std::is_same_v<T, float>) {
    const View narrow = c->scratch(kCudnnType<T>, image.dim);
    c->unary(Unary::kCopy, image, narrow);
    image = narrow;
  }
  const View lines = c->scratch(kCudnnType<T>, image.dim);
  c->copy(image, patches.bands_of(lines));
  c->copy(patches.pieces_of(lines), patches.in_rows(dense(p.rows, {1})));
  return Composition::finish(c);
}

template <class T>
Peer make(const PatchifyBackward<T>& p, StreamHandle stream) {
  const auto c = std::make_shared<Composition>(stream);
  const Patches patches(p.shape);
  const View image = patches.in_image(p.dimage);
  const View lines = c->scratch(kCudnnType<T>, image.dim);
  c->copy(patches.in_rows(dense(p.drows, {1})), patches.pieces_of(lines));
  if constexpr (std::is_same_v<T, float>) {
    c->copy(patches.bands_of(lines), image);
  } else {
    const View narrow = c->scratch(kCudnnType<T>, image.dim);
    c->copy(patches.bands_of(lines), narrow);
    c->unary(Unary::kCopy, narrow, image);
  }
  return Composition::finish(c);
}

template <class T>
Peer make(const PatchifyPixels<T>& p, StreamHandle stream) {
  const auto c = std::make_shared<Composition>(stream);
  const std::int64_t channels = p.shape.channels, size = p.shape.size, patch = p.shape.patch,
                     across = size / patch, line = size * channels, row = channels * patch * patch;
  const Extents all{1, p.shape.images * size * size, channels}, each{1, 1, channels};
  std::vector<float> factor, offset;
  for (int i = 0; i < p.shape.channels; ++i) {
    factor.push_back(1 / (255 * p.std[i]));
    offset.push_back(p.mean[i] / p.std[i]);
  }
  const View values = c->scratch(CUDNN_DATA_FLOAT, all),
             normalised = c->scratch(kCudnnType<T>, all);
  c->unary(Unary::kCopy, dense(p.pixels, all), values);
  c->binary(Binary::kMultiply, values, c->constant(factor, each), values);
  c->binary(Binary::kSubtract, values, c->constant(offset, each), normalised);
  // Patch row, its line, patch, pixel of the line, channel.
  const Extents axes{p.shape.images * across, patch, across, patch, channels};
  c->copy(strided(normalised, axes, {patch * line, line, patch * channels, channels, 1}),
          strided(dense(p.rows, {1}), axes, {across * row, patch, row, 1, patch * patch}));
  return Composition::finish(c);
}

template Peer make(const PatchifyForward<float>&, StreamHandle);
template Peer make(const PatchifyForward<bf16>&, StreamHandle);
template Peer make(const PatchifyBackward<float>&, StreamHandle);
template Peer make(const PatchifyBackward<bf16>&, StreamHandle);
template Peer make(const PatchifyPixels<float>&, StreamHandle);
template Peer make(const PatchifyPixels<bf16>&, StreamHandle);

}  // namespace hh::bench
