// SPDX-License-Identifier: Apache-2.0
#include "model/hybridhash/batch_codes.h"

#include <string>
#include <utility>

#include "engine/text/log.h"

namespace hh {

BatchCodes::BatchCodes(const HybridHash& network, const PixelStatistics& statistics, DType dtype,
                       Device device, bool graph)
    : network_(network), statistics_(statistics), dtype_(dtype), device_(device), graph_(graph) {}

Tensor BatchCodes::pixels_of(std::int64_t images) const {
  const HybridHashConfig& c = network_.config();
  return {{images, c.image_size, c.image_size, c.in_channels}, DType::u8, device_};
}

void BatchCodes::compute(Batch& batch) const {
  batch.code = network_.forward(patch_rows(network_, batch.pixels, statistics_, dtype_)).code;
}

bool BatchCodes::record(int images) {
  // What a launched batch left behind is of the sizes that the graph needs in its own pool.
  unrecorded_ = {};
  release_cached_memory(device_);
  try {
    RecordedBatch made{
        .pool = std::make_shared<MemoryPool>(device_), .batch = {}, .graph = nullptr};
    const UsePool own(made.pool);
    made.batch.pixels = pixels_of(images);
    made.graph = backend(device_).record([&] { compute(made.batch); });
    if (!made.graph) return false;
    recorded_.emplace(images, std::move(made));
    return true;
  } catch (const OutOfMemory& e) {
    log(LogLevel::kInfo, std::string("batches are not recorded: ") + e.what());
    return false;
  }
}

std::optional<std::vector<float>> BatchCodes::put(std::span<const std::uint8_t> pixels) {
  if (device_ == kCpu) {
    const Tensor rows = patch_rows(network_, pixels, statistics_, dtype_, device_);
    return std::exchange(done_, network_.forward(rows).code.to_host<float>());
  }
  const HybridHashConfig& c = network_.config();
  const std::size_t image =
      std::size_t(c.image_size) * std::size_t(c.image_size) * std::size_t(c.in_channels);
  HH_PRECONDITION(!pixels.empty() && pixels.size() % image == 0,
                  pixels.size() << " pixel values aren't a whole number of images of " << image);
  const int images = int(pixels.size() / image);
  // As in training the second batch of a size is worth a recording: libraries have chosen their
  // algorithms by then.
  const bool again = !met_.insert(images).second;
  const bool wanted = graph_ && again && !recorded(images) && recorded_.size() < kMostRecorded;
  if (wanted) graph_ = record(images);
  const auto found = recorded_.find(images);
  const bool replays = found != recorded_.end();
  Batch& batch = replays ? found->second.batch : unrecorded_;
  if (!replays) batch.pixels = pixels_of(images);
  // In the stream's order: behind what still computes, before the codes below are waited for.
  batch.pixels.copy_from(pixels);
  auto before = finish();
  if (replays) {
    found->second.graph->replay();
  } else {
    compute(batch);
  }
  pending_ = batch.code;
  return before;
}

std::optional<std::vector<float>> BatchCodes::finish() {
  if (device_ == kCpu) return std::exchange(done_, std::nullopt);
  if (!pending_) return {};
  return std::exchange(pending_, {}).to_host<float>();
}

}  // namespace hh
