// SPDX-License-Identifier: Apache-2.0
// Batch after batch of images to codes, so that a GPU isn't kept waiting: while it computes a batch the
// next one's pixels go there, and a size that comes again is replayed from a recording.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "engine/device/backend.h"
#include "model/hybridhash/hybridhash.h"
#include "model/training/pixels.h"

namespace hh {

class BatchCodes {
 public:
  /// Keeps a reference to `network`, whose parameters are placed on `device` and stay as they are.
  /// With or without recordings (`graph`) codes have the same bits.
  BatchCodes(const HybridHash& network, const PixelStatistics& statistics, DType dtype,
             Device device, bool graph = true);
  BatchCodes(const BatchCodes&) = delete;
  BatchCodes& operator=(const BatchCodes&) = delete;

  /// Takes pixels [B, S, S, C], B >= 1, which may change as soon as it returns. Gives the codes
  /// [B, bits] of the batch before; nothing for the first.
  std::optional<std::vector<float>> put(std::span<const std::uint8_t> pixels);
  /// Those of the last batch; nothing where there is none. Batches may follow.
  std::optional<std::vector<float>> finish();

  /// Whether batches of this size are replayed.
  bool recorded(int images) const { return recorded_.contains(images); }
  /// Of sizes, each with memory for its activations. Others are launched kernel by kernel.
  static constexpr std::size_t kMostRecorded = 4;

 private:
  struct Batch {
    Tensor pixels;  // [B, S, S, C] u8
    Tensor code;    // [B, bits]
  };
  struct RecordedBatch {
    std::shared_ptr<MemoryPool> pool;
    Batch batch;
    std::unique_ptr<LaunchGraph> graph;  // last: it goes before the memory
  };

  /// On the CPU: as many images at a time as its caches like.
  std::vector<float> codes_in_parts(std::span<const std::uint8_t> pixels, int images) const;
  Tensor pixels_of(std::int64_t images) const;
  void compute(Batch& batch) const;
  /// False where that can't be done, for good.
  bool record(int images);

  const HybridHash& network_;
  PixelStatistics statistics_;
  DType dtype_;
  Device device_;
  bool graph_;
  std::set<int> met_;  // sizes
  std::map<int, RecordedBatch> recorded_;
  Batch unrecorded_;
  Tensor pending_;                          // GPU: codes that are being computed
  std::optional<std::vector<float>> done_;  // CPU: they are computed at once
};

}  // namespace hh
