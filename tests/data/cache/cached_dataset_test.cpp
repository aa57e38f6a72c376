// SPDX-License-Identifier: Apache-2.0
#include "data/cache/cached_dataset.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <numeric>
#include <set>
#include <string>
#include <thread>

#include "data/cache/picture_cache.h"
#include "data/sets/folder.h"
#include "data/sets/list_file.h"
#include "engine/files/file.h"
#include "engine/files/file_error.h"
#include "engine/files/folder_lock.h"
#include "tests/support/images.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_file.h"

namespace hh::data {
namespace {

using Catch::Contains;
using testing::as_text;
using testing::encode_jpeg;
using testing::picture;
using testing::TemporaryFolder;
namespace fs = std::filesystem;
using std::chrono::hours;

/// A file with a time long past: one of this moment is read again at the next look.
void put(const fs::path& path, const std::string& bytes, hours ago = hours(1)) {
  fs::create_directories(path.parent_path());
  testing::write_text(path, bytes);
  fs::last_write_time(path, fs::file_time_type::clock::now() - ago);
}

std::string jpeg(int height, int width, std::uint64_t seed) {
  return as_text(encode_jpeg(picture(height, width, 3, seed)));
}

/// Larger, smaller and thinner than the transform's 32 pixels, grey, turned, and one that is broken.
void put_images(const TemporaryFolder& folder) {
  put(folder / "i/a/large.jpg", jpeg(70, 90, 1));
  put(folder / "i/a/tall.jpg", jpeg(201, 40, 2));
  put(folder / "i/a/small.jpg", jpeg(20, 25, 3));
  put(folder / "i/b/grey.jpg", as_text(encode_jpeg(picture(64, 50, 1, 4))));
  put(folder / "i/b/turned.jpg", as_text(encode_jpeg(picture(64, 80, 3, 5), {.orientation = 6})));
  put(folder / "i/b/thin.png", as_text(testing::encode_png(picture(1, 300, 3, 6))));
  put(folder / "i/b/broken.jpg", jpeg(70, 90, 7).substr(0, 700));
}

std::shared_ptr<const FileDataset> images(const TemporaryFolder& folder) {
  return open_folder(folder / "i", {.exif_orientation = true});
}

std::vector<std::int64_t> all_of(const Dataset& set) {
  std::vector<std::int64_t> items(std::size_t(set.size()));
  std::iota(items.begin(), items.end(), std::int64_t{0});
  return items;
}

/// What it is told goes into `told`.
CacheOptions options(const TemporaryFolder& folder, std::vector<std::string>* told = nullptr) {
  CacheOptions options{.folder = folder / "cache", .transform = image_train_transform(28)};
  if (told != nullptr) {
    options.warn = options.report = [told](const std::string& text) { told->push_back(text); };
  }
  return options;
}

CachedSet cached(const TemporaryFolder& folder, std::vector<std::string>* told = nullptr) {
  const auto set = images(folder);
  return with_cache(set, all_of(*set), options(folder, told));
}

/// What the network sees in several epochs; the error's text where there is one. Compared in extra
/// parentheses, so that no pixels are printed.
std::vector<std::string> seen(const Dataset& set) {
  std::vector<std::string> all;
  for (const auto& spec : {image_train_transform(28), image_eval_transform(28)}) {
    Transformer transformer(spec);
    for (std::int64_t i = 0; i < set.size(); ++i) {
      for (std::uint32_t epoch = 0; epoch < 5; ++epoch) {
        std::string pixels(28 * 28 * 3, '\0');
        try {
          Image image = set.load(i);
          transformer.run(image, {1, epoch, std::uint64_t(i)},
                          reinterpret_cast<std::uint8_t*>(pixels.data()));
        } catch (const ImageError& error) {
          pixels = error.what();
        }
        all.push_back(pixels);
      }
    }
  }
  return all;
}

TEST_CASE("the network sees the same bits of a cache as of the files", "[data][cache]") {
  const TemporaryFolder folder;
  put_images(folder);
  const auto wanted = seen(*images(folder));
  const CachedSet first = cached(folder);
  CHECK(first.facts.wanted == 7);
  CHECK(first.facts.held == 6);
  CHECK(first.facts.decoded == 7);
  CHECK((seen(*first.dataset) == wanted));
  const CachedSet second = cached(folder);
  CHECK(second.facts.decoded == 0);
  CHECK((seen(*second.dataset) == wanted));
  // It is the cache that was read: the files are gone.
  fs::rename(folder / "i", folder / "gone");
  const auto without_files = seen(*second.dataset);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const std::string name = second.dataset->name(std::int64_t(i / 5) % 7);
    INFO(name);
    if (name == "b/broken.jpg") {
      CHECK_THAT(without_files[i], Contains("No such file"));
    } else {
      CHECK((without_files[i] == wanted[i]));
    }
  }
  // Resized where that is smaller.
  const Image large = second.dataset->load(0);
  CHECK((large.height == 32 && large.width == 41));
  CHECK(second.dataset->load(1).width == 25);
}

TEST_CASE("any size resized twice is resized once", "[data][cache]") {
  for (const Resize kind : {Resize::kShorterSide, Resize::kExact}) {
    TransformSpec spec{.size = 13, .resize = kind, .resize_to = 17};
    Transformer transformer(spec);
    for (int height = 1; height < 60; height += 3) {
      for (int width = 1; width < 60; width += 2) {
        Image image = picture(height, width, 3), before = image;
        std::string once(13 * 13 * 3, '\0'), twice = once;
        resize_if_smaller(spec, before);
        CHECK(before.pixels.size() <= image.pixels.size());
        transformer.run(image, {}, reinterpret_cast<std::uint8_t*>(once.data()));
        transformer.run(before, {}, reinterpret_cast<std::uint8_t*>(twice.data()));
        REQUIRE((once == twice));
      }
    }
  }
}

TEST_CASE("a changed file is decoded anew, the others are kept", "[data][cache]") {
  const TemporaryFolder folder;
  put_images(folder);
  cached(folder);
  const auto check = [&](std::int64_t decoded, std::int64_t changed) {
    const CachedSet again = cached(folder);
    CHECK(again.facts.decoded == decoded);
    CHECK(again.facts.changed == changed);
    CHECK((seen(*again.dataset) == seen(*images(folder))));
    CHECK(cached(folder).facts.decoded == 0);
  };
  SECTION("another size") {
    put(folder / "i/a/large.jpg", jpeg(70, 91, 11));
    check(1, 1);
  }
  SECTION("the same size, another time") {
    std::string bytes = jpeg(70, 90, 1);
    bytes[bytes.size() / 2] ^= 1;
    put(folder / "i/a/large.jpg", bytes, hours(2));
    check(1, 1);
  }
  SECTION("the same size and time as far as users see") {
    const auto time = fs::last_write_time(folder / "i/a/large.jpg");
    std::string bytes = jpeg(70, 90, 1);
    bytes[bytes.size() / 2] ^= 1;
    testing::write_text(folder / "i/a/large.jpg", bytes);
    fs::last_write_time(folder / "i/a/large.jpg", time);
    check(1, 1);
  }
  SECTION("another time alone") {
    put(folder / "i/a/large.jpg", jpeg(70, 90, 1), hours(3));
    check(0, 0);
  }
  SECTION("mended") {
    put(folder / "i/b/broken.jpg", jpeg(70, 90, 7));
    check(1, 1);
    CHECK(cached(folder).facts.held == 7);
  }
  SECTION("new, gone, exchanged") {
    put(folder / "i/b/new.jpg", jpeg(40, 40, 12));
    fs::remove(folder / "i/a/small.jpg");
    fs::rename(folder / "i/a/large.jpg", folder / "i/a/x");
    fs::rename(folder / "i/a/tall.jpg", folder / "i/a/large.jpg");
    fs::rename(folder / "i/a/x", folder / "i/a/tall.jpg");
    check(3, 2);
  }
}

TEST_CASE("what was written this moment is looked at again", "[data][cache]") {
  const TemporaryFolder folder;
  put_images(folder);
  put(folder / "i/a/large.jpg", jpeg(70, 90, 1), hours(0));
  cached(folder);
  // As if it were written twice within a tick of the clock: the times that are kept tell nothing.
  const auto path = (folder / "i/a/large.jpg").string();
  const auto entry = *fs::directory_iterator(folder / "cache");
  const PictureCache cache = PictureCache::open(entry.path());
  CHECK(cache.picture(cache.find(path)).file.modified_ns == -1);
  CHECK(cached(folder).facts.decoded == 0);
}

TEST_CASE("other pixels have another cache in the same folder", "[data][cache]") {
  const TemporaryFolder folder;
  put_images(folder);
  const auto files_with = [&](const DecodeOptions& decode, int size) {
    const std::shared_ptr<const FileDataset> set = open_folder(folder / "i", decode);
    CacheOptions o = options(folder);
    o.transform = image_train_transform(size);
    return with_cache(set, all_of(*set), o).facts.file;
  };
  std::set<fs::path> files;
  files.insert(files_with({}, 28));
  files.insert(files_with({.channels = 1}, 28));
  files.insert(files_with({.exif_orientation = true}, 28));
  files.insert(files_with({.scaled_shorter_side = 32}, 28));
  files.insert(files_with({.max_pixels = 1000}, 28));
  files.insert(files_with({}, 56));
  CHECK(files.size() == 6);
  CHECK(files_with({}, 28) == *files.find(files_with({}, 28)));
}

TEST_CASE("data sets below one folder share a cache, each image file once", "[data][cache]") {
  const TemporaryFolder folder;
  put_images(folder);
  testing::write_text(folder / "l.txt", "i/a/large.jpg 1 0\ni/a/tall.jpg 0 1\ni/a/large.jpg 1 0\n");
  testing::write_text(folder / "m.txt", "i/b/grey.jpg 1 0\ni/a/tall.jpg 0 1\n");
  const auto of_list = [&](const char* list) {
    std::vector<ImageList> lists;
    lists.push_back(read_list(folder / list, ListLabels::kAuto));
    const auto set = std::dynamic_pointer_cast<const FileDataset>(
        std::shared_ptr<const Dataset>(open_lists(std::move(lists), folder.path(), {})));
    const CachedSet made = with_cache(set, all_of(*set), options(folder));
    CHECK((seen(*made.dataset) == seen(*set)));
    return made.facts;
  };
  const CacheFacts first = of_list("l.txt");
  CHECK(first.wanted == 2);
  CHECK(first.decoded == 2);
  CHECK(of_list("m.txt").decoded == 1);
  CHECK(of_list("l.txt").decoded == 0);
  CHECK(of_list("m.txt").decoded == 0);
}

TEST_CASE("paths that start from the working directory have a cache too", "[data][cache]") {
  const TemporaryFolder folder;
  put_images(folder);
  const auto name = folder / "i/a/large.jpg";
  const auto set = std::make_shared<const FileDataset>(
      "", std::vector<std::string>(), std::vector<FileDataset::Item>{{.path = name.string()}},
      Labels(1, 1), std::vector<std::string>(), DecodeOptions{});
  CHECK(with_cache(set, {0}, options(folder)).facts.held == 1);
}

TEST_CASE("a damaged cache is made anew, lost pixels are read from their file", "[data][cache]") {
  const TemporaryFolder folder;
  put_images(folder);
  const CachedSet first = cached(folder);
  const auto wanted = seen(*images(folder));
  const std::string whole = testing::read_text(first.facts.file);
  std::vector<std::string> told;
  SECTION("cut") {
    testing::write_text(folder / "cut", whole.substr(0, whole.size() / 2));
    fs::rename(folder / "cut", first.facts.file);
    const CachedSet again = cached(folder, &told);
    CHECK(again.facts.decoded == 7);
    REQUIRE(told.size() == 1);
    CHECK_THAT(told[0], Contains("it is truncated: it is made anew"));
    CHECK((seen(*again.dataset) == wanted));
    CHECK(testing::read_text(first.facts.file).size() == whole.size());
  }
  SECTION("cut while it is in use") {
    fs::resize_file(first.facts.file, whole.size() / 4);
    CHECK((seen(*first.dataset) == wanted));
    fs::resize_file(first.facts.file, 0);
    CHECK((seen(*first.dataset) == wanted));
  }
  SECTION("a bit of a picture") {
    std::string changed = whole;
    changed[100] ^= 1;
    testing::write_text(first.facts.file, changed);  // in place
    CHECK((seen(*first.dataset) == wanted));
    const CachedSet again = cached(folder);
    CHECK((seen(*again.dataset) == wanted));
    const auto set = images(folder);
    CHECK(check_cache(*set, all_of(*set), options(folder)).held == 5);
    // The next writing mends it.
    put(folder / "i/b/new.jpg", jpeg(40, 40, 12));
    CHECK(cached(folder).facts.decoded == 2);
  }
}

// Not under the sanitizers: that of undefined behaviour looks at a thrown object through a pipe, for which there is
// no descriptor either, and then takes it for a broken one.
#ifndef __SANITIZE_ADDRESS__
TEST_CASE("what the disk withholds isn't counted as decoded, and tried again", "[data][cache]") {
  const TemporaryFolder folder;
  put_images(folder);
  cached(folder);
  put(folder / "i/a/large.jpg", jpeg(70, 91, 11));
  put(folder / "i/b/new.jpg", jpeg(40, 40, 12));
  const auto set = images(folder);
  CacheOptions no_descriptors = options(folder);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  no_descriptors.progress = [&](std::int64_t done, std::int64_t total) {
    const rlimit now{done < total ? 0 : before.rlim_cur, before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &now);
  };
  const CachedSet without = with_cache(set, all_of(*set), no_descriptors);
  CHECK(without.facts.decoded == 0);
  CHECK(without.facts.held == 5);
  CHECK(without.facts.first_without == (folder / "i/a/large.jpg").string());
  const CachedSet again = cached(folder);
  CHECK(again.facts.decoded == 2);
  CHECK(again.facts.held == 7);
  CHECK(again.facts.first_without == (folder / "i/b/broken.jpg").string());
}
#endif

TEST_CASE("which files have no pixels is said of the first", "[data][cache]") {
  CHECK(held_text(6, 6, "") == "6 of 6 image files");
  CHECK(held_text(0, 1, "a") == "0 of 1 image file (not a)");
  CHECK(held_text(5, 7, "a") == "5 of 7 image files (not a and 1 other)");
  CHECK(held_text(4, 7, "a") == "4 of 7 image files (not a and 2 others)");
}

TEST_CASE("what can't be a cache is refused", "[data][cache]") {
  const TemporaryFolder folder;
  put_images(folder);
  const fs::path file = cached(folder).facts.file;
  fs::remove(file);
  REQUIRE(mkfifo(file.c_str(), 0600) == 0);
  CHECK_THROWS_WITH(cached(folder), Contains("it isn't a file that could be a cache"));
  const auto set = images(folder);
  CHECK_THROWS_WITH(check_cache(*set, all_of(*set), options(folder)), Contains("could be a cache"));
  fs::remove(file);
  CacheOptions there = options(folder);
  testing::write_text(folder / "text", "");
  there.folder = folder / "text";
  CHECK_THROWS_WITH(with_cache(set, all_of(*set), there),
                    Contains("data.cache = ") && Contains("the folder can't be made"));
}

TEST_CASE("a check reads every file", "[data][cache]") {
  const TemporaryFolder folder;
  put_images(folder);
  const auto check = [&] {
    const auto set = images(folder);
    return check_cache(*set, all_of(*set), options(folder));
  };
  CHECK(check().held == 0);
  const CachedSet made = cached(folder);
  CHECK(check().held == 6);
  CHECK(check().stale.empty());
  CHECK(check().bytes == made.facts.bytes);
  CHECK(check().first_without == (folder / "i/b/broken.jpg").string());
  put(folder / "i/a/large.jpg", jpeg(70, 91, 11));
  CHECK(check().changed == 1);
  CHECK(check().held == 5);
  CHECK(check().first_without == (folder / "i/a/large.jpg").string());
  // An entry that lies: the file's facts with another file's pixels.
  const PictureCache cache = PictureCache::open(made.facts.file);
  const auto tall = cache.find((folder / "i/a/tall.jpg").string());
  PictureCacheWriter writer(made.facts.file, 3, cache.made_by());
  CachedPicture about = cache.picture(tall);
  about.file_xxh64 ^= 1;
  std::vector<std::uint8_t> pixels;
  REQUIRE(cache.read_pixels(tall, pixels));
  writer.add(cache.name(tall), about, std::as_bytes(std::span(pixels)));
  writer.commit();
  REQUIRE(check().stale.size() == 1);
  CHECK(images(folder)->name(check().stale[0]) == "a/tall.jpg");
  testing::write_text(made.facts.file, "rubbish");
  CHECK_THAT(check().damage, Contains("it is no file of decoded pictures"));
}

TEST_CASE("of two processes one decodes, the other waits for it", "[data][cache]") {
  const TemporaryFolder folder;
  put_images(folder);
  fs::create_directories(folder / "cache");
  std::vector<std::string> told;
  CachedSet result;
  std::thread waiting;
  {
    const FolderLock other(folder / "cache", "busy");
    waiting = std::thread([&] { result = cached(folder, &told); });
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    CHECK(fs::is_empty(folder / "cache"));
  }
  waiting.join();
  REQUIRE(told.size() == 1);
  CHECK_THAT(told[0], Contains("another process writes a cache there: waiting for it"));
  CHECK(result.facts.decoded == 7);

  const auto wanted = seen(*images(folder));
  fs::remove_all(folder / "cache");
  std::vector<CachedSet> sets(4);
  std::vector<std::thread> threads;
  for (CachedSet& set : sets) threads.emplace_back([&] { set = cached(folder); });
  for (std::thread& thread : threads) thread.join();
  std::int64_t decoded = 0;
  for (const CachedSet& set : sets) {
    decoded += set.facts.decoded;
    CHECK((seen(*set.dataset) == wanted));
  }
  CHECK(decoded == 7);
}

TEST_CASE("a full disk ends it, and leaves no half of a cache", "[data][cache]") {
  const TemporaryFolder folder;
  put_images(folder);
  // A limit on files stands for the disk, in a process of its own.
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{5000, 5000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    int status = 1;
    try {
      cached(folder);
    } catch (const DiskFull& full) {
      const std::string text = full.what();
      const bool says = text.find("the decoded pictures of 7 files don't fit there: free room") !=
                        std::string::npos;
      status = says && fs::is_empty(folder / "cache") ? 0 : 2;
    } catch (...) {
      status = 3;
    }
    ::_exit(status);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

}  // namespace
}  // namespace hh::data
