// SPDX-License-Identifier: Apache-2.0
#include "data/experiments/loader.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <set>
#include <string>
#include <thread>

namespace hh::data {
namespace {

using Catch::Contains;

/// Images of 6 x 6 whose grey value is their index; some are bad, slow, or a mistake of ours.
class TestDataset : public Dataset {
 public:
  explicit TestDataset(std::int64_t items) : Dataset(labels_of(items), {}) {}
  std::string name(std::int64_t index) const override { return "item" + std::to_string(index); }
  std::string location(std::int64_t index) const override {
    return "list.txt:" + std::to_string(index + 1) + ": " + name(index);
  }
  using Dataset::load;
  void load(std::int64_t index, Image& image) const override {
    check_index(index);
    ++loads;
    if (bad.contains(index)) throw ImageError(name(index) + ": broken");
    if (mistake == index) throw std::logic_error("a mistake");
    // Earlier images of a batch take longer than later ones, so that workers overtake each other.
    if (slow) std::this_thread::sleep_for(std::chrono::microseconds(50 * (7 - index % 7)));
    image.reshape(6, 6, 1);
    for (std::size_t i = 0; i < 36; ++i) image.pixels[i] = std::uint8_t(index * 7 + i64(i));
  }

  std::set<std::int64_t> bad;
  std::int64_t mistake = -1;
  bool slow = false;
  mutable std::atomic<int> loads = 0;

 private:
  static std::int64_t i64(std::size_t i) { return std::int64_t(i); }
  static Labels labels_of(std::int64_t items) {
    Labels labels(items, 70);
    for (std::int64_t i = 0; i < items; ++i) labels.set(i, int(i % 70));
    return labels;
  }
};

TransformSpec random_crop() {
  TransformSpec spec;
  spec.size = 4;
  spec.channels = 1;
  spec.resize = Resize::kNone;
  spec.crop = Crop::kAnywhere;
  spec.flip_probability = 0.5f;
  return spec;
}

std::vector<std::int64_t> every_second(std::int64_t n) {
  std::vector<std::int64_t> items;
  for (std::int64_t i = 0; i < n; ++i) items.push_back(2 * i);
  return items;
}

struct Epoch {
  std::vector<Batch> batches;
  std::vector<std::int64_t> indices() const {
    std::vector<std::int64_t> all;
    for (const Batch& b : batches) all.insert(all.end(), b.indices.begin(), b.indices.end());
    return all;
  }
};

Epoch run(Loader& loader, std::uint32_t epoch, std::int64_t first_batch = 0) {
  Epoch result;
  loader.start(epoch, first_batch);
  Batch batch;
  while (loader.next(batch)) result.batches.push_back(batch);
  REQUIRE_FALSE(loader.next(batch));
  return result;
}

bool same(const Batch& a, const Batch& b) {
  return a.images == b.images && a.number == b.number && a.pixels == b.pixels &&
         a.indices == b.indices && a.labels == b.labels;
}

bool same(const Epoch& a, const Epoch& b) {
  return std::equal(a.batches.begin(), a.batches.end(), b.batches.begin(), b.batches.end(),
                    [](const Batch& x, const Batch& y) { return same(x, y); });
}

TEST_CASE("batches hold pixels, bank rows and labels of their images", "[data][loader]") {
  const TestDataset set(40);
  TransformSpec spec = random_crop();
  spec.size = 6;
  spec.crop = Crop::kCentre;
  spec.flip_probability = 0;
  Loader loader(set, every_second(20), spec, {.batch_size = 8});
  REQUIRE(loader.items() == 20);
  REQUIRE(loader.batches() == 3);
  const Epoch epoch = run(loader, 0);
  REQUIRE(epoch.batches.size() == 3);
  REQUIRE(epoch.batches[2].images == 4);  // the short last one
  for (const Batch& batch : epoch.batches) {
    REQUIRE(batch.pixels.size() == std::size_t(batch.images) * 36);
    REQUIRE(batch.labels.size() == std::size_t(batch.images) * 2);  // 70 classes: two words
    for (std::size_t i = 0; i < std::size_t(batch.images); ++i) {
      const std::int64_t position = batch.indices[i], index = 2 * position;
      REQUIRE(position == batch.number * 8 + std::int64_t(i));
      REQUIRE(batch.pixels[36 * i + 35] == std::uint8_t(index * 7 + 35));
      REQUIRE(batch.labels[2 * i] == std::uint64_t{1} << index);
      REQUIRE(batch.labels[2 * i + 1] == 0);
    }
  }
}

TEST_CASE("what comes out doesn't depend on the number of workers", "[data][loader]") {
  TestDataset set(120);
  set.slow = true;
  set.bad = {22, 24, 90};
  LoaderOptions options = {.batch_size = 7, .shuffle = true, .seed = 3, .skip_bad = true};
  Loader alone(set, every_second(60), random_crop(), options);
  const Epoch first = run(alone, 0), second = run(alone, 1);
  REQUIRE_FALSE(same(first, second));
  REQUIRE(first.indices() != second.indices());
  for (const int workers : {1, 2, 5}) {
    for (const int ahead : {0, 1, 9}) {
      options.workers = workers;
      options.ahead = ahead;
      Loader loader(set, every_second(60), random_crop(), options);
      REQUIRE(same(run(loader, 0), first));
      REQUIRE(same(run(loader, 1), second));
      REQUIRE(same(run(loader, 0), first));
      REQUIRE(loader.bad().size() == 3);  // each once
    }
  }
}

TEST_CASE("an epoch is a permutation; without shuffling, the list", "[data][loader]") {
  const TestDataset set(50);
  std::vector<std::int64_t> wanted(25);
  for (std::size_t i = 0; i < 25; ++i) wanted[i] = std::int64_t(i);
  Loader plain(set, every_second(25), random_crop(), {.batch_size = 4});
  REQUIRE(run(plain, 5).indices() == wanted);
  Loader shuffled(set, every_second(25), random_crop(), {.batch_size = 4, .shuffle = true});
  auto order = run(shuffled, 5).indices();
  REQUIRE(order != wanted);
  std::sort(order.begin(), order.end());
  REQUIRE(order == wanted);
}

TEST_CASE("an epoch resumes at any batch", "[data][loader]") {
  const TestDataset set(60);
  for (const int workers : {0, 3}) {
    Loader loader(set, every_second(30), random_crop(),
                  {.batch_size = 4, .shuffle = true, .workers = workers});
    const Epoch whole = run(loader, 2);
    for (std::int64_t first = 0; first <= loader.batches(); ++first) {
      const Epoch rest = run(loader, 2, first);
      REQUIRE(std::int64_t(rest.batches.size()) == loader.batches() - first);
      for (std::size_t i = 0; i < rest.batches.size(); ++i) {
        REQUIRE(same(rest.batches[i], whole.batches[std::size_t(first) + i]));
      }
    }
    REQUIRE_THROWS_AS(loader.start(2, loader.batches() + 1), std::invalid_argument);
    REQUIRE_THROWS_AS(loader.start(2, -1), std::invalid_argument);
  }
}

TEST_CASE("the slices of a batch, end to end, are the batch", "[data][loader]") {
  const TestDataset set(60);
  const int slices = GENERATE(2, 3, 5, 9);
  const int workers = GENERATE(0, 2);
  CAPTURE(slices, workers);
  LoaderOptions options{.batch_size = 8, .shuffle = true, .seed = 3, .workers = workers};
  Loader whole(set, every_second(19), random_crop(), options);
  const Epoch want = run(whole, 1);
  REQUIRE(want.batches.back().images == 3);  // with more slices some are empty
  options.slices = slices;
  Epoch joined;
  for (options.slice = 0; options.slice < slices; ++options.slice) {
    Loader loader(set, every_second(19), random_crop(), options);
    const Epoch epoch = run(loader, 1);
    REQUIRE(epoch.batches.size() == want.batches.size());
    joined.batches.resize(epoch.batches.size());
    for (std::size_t b = 0; b < epoch.batches.size(); ++b) {
      const Batch& slice = epoch.batches[b];
      Batch& all = joined.batches[b];
      const int per = (want.batches[b].images + slices - 1) / slices;
      REQUIRE(slice.images <= per);
      REQUIRE(all.images == std::min(options.slice * per, want.batches[b].images));
      all.number = slice.number;
      all.images += slice.images;
      all.pixels.insert(all.pixels.end(), slice.pixels.begin(), slice.pixels.end());
      all.indices.insert(all.indices.end(), slice.indices.begin(), slice.indices.end());
      all.labels.insert(all.labels.end(), slice.labels.begin(), slice.labels.end());
    }
  }
  REQUIRE(same(joined, want));
}

TEST_CASE("a slice without a readable image is a batch all the same", "[data][loader]") {
  TestDataset set(8);
  set.bad = {0, 1};
  Loader loader(set, {0, 1, 2, 3, 4, 5}, random_crop(),
                {.batch_size = 4, .skip_bad = true, .slice = 0, .slices = 2});
  const Epoch epoch = run(loader, 0);
  REQUIRE(epoch.batches.size() == 2);
  CHECK(epoch.batches[0].images == 0);
  CHECK(epoch.batches[1].images == 1);
}

TEST_CASE("drop_last leaves the short batch out", "[data][loader]") {
  const TestDataset set(60);
  Loader loader(set, every_second(30), random_crop(), {.batch_size = 8, .drop_last = true});
  REQUIRE(loader.batches() == 3);
  REQUIRE(run(loader, 0).indices().size() == 24);
  Loader none(set, {}, random_crop(), {});
  REQUIRE(none.batches() == 0);
  REQUIRE(run(none, 0).batches.empty());
}

TEST_CASE("bad images stop the epoch, listed by line", "[data][loader]") {
  TestDataset set(60);
  set.bad = {10, 12, 40};
  for (const int workers : {0, 2}) {
    Loader loader(set, every_second(30), random_crop(), {.batch_size = 5, .workers = workers});
    loader.start(0);
    Batch batch;
    REQUIRE(loader.next(batch));
    REQUIRE_THROWS_WITH(loader.next(batch),
                        Contains("2 bad images in batch 1 (--skip-bad leaves them out): ") &&
                            !Contains("\n") && Contains("list.txt:11: item10: item10: broken") &&
                            Contains("list.txt:13: "));
    REQUIRE_FALSE(loader.next(batch));
    REQUIRE_THROWS_AS((loader.start(0), loader.next(batch), loader.next(batch)),
                      std::runtime_error);
  }
}

TEST_CASE("skip_bad leaves bad images out and counts each once", "[data][loader]") {
  TestDataset set(60);
  set.bad = {10, 12, 14, 16, 18, 40};  // all of batch 1, one of batch 4
  for (const int workers : {0, 2}) {
    Loader loader(set, every_second(30), random_crop(),
                  {.batch_size = 5, .workers = workers, .skip_bad = true});
    const Epoch epoch = run(loader, 0);
    REQUIRE(epoch.batches.size() == 5);
    REQUIRE(epoch.batches[1].number == 2);
    REQUIRE(epoch.batches[3].images == 4);
    REQUIRE(epoch.indices().size() == 24);
    run(loader, 1);
    REQUIRE(loader.bad().size() == 6);
    REQUIRE(loader.bad()[0].index == 10);
    REQUIRE(loader.bad()[5].location == "list.txt:41: item40");
    REQUIRE(loader.bad()[5].error == "item40: broken");
  }
}

TEST_CASE("a mistake in a worker comes out of next()", "[data][loader]") {
  TestDataset set(60);
  set.mistake = 24;
  for (const int workers : {0, 3}) {
    Loader loader(set, every_second(30), random_crop(),
                  {.batch_size = 5, .workers = workers, .skip_bad = true});
    loader.start(0);
    Batch batch;
    REQUIRE(loader.next(batch));
    REQUIRE(loader.next(batch));
    REQUIRE_THROWS_AS(loader.next(batch), std::logic_error);
    REQUIRE_FALSE(loader.next(batch));
  }
}

TEST_CASE("a loader may be restarted or dropped at any moment", "[data][loader]") {
  TestDataset set(200);
  set.slow = true;
  Loader reference(set, every_second(100), random_crop(), {.batch_size = 3, .shuffle = true});
  const Epoch whole = run(reference, 1);
  for (int taken = 0; taken < 12; ++taken) {
    Loader loader(set, every_second(100), random_crop(),
                  {.batch_size = 3, .shuffle = true, .workers = 4});
    Batch batch;
    loader.start(0);
    for (int i = 0; i < taken; ++i) REQUIRE(loader.next(batch));
    loader.start(1);
    for (int i = 0; i < taken; ++i) {
      REQUIRE(loader.next(batch));
      REQUIRE(same(batch, whole.batches[std::size_t(i)]));
    }
  }
  Loader never_started(set, every_second(100), random_crop(), {.workers = 2});
  Batch batch;
  REQUIRE_FALSE(never_started.next(batch));
}

TEST_CASE("dropping a loader waits for images, not for batches", "[data][loader]") {
  TestDataset set(4000);
  set.slow = true;
  {
    Loader loader(set, every_second(2000), random_crop(), {.batch_size = 1000, .workers = 2});
    loader.start(0);
    while (set.loads == 0) std::this_thread::yield();
  }
  REQUIRE(set.loads < 1000);
}

TEST_CASE("workers stay within the bound", "[data][loader]") {
  const TestDataset set(2000);
  Loader loader(set, every_second(1000), random_crop(),
                {.batch_size = 10, .workers = 3, .ahead = 4});
  loader.start(0);
  Batch batch;
  REQUIRE(loader.next(batch));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  REQUIRE(set.loads <= 50);  // the batch given and four ahead
}

TEST_CASE("loader names what it refuses", "[data][loader]") {
  const TestDataset set(10);
  const auto make = [&](const LoaderOptions& options, std::vector<std::int64_t> items = {1}) {
    Loader loader(set, std::move(items), random_crop(), options);
  };
  REQUIRE_THROWS_WITH(make({.batch_size = 0}), Contains("batch_size = 0"));
  REQUIRE_THROWS_WITH(make({.workers = -1}), Contains("workers = -1"));
  REQUIRE_THROWS_WITH(make({.ahead = 5000}), Contains("ahead = 5000"));
  REQUIRE_THROWS_WITH(make({}, {10}), Contains("item 10 of a data set of 10"));
}

}  // namespace
}  // namespace hh::data
