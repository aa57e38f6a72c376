// SPDX-License-Identifier: Apache-2.0
// Usage: hh_data_bench          one JSON object per line: images/s of one thread for each step from a
//                               file to the network's pixels, and what the loader costs beside it.
//                               Times are of the thread's own processor time (the loader's: wall), the
//                               least of several rounds, so that a busy machine shows little.
//        hh_data_bench FILE...  images/s of these, for compare.py
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/cache/cached_dataset.h"
#include "data/experiments/loader.h"
#include "data/images/decode.h"
#include "data/images/transform.h"
#include "engine/files/file.h"
#include "kernels/core/simd.h"
#include "tests/support/images.h"
#include "tests/support/temporary_folder.h"

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

using Files = std::vector<std::vector<std::uint8_t>>;

/// "NAME":images/s of a step, over about half a second of processor time.
template <class Item>
std::string figure(const char* name, const std::vector<Item>& items,
                   const std::function<void(const Item&)>& step) {
  for (const Item& item : items) step(item);
  const double start = thread_seconds();
  std::int64_t images = 0;
  for (; thread_seconds() - start < 0.5; images += std::int64_t(items.size())) {
    for (const Item& item : items) step(item);
  }
  return "\"" + std::string(name) +
         "\":" + std::to_string(double(images) / (thread_seconds() - start));
}

/// What an epoch costs with data.cache: reading the picture, and the transform of training.
std::string cached(std::span<char*> paths) {
  std::vector<FileDataset::Item> items;
  std::vector<std::int64_t> all;
  for (const char* path : paths) {
    all.push_back(std::int64_t(items.size()));
    items.push_back({.path = path});
  }
  const hh::testing::TemporaryFolder folder;
  Labels labels(std::int64_t(items.size()), 1);
  const CachedSet set = with_cache(
      std::make_shared<FileDataset>("", std::vector<std::string>(), std::move(items),
                                    std::move(labels), std::vector<std::string>(), DecodeOptions{}),
      all, {.folder = folder.path(), .transform = image_train_transform(224)});
  Transformer train(image_train_transform(224));
  Image image;
  std::vector<std::uint8_t> out(std::size_t{224} * 224 * 3);
  std::uint32_t epoch = 0;
  return figure<std::int64_t>("from data.cache", all, [&](const std::int64_t& item) {
    set.dataset->load(item, image);
    train.run(image, {1, epoch++, std::uint64_t(item)}, out.data());
  });
}

/// As compare.py measures its other sides.
void compare_files(std::span<char*> paths) {
  Files files;
  for (const char* path : paths) files.push_back(read_file(path, kMaxImageFileBytes));
  using File = Files::value_type;
  std::vector<std::uint8_t> out(std::size_t{224} * 224 * 3);
  Transformer eval(image_eval_transform(224));
  const auto with = [&](int shorter) {
    return [&eval, &out, shorter](const File& file) {
      Image image = decode_image(file, {.scaled_shorter_side = shorter});
      eval.run(image, {}, out.data());
    };
  };
  std::string figures = figure<File>("decode", files, [](const File& file) { decode_image(file); });
  figures += "," + figure<File>("decode and transform", files, with(0));
  figures += "," + figure<File>("scaled", files, with(256));
  figures += "," + cached(paths);
  std::printf("{\"version\":\"\",\"figures\":{%s}}\n", figures.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  hh::cpu::simd_from_environment();
  if (argc > 1) {
    compare_files({argv + 1, std::size_t(argc - 1)});
    return 0;
  }
  measure_files(400, 500);
  measure_files(800, 1000);
  measure_files(3000, 4000);
  measure_loader();
}
