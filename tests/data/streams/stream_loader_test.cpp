// SPDX-License-Identifier: Apache-2.0
#include "data/streams/stream_loader.h"

#include <catch2/catch.hpp>
#include <stdexcept>
#include <thread>

#include "data/images/decode.h"
#include "engine/files/file_error.h"

namespace hh::data {
namespace {

/// Image i is one pixel of value i; some are bad.
class Counting final : public ImageStream {
 public:
  Counting(StreamRange range, std::int64_t count) : ImageStream(range), next_(range.first) {
    end_ = range.last >= 0 ? range.last : count;
  }
  bool next(StreamedImage& image, const std::atomic<bool>& stop) override {
    if (next_ == fails_at) throw TryAgain("the disk");
    if (next_ == waits_at) {
      while (!stop) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return false;
    }
    if (next_ == end_) return false;
    image.position = next_;
    image.id = 100 + next_;
    image.name = std::to_string(next_++);
    return true;
  }
  void load(const StreamedImage& image, Image& pixels) const override {
    if (image.position == breaks_at) throw TryAgain("the network");
    if (image.position % 10 == 7) throw ImageError(image.name + " is bad");
    pixels.reshape(1, 1, 1);
    pixels.pixels[0] = std::uint8_t(image.position + 1);
  }
  std::int64_t fails_at = -1, waits_at = -1, breaks_at = -1;

 private:
  std::int64_t next_, end_;
};

TransformSpec one_pixel() {
  TransformSpec spec;
  spec.size = 1;
  spec.channels = 1;
  spec.resize = Resize::kNone;
  return spec;
}

struct Seen {
  std::vector<std::vector<int>> batches;  // pixels
  std::vector<std::int64_t> ids, bad;
};

Seen run(Counting& stream, int workers = 3, int batch_size = 4) {
  StreamLoader loader(stream, one_pixel(), {.batch_size = batch_size, .workers = workers});
  Seen seen;
  for (StreamedBatch batch; loader.next(batch);) {
    seen.batches.emplace_back(batch.pixels.begin(), batch.pixels.end());
    REQUIRE(batch.rows == std::int64_t(batch.pixels.size()));
    for (const auto& item : batch.items) {
      CHECK(item.name == std::to_string(item.id - 100));
      CHECK(batch.pixels[std::size_t(item.row)] == std::uint8_t(item.id - 100 + 1));
      seen.ids.push_back(item.id);
    }
    for (const auto& bad : batch.bad) seen.bad.push_back(bad.id);
  }
  return seen;
}

TEST_CASE("a stream comes in batches, bad images as rows of zeros", "[stream_loader]") {
  for (const int workers : {0, 1, 3, 8}) {
    CAPTURE(workers);
    Counting stream({}, 10);
    const Seen seen = run(stream, workers);
    CHECK(seen.batches == std::vector<std::vector<int>>{{1, 2, 3, 4}, {5, 6, 7, 0}, {9, 10}});
    CHECK(seen.ids == std::vector<std::int64_t>{100, 101, 102, 103, 104, 105, 106, 108, 109});
    CHECK(seen.bad == std::vector<std::int64_t>{107});
  }
}

TEST_CASE("a shard's images keep their rows, and its batches their lengths", "[stream_loader]") {
  Counting middle({.first = 2, .last = 6, .total = 10}, 0);
  CHECK(run(middle).batches == std::vector<std::vector<int>>{{0, 0, 3, 4}, {5, 6, 0, 0}});
  Counting end({.first = 9, .last = 10, .total = 10}, 0);
  CHECK(run(end).batches == std::vector<std::vector<int>>{{0, 10}});
  Counting none({.first = 4, .last = 4, .total = 10}, 0);
  CHECK(run(none).batches.empty());
  Counting small({.first = 0, .last = 3, .total = 3}, 0);
  CHECK(run(small, 2, 256).batches == std::vector<std::vector<int>>{{1, 2, 3}});
}

TEST_CASE("many images with many workers come in order", "[stream_loader]") {
  Counting stream({}, 5000);
  const Seen seen = run(stream, 7, 3);
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < 5000; ++i) {
    if (i % 10 != 7) ids.push_back(100 + i);
  }
  CHECK(seen.ids == ids);
  CHECK(seen.bad.size() == 500);
}

TEST_CASE("what ends a stream ends the work", "[stream_loader]") {
  Counting fails({}, 100);
  fails.fails_at = 50;
  CHECK_THROWS_AS(run(fails), TryAgain);
  Counting breaks({}, 100);
  breaks.breaks_at = 33;
  CHECK_THROWS_AS(run(breaks), TryAgain);
}

TEST_CASE("a stream that waits for ever can be left", "[stream_loader]") {
  Counting stream({}, 100);
  stream.waits_at = 9;
  int asked = 0;
  StreamLoader loader(stream, one_pixel(), {.batch_size = 4, .workers = 2, .while_waiting = [&] {
                                              if (++asked == 2) throw std::domain_error("enough");
                                            }});
  StreamedBatch batch;
  // What is whole is given while the rest is waited for.
  REQUIRE(loader.next(batch));
  REQUIRE(loader.next(batch));
  CHECK(batch.number == 1);
  CHECK_THROWS_AS(loader.next(batch), std::domain_error);
}

}  // namespace
}  // namespace hh::data
