// SPDX-License-Identifier: Apache-2.0
// Batches have numbers; a worker takes the next number that is less than `ahead` beyond the one the
// consumer waits for, and puts the result into slot number % ahead. One mutex guards all of it: it
// is taken twice a batch.
#include "data/experiments/loader.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>

#include "data/experiments/shuffle.h"
#include "engine/files/file_error.h"
#include "kernels/core/check.h"

namespace hh::data {
std::string bad_images_text(const std::vector<BadImage>& bad, std::int64_t batch) {
  constexpr std::size_t kShown = 5;
  std::string text = std::to_string(bad.size()) + " bad image" + (bad.size() == 1 ? "" : "s") +
                     " in batch " + std::to_string(batch) + " (--skip-bad leaves them out):";
  for (std::size_t i = 0; i < bad.size() && i < kShown; ++i) {
    // Most errors begin with the path, which a place in a list doesn't.
    const bool named = bad[i].error.starts_with(bad[i].location);
    text += (i == 0 ? " " : "; ") + (named ? "" : bad[i].location + ": ") + bad[i].error;
  }
  if (bad.size() > kShown) text += "; and " + std::to_string(bad.size() - kShown) + " more";
  return text;
}

struct Loader::State {
  struct Slot {
    bool ready = false;
    Batch batch;
    std::vector<BadImage> bad;
    std::exception_ptr error;  // a mistake or lack of memory, not a bad image
  };

  const Dataset& dataset;
  const std::vector<std::int64_t> items;
  const TransformSpec spec;
  const LoaderOptions options;

  // Set by start() while no worker runs.
  std::uint32_t epoch = 0;
  std::vector<std::int64_t> order;  // positions in `items`
  std::int64_t batches = 0;

  std::mutex mutex;
  std::condition_variable work, done;  // room for another batch; a slot became ready
  std::atomic<bool> stop = false;      // written under the mutex; also read between images
  std::int64_t next_to_make = 0;
  std::int64_t next_to_give = 0;  // batches: the epoch is over
  std::vector<Slot> slots;
  std::vector<std::thread> threads;

  // The consumer's.
  Transformer own_transformer;
  Image own_image;
  std::vector<BadImage> bad;
  std::set<std::int64_t> bad_seen;

  State(const Dataset& dataset_in, std::vector<std::int64_t> items_in, const TransformSpec& spec_in,
        const LoaderOptions& options_in)
      : dataset(dataset_in),
        items(std::move(items_in)),
        spec(spec_in),
        options(options_in),
        own_transformer(spec_in) {
    HH_REQUIRE(options.batch_size >= 1 && options.batch_size <= 65536,
               "batch_size = " << options.batch_size << ": use 1 to 65536");
    HH_REQUIRE(options.workers >= 0 && options.workers <= 256,
               "workers = " << options.workers << ": use 0 to 256");
    HH_PRECONDITION(options.slices >= 1 && options.slice >= 0 && options.slice < options.slices,
                    "loader: slice " << options.slice << " of " << options.slices);
    HH_PRECONDITION(options.ahead >= 0 && options.ahead <= 4096,
                    "loader: ahead = " << options.ahead);
    for (const std::int64_t i : items) {
      HH_PRECONDITION(i >= 0 && i < dataset.size(),
                      "loader: item " << i << " of a data set of " << dataset.size());
    }
    const auto n = std::int64_t(items.size());
    batches = options.drop_last ? n / options.batch_size
                                : (n + options.batch_size - 1) / options.batch_size;
    next_to_give = batches;  // nothing until start()
  }

  ~State() { halt(); }

  void halt() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    work.notify_all();
    for (auto& thread : threads) thread.join();
    threads.clear();
  }

  void start(std::uint32_t epoch_in, std::int64_t first_batch) {
    HH_PRECONDITION(first_batch >= 0 && first_batch <= batches,
                    "loader: starts at batch " << first_batch << " of " << batches);
    halt();
    epoch = epoch_in;
    order.resize(items.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = std::int64_t(i);
    if (options.shuffle) shuffle(order, Philox(options.seed, RandomPurpose::kShuffle, epoch));
    stop = false;
    next_to_make = next_to_give = first_batch;
    const int ahead = options.ahead > 0 ? options.ahead : options.workers + 2;
    slots.resize(options.workers > 0 ? std::size_t(ahead) : 1);
    for (Slot& slot : slots) slot.ready = false;
    for (int i = 0; i < options.workers; ++i) threads.emplace_back([this] { run_worker(); });
  }

  /// Of a batch's images those to be made: [first, second) of `order`.
  std::pair<std::int64_t, std::int64_t> slice_of(std::int64_t number) const {
    const std::int64_t begin = number * options.batch_size;
    const std::int64_t end = std::min(begin + options.batch_size, std::int64_t(items.size()));
    const std::int64_t per = (end - begin + options.slices - 1) / options.slices;
    return {std::min(begin + per * options.slice, end),
            std::min(begin + per * (options.slice + 1), end)};
  }

  void make(std::int64_t number, Transformer& transformer, Image& image, Slot& slot) const {
    slot.bad.clear();
    slot.error = nullptr;
    Batch& batch = slot.batch;
    batch.number = number;
    batch.images = 0;
    batch.indices.clear();
    batch.labels.clear();
    try {
      const auto [begin, end] = slice_of(number);
      const std::size_t image_bytes =
          std::size_t(spec.size) * std::size_t(spec.size) * std::size_t(spec.channels);
      batch.pixels.resize(std::size_t(end - begin) * image_bytes);
      for (std::int64_t i = begin; i < end && !stop; ++i) {
        const std::int64_t position = order[std::size_t(i)];
        const std::int64_t index = items[std::size_t(position)];
        try {
          dataset.load(index, image);
          transformer.run(image, {options.seed, epoch, std::uint64_t(index)},
                          &batch.pixels[std::size_t(batch.images) * image_bytes]);
        } catch (const ImageError& e) {
          slot.bad.push_back({index, dataset.location(index), e.what()});
          continue;
        } catch (const TryAgain& e) {
          // A long training isn't given up for one file that couldn't be read this once.
          slot.bad.push_back({index, dataset.location(index), e.what()});
          continue;
        }
        batch.indices.push_back(position);
        const auto labels = dataset.labels().of(index);
        batch.labels.insert(batch.labels.end(), labels.begin(), labels.end());
        ++batch.images;
      }
      batch.pixels.resize(std::size_t(batch.images) * image_bytes);
    } catch (...) {
      slot.error = std::current_exception();
    }
  }

  void run_worker() {
    Transformer transformer(spec);
    Image image;
    std::unique_lock lock(mutex);
    while (true) {
      work.wait(lock, [&] {
        return stop || next_to_make >= batches ||
               next_to_make < next_to_give + std::int64_t(slots.size());
      });
      if (stop || next_to_make >= batches) return;
      const std::int64_t number = next_to_make++;
      // The slot is free: its last batch was given before next_to_give let this number through.
      Slot& slot = slots[std::size_t(number) % slots.size()];
      lock.unlock();
      make(number, transformer, image, slot);
      lock.lock();
      slot.ready = true;
      done.notify_one();
    }
  }

  /// Gives the batch next_to_give's slot, ready, to `use`, and then frees it.
  template <class Use>
  void take(Use use) {
    if (threads.empty()) {
      make(next_to_give, own_transformer, own_image, slots[0]);
      use(slots[0]);
      ++next_to_give;
      return;
    }
    std::unique_lock lock(mutex);
    Slot& slot = slots[std::size_t(next_to_give) % slots.size()];
    done.wait(lock, [&] { return slot.ready; });
    use(slot);
    slot.ready = false;
    ++next_to_give;
    lock.unlock();
    work.notify_one();
  }

  bool next(Batch& batch) {
    while (next_to_give < batches) {
      std::exception_ptr error;
      std::vector<BadImage> found;
      take([&](Slot& slot) {
        std::swap(batch, slot.batch);
        error = std::exchange(slot.error, nullptr);
        found.swap(slot.bad);
      });
      if (error || (!found.empty() && !options.skip_bad)) {
        halt();
        next_to_give = batches;
        if (error) std::rethrow_exception(error);
        throw std::runtime_error(bad_images_text(found, batch.number));
      }
      for (BadImage& b : found) {
        if (bad_seen.insert(b.index).second) bad.push_back(std::move(b));
      }
      if (batch.images > 0 || options.slices > 1) return true;
    }
    return false;
  }
};

Loader::Loader(const Dataset& dataset, std::vector<std::int64_t> items,
               const TransformSpec& transform, const LoaderOptions& options)
    : state_(std::make_unique<State>(dataset, std::move(items), transform, options)) {}
Loader::~Loader() = default;

void Loader::start(std::uint32_t epoch, std::int64_t first_batch) {
  state_->start(epoch, first_batch);
}
bool Loader::next(Batch& batch) { return state_->next(batch); }
std::int64_t Loader::items() const { return std::int64_t(state_->items.size()); }
std::int64_t Loader::batches() const { return state_->batches; }
const std::vector<BadImage>& Loader::bad() const { return state_->bad; }

}  // namespace hh::data
