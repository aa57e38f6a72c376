// SPDX-License-Identifier: Apache-2.0
#include "model/hybridhash/batch_codes.h"

#include <algorithm>
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

std::vector<float> BatchCodes::codes_in_parts(std::span<const std::uint8_t> pixels,
                                              int images) const {
  // The widest activations, of the first level's MLPs, stay in the third-level cache; but products want
  // some rows (docs/decisions/cpu_kernels.md).
  constexpr std::size_t kMostBytes = 8 << 20, kLeastImages = 8;
  const HybridHashConfig& c = network_.config();
  const auto side = std::size_t(c.grid());
  const std::size_t widest = side * side * 4 * std::size_t(c.dims[0]) * size_bytes(dtype_);
  const auto most = int(std::max(kMostBytes / widest, kLeastImages));
  const int parts = (images + most - 1) / most;
  const std::size_t image = pixels.size() / std::size_t(images);
  std::vector<float> codes;
  for (int i = 0, first = 0; i < parts; ++i) {
    const int end = int(std::int64_t{images} * (i + 1) / parts);
    const auto part = pixels.subspan(std::size_t(first) * image, std::size_t(end - first) * image);
    const Tensor rows = patch_rows(network_, part, statistics_, dtype_, device_);
    const std::vector<float> some = network_.forward(rows).code.to_host<float>();
    codes.insert(codes.end(), some.begin(), some.end());
    first = end;
  }
  return codes;
}

std::optional<std::vector<float>> BatchCodes::put(std::span<const std::uint8_t> pixels) {
  const HybridHashConfig& c = network_.config();
  const std::size_t image =
      std::size_t(c.image_size) * std::size_t(c.image_size) * std::size_t(c.in_channels);
  HH_PRECONDITION(!pixels.empty() && pixels.size() % image == 0,
                  pixels.size() << " pixel values aren't a whole number of images of " << image);
  const int images = int(pixels.size() / image);
  if (device_ == kCpu) return std::exchange(done_, codes_in_parts(pixels, images));
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
