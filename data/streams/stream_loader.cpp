// SPDX-License-Identifier: Apache-2.0
// A worker takes one image after another: under the first mutex its turn in the stream, which may have
// to be waited for, and without one the decoding. Batch b is made in slot b % slots; a second mutex
// guards the slots, so that the consumer takes a batch that is ready while a worker waits for a pipe.
#include "data/streams/stream_loader.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "data/images/decode.h"
#include "kernels/core/check.h"

namespace hh::data {

struct StreamLoader::State {
  struct Slot {
    std::int64_t rows = 0;     // given to workers or behind them
    std::int64_t in_work = 0;  // of them
    bool full = false;         // no more rows come
    std::vector<std::uint8_t> pixels;
    std::vector<StreamedImage> images;  // by row; id -1: not of this range
    std::vector<std::string> errors;    // by row; empty: a good image
  };

  ImageStream& stream;
  const TransformSpec spec;
  const StreamLoaderOptions options;
  const std::int64_t batch_size, first_batch;
  const std::size_t image_bytes;

  std::mutex turn;  // before `mutex` where both are held
  std::mutex mutex;
  std::condition_variable room, done;  // a slot is free; a slot became ready, or all is over
  std::atomic<bool> stop = false;
  std::int64_t next_to_give;    // batch
  std::int64_t end_batch = -1;  // behind the last one; -1: not known yet
  std::exception_ptr error;     // what ended the stream, or a mistake of ours
  std::vector<Slot> slots;
  std::vector<std::thread> threads;

  State(ImageStream& stream_in, const TransformSpec& spec_in, const StreamLoaderOptions& options_in)
      : stream(stream_in),
        spec(spec_in),
        options(options_in),
        batch_size(options_in.batch_size),
        first_batch(stream_in.range().first / options_in.batch_size),
        image_bytes(std::size_t(spec_in.size) * std::size_t(spec_in.size) *
                    std::size_t(spec_in.channels)),
        next_to_give(first_batch),
        slots(3) {
    const int workers = std::max(options.workers, 1);
    try {
      for (int i = 0; i < workers; ++i) threads.emplace_back([this] { run_worker(); });
    } catch (...) {  // no more threads: the destructor won't run
      halt();
      throw;
    }
  }

  ~State() { halt(); }

  void halt() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    room.notify_all();
    for (auto& thread : threads) thread.join();
  }

  Slot& slot_of(std::int64_t batch) { return slots[std::size_t(batch) % slots.size()]; }

  /// Rows of a batch in the whole, where its length is known; otherwise as many as came.
  std::int64_t rows_of(std::int64_t batch, std::int64_t came) const {
    const std::int64_t total = stream.range().total;
    return total < 0 ? came : std::min(batch_size, total - batch * batch_size);
  }

  /// Under `mutex`: nothing more comes into the batches from here on.
  void end(std::int64_t batch) {
    end_batch = batch;
    for (Slot& slot : slots) slot.full = true;
    done.notify_all();
  }

  /// The next image and its slot; false at the end. `last_batch` is of the image taken before.
  bool take(StreamedImage& image, std::int64_t& batch) {
    const std::lock_guard in_turn(turn);
    if (stop || over) return false;
    if (!stream.next(image, stop)) {
      over = true;
      if (stop) return false;
      const std::lock_guard lock(mutex);
      end(taken_any ? last_batch + 1 : first_batch);
      return false;
    }
    batch = image.position / batch_size;
    std::unique_lock lock(mutex);
    if (taken_any && batch != last_batch) {
      slot_of(last_batch).full = true;
      done.notify_all();
    }
    room.wait(lock, [&] { return stop || batch < next_to_give + std::int64_t(slots.size()); });
    if (stop) return false;
    Slot& slot = slot_of(batch);
    if (!taken_any || batch != last_batch) open(slot);
    taken_any = true;
    last_batch = batch;
    slot.rows = image.position % batch_size + 1;
    ++slot.in_work;
    return true;
  }

  void open(Slot& slot) const {
    slot.rows = slot.in_work = 0;
    slot.full = false;
    slot.pixels.resize(std::size_t(batch_size) * image_bytes);
    slot.images.resize(std::size_t(batch_size));
    for (StreamedImage& image : slot.images) image.id = -1;
    slot.errors.assign(std::size_t(batch_size), "");
  }

  void run_worker() {
    try {
      Transformer transformer(spec);
      Image pixels;
      StreamedImage image;
      std::int64_t batch = 0;
      while (take(image, batch)) {
        Slot& slot = slot_of(batch);  // kept until in_work is 0
        const auto row = std::size_t(image.position % batch_size);
        std::string wrong;
        try {
          stream.load(image, pixels);
          options.prepare(pixels);
          transformer.run(pixels, {.index = std::uint64_t(image.id)},
                          &slot.pixels[row * image_bytes]);
        } catch (const ImageError& bad) {
          wrong = bad.what();
        }
        image.bytes.clear();
        const std::lock_guard lock(mutex);
        slot.images[row] = image;
        slot.errors[row] = std::move(wrong);
        if (--slot.in_work == 0) done.notify_all();
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      stop = true;
      room.notify_all();
      done.notify_all();
    }
  }

  void give(Slot& slot, StreamedBatch& batch) const {
    batch.number = next_to_give;
    batch.rows = rows_of(next_to_give, slot.rows);
    batch.items.clear();
    batch.bad.clear();
    std::swap(batch.pixels, slot.pixels);
    batch.pixels.resize(std::size_t(batch.rows) * image_bytes);
    for (std::int64_t row = 0; row < batch.rows; ++row) {
      StreamedImage& image = slot.images[std::size_t(row)];
      std::string& wrong = slot.errors[std::size_t(row)];
      if (image.id >= 0 && wrong.empty()) {
        batch.items.push_back({row, image.id, std::move(image.name), std::move(image.labels)});
        continue;
      }
      std::fill_n(batch.pixels.begin() + row * std::int64_t(image_bytes), image_bytes, 0);
      if (image.id < 0) continue;
      batch.bad.push_back(
          {image.id, std::move(image.name), std::move(image.location), std::move(wrong)});
    }
  }

  bool next(StreamedBatch& batch) {
    std::unique_lock lock(mutex);
    constexpr auto kTick = std::chrono::milliseconds(100);
    const auto ready = [&] {
      if (error || next_to_give == end_batch) return true;
      const Slot& slot = slot_of(next_to_give);
      return slot.full && slot.in_work == 0 && slot.rows > 0;
    };
    while (!done.wait_for(lock, kTick, ready)) {
      lock.unlock();
      options.while_waiting();
      lock.lock();
    }
    if (error) std::rethrow_exception(error);
    if (next_to_give == end_batch) return false;
    Slot& slot = slot_of(next_to_give);
    give(slot, batch);
    slot.rows = 0;
    slot.full = false;
    ++next_to_give;
    lock.unlock();
    room.notify_all();
    return true;
  }

  // Under `turn`.
  bool over = false, taken_any = false;
  std::int64_t last_batch = 0;
};

StreamLoader::StreamLoader(ImageStream& stream, const TransformSpec& transform,
                           const StreamLoaderOptions& options) {
  HH_REQUIRE(options.batch_size >= 1 && options.batch_size <= 65536,
             "batch_size = " << options.batch_size << ": use 1 to 65536");
  HH_REQUIRE(options.workers >= 0 && options.workers <= 256,
             "workers = " << options.workers << ": use 0 to 256");
  HH_PRECONDITION(transform.fixed(), "streams need a transform without random choices");
  state_ = std::make_unique<State>(stream, transform, options);
}
StreamLoader::~StreamLoader() = default;

bool StreamLoader::next(StreamedBatch& batch) { return state_->next(batch); }

}  // namespace hh::data
