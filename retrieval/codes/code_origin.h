// SPDX-License-Identifier: Apache-2.0
// What codes were made of and by: known to code files, indexes and collections alike.
#pragma once
#include <optional>
#include <string>

namespace hh::retrieval {

struct CodeOrigin {
  std::string model_hash;  // of the weights (model_hash.h); empty: unknown
  std::string source;      // what was encoded, in words; may be empty
  /// Whether photographs were turned as their EXIF data says before they were encoded.
  std::optional<bool> exif_orientation;
  /// JPEGs were decoded at 1/2, 1/4 or 1/8 while this much of the shorter side was left, which changes
  /// some bits; 0: whole, or not known.
  int scaled_shorter_side = 0;
  /// Some of the codes are of int8 and others aren't, or some of JPEGs that were decoded otherwise: the
  /// above is true of the first of them.
  bool int8_mixed = false, decoding_mixed = false;

  bool operator==(const CodeOrigin&) const = default;

  /// Codes of `added` join these, of which there is at least one; it has passed check_codes_meet().
  void join(const CodeOrigin& added) {
    int8_mixed = int8_mixed || added.int8_mixed;
    decoding_mixed = decoding_mixed || added.decoding_mixed;
    if (model_hash.empty() || added.model_hash.empty())
      return;  // nothing is known of the one or the other
    int8_mixed = int8_mixed || model_hash != added.model_hash;
    // Without a source they came as codes, or by the server: how pictures were decoded isn't known.
    if (!source.empty() && !added.source.empty() &&
        scaled_shorter_side != added.scaled_shorter_side) {
      decoding_mixed = true;
    }
  }
};

inline constexpr int kMostScaledSide = 1 << 16;

}  // namespace hh::retrieval
