// SPDX-License-Identifier: Apache-2.0
// The sizes of a HybridHash network. Everything else follows from them
// (docs/specification.md, section 1, "Notation").
#pragma once
#include <array>
#include <string>

namespace hh {

struct HybridHashConfig {
  int image_size = 224;                    // S: side of the square input, pixels
  int patch = 4;                           // p: S / p must be a multiple of 4
  int in_channels = 3;                     // 1 to 4
  std::array<int, 3> dims{128, 256, 512};  // C_l, multiples of 8 and of heads
  std::array<int, 3> heads{4, 8, 16};      // H_l; head width C_l / H_l is 1 to 128
  std::array<int, 3> depths{2, 2, 15};     // D_l: transformer layers, >= 1
  int bits = 64;                           // K: 1 to 512
  float drop_path = 0.5f;  // rate of the last layer, 0 to < 1; layers before it rise to it from 0

  static constexpr int kLevels = 3;
  static constexpr int kInteractionHeads = 8;

  int grid() const { return image_size / patch; }                   // g: tokens per side of level 0
  int block_side() const { return grid() / 4; }                     // b: the same on every level
  int block_tokens() const { return block_side() * block_side(); }  // N
  static int blocks_per_side(int level) { return 4 >> level; }      // 4, 2, 1
  int layers() const { return depths[0] + depths[1] + depths[2]; }

  /// Throws std::invalid_argument naming the field, its value, the limit and the cure.
  void validate() const;

  /// The paper's network ("paper": 224 px, 55.6 M parameters at 16 bits), the reference class's own
  /// default ("class-default": depths 2, 2, 20), or the small one for 32 px images ("micro").
  static HybridHashConfig preset(const std::string& name);

  bool operator==(const HybridHashConfig&) const = default;
};

/// One line of JSON, as stored in checkpoints, and back. from_json throws std::invalid_argument.
std::string to_json(const HybridHashConfig& config);
HybridHashConfig config_from_json(const std::string& text);

}  // namespace hh
