// SPDX-License-Identifier: Apache-2.0
// Usage: hh_data_bench   one JSON object per line: images/s of one thread for each step from a file
// to the network's pixels, and what the loader costs beside it. Times are of the thread's own
// processor time (the loader's: wall), the least of several rounds, so that a busy machine shows
// little.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>

#include "data/experiments/loader.h"
#include "data/images/decode.h"
#include "data/images/transform.h"
#include "kernels/core/simd.h"
#include "tests/support/images.h"

namespace {
using namespace hh;
using namespace hh::data;

double thread_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void report(const std::string& name, double seconds_per_image) {
  std::printf("{\"bench\":\"%s\",\"us_per_image\":%.2f,\"images_per_s\":%.1f}\n", name.c_str(),
              1e6 * seconds_per_image, 1 / seconds_per_image);
  std::fflush(stdout);
}

/// The least time of seven rounds, each of as many calls as take about 50 ms.
double least(const std::function<void()>& call) {
  call();
  double start = thread_seconds();
  call();
  const int calls = std::clamp(int(0.05 / (thread_seconds() - start)), 1, 10'000);
  double best = 1e9;
  for (int round = 0; round < 7; ++round) {
    start = thread_seconds();
    for (int i = 0; i < calls; ++i) call();
    best = std::min(best, (thread_seconds() - start) / calls);
  }
  return best;
}

void measure_files(int height, int width) {
  const std::string size = std::to_string(width) + "x" + std::to_string(height);
  const auto file = hh::testing::encode_jpeg(hh::testing::picture(height, width, 3));
  std::vector<std::uint8_t> out(std::size_t{224} * 224 * 3);
  Transformer eval(image_eval_transform(224)), train(image_train_transform(224));
  const Image whole = decode_image(file);
  Image copy = whole;
  report("decode_" + size, least([&] { decode_image(file); }));
  report("eval_transform_" + size, least([&] { eval.run(copy, {}, out.data()); }));
  std::uint64_t index = 0;
  report("train_transform_" + size, least([&] { train.run(copy, {1, 0, index++}, out.data()); }));
  for (const int shorter : {0, 256}) {
    report("decode_and_transform_" + size + (shorter > 0 ? "_scaled" : ""), least([&] {
             Image image = decode_image(file, {.scaled_shorter_side = shorter});
             eval.run(image, {}, out.data());
           }));
  }
}

/// 28 x 28 images in memory, where what the loader adds is the larger part.
void measure_loader() {
  constexpr int kImages = 20'000, kSide = 28;
  Labels labels(kImages, 10);
  for (int i = 0; i < kImages; ++i) labels.set(i, i % 10);
  const MemoryDataset set("bench", kSide, kSide, 1,
                          std::vector<std::uint8_t>(std::size_t{kImages} * kSide * kSide, 100),
                          labels, {});
  TransformSpec spec;
  spec.size = 32;
  spec.channels = 1;
  spec.resize = Resize::kNone;
  Image image;
  std::vector<std::uint8_t> out(std::size_t{32} * 32);
  Transformer transformer(spec);
  report("load_and_pad_28x28", least([&] {
           set.load(7, image);
           transformer.run(image, {}, out.data());
         }));
  std::vector<std::int64_t> items(kImages);
  for (std::size_t i = 0; i < items.size(); ++i) items[i] = std::int64_t(i);
  for (const int workers : {0, 1, 2}) {
    Loader loader(set, items, spec, {.batch_size = 64, .shuffle = true, .workers = workers});
    double best = 1e9;
    for (std::uint32_t epoch = 0; epoch < 5; ++epoch) {
      const double start = wall_seconds();
      loader.start(epoch);
      Batch batch;
      while (loader.next(batch)) continue;
      best = std::min(best, (wall_seconds() - start) / kImages);
    }
    report("loader_28x28_workers" + std::to_string(workers), best);
  }
}

}  // namespace

int main() {
  hh::cpu::simd_from_environment();
  measure_files(400, 500);
  measure_files(800, 1000);
  measure_files(3000, 4000);
  measure_loader();
}
