// SPDX-License-Identifier: Apache-2.0
// From a decoded image of any size to the S x S pixels that the network sees. Resize, then crop
// (random or centre), then flip; what a crop takes from outside the image is zero, so an image
// smaller than S is padded. Source: docs/specification.md, section 4.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "data/images/image.h"
#include "data/images/resize.h"

namespace hh::data {

inline constexpr std::array<float, 3> kImageNetMean = {0.485f, 0.456f, 0.406f};
inline constexpr std::array<float, 3> kImageNetStd = {0.229f, 0.224f, 0.225f};

enum class Resize {
  kNone,
  kShorterSide,  // shorter side to resize_to, the longer to int(resize_to * long / short)
  kExact,        // both sides to resize_to
};
enum class Crop {
  kCentre,      // as torchvision: top = round((h - S) / 2), halves to even
  kAnywhere,    // corner uniform over all that lie inside the image
  kNearCentre,  // the centre's corner plus a shift uniform in [-max_shift, max_shift] on each axis
};

struct TransformSpec {
  int size = 224;    // S
  int channels = 3;  // 1 or 3
  Resize resize = Resize::kShorterSide;
  int resize_to = 256;
  Crop crop = Crop::kCentre;
  int max_shift = 0;
  float flip_probability = 0;
  std::array<float, 3> mean = kImageNetMean;  // of values in [0, 1]; grey uses the first
  std::array<float, 3> std = kImageNetStd;

  /// Throws std::invalid_argument naming the field.
  void validate() const;
  /// Nothing random in it.
  bool fixed() const { return crop == Crop::kCentre && flip_probability == 0; }
};

/// The reference's pipeline for files at side S (224: shorter side to 256; other S in proportion).
TransformSpec image_eval_transform(int size, int channels = 3);
TransformSpec image_train_transform(int size, int channels = 3);

/// Resizes beforehand as a transform will, where that takes no more memory: what it gives of the result
/// are the same bits, whatever its crop and flip, and the same errors.
void resize_if_smaller(const TransformSpec& spec, Image& image);

/// What random choices depend on, and nothing else: not the batch, the thread or the order.
struct DrawKey {
  std::uint64_t seed = 0;
  std::uint32_t epoch = 0;
  std::uint64_t index = 0;  // of the image in its data set
};

/// One per thread (it keeps scratch memory).
class Transformer {
 public:
  explicit Transformer(const TransformSpec& spec);
  /// Writes S*S*C bytes (HWC). `image` may have its channels converted.
  void run(Image& image, const DrawKey& key, std::uint8_t* out);

 private:
  TransformSpec spec_;
  Resizer resizer_;
};

/// (v / 255 - mean) / std in float32 as torchvision's ToTensor and Normalize compute it, HWC to
/// CHW.
std::vector<float> normalise(const std::uint8_t* pixels, const TransformSpec& spec);

}  // namespace hh::data
