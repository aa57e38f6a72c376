// SPDX-License-Identifier: Apache-2.0
#include "data/experiments/protocol.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <string>

#include "engine/files/file.h"
#include "tests/support/images.h"
#include "tests/support/temporary_folder.h"

namespace hh::data {
namespace {

using Catch::Contains;
using testing::as_text;
using testing::Bytes;
using testing::encode_png;
using testing::picture;
using testing::TemporaryFolder;
namespace fs = std::filesystem;

/// How many items of each class a part holds.
std::map<int, int> per_class(const Dataset& set, const std::vector<std::int64_t>& items) {
  std::map<int, int> count;
  for (const std::int64_t i : items) ++count[set.labels().first_class(i)];
  return count;
}

void require_each(const std::map<int, int>& count, int classes, int wanted) {
  REQUIRE(int(count.size()) == classes);
  for (const auto& [c, n] : count) REQUIRE(n == wanted);
}

TEST_CASE("protocols are found by name", "[data][protocol]") {
  REQUIRE(find_protocol("imagenet").database == 128'503);
  REQUIRE(find_protocol("imagenet").top_k == 1000);
  REQUIRE(find_protocol("nuswide_81_m").classes == 81);
  REQUIRE_THROWS_WITH(find_protocol("mnist"),
                      Contains("no protocol \"mnist\"") && Contains("fashion_mnist"));
  ProtocolOptions options;
  REQUIRE_THROWS_WITH(open_protocol("coco", options), Contains("folder of its data isn't given"));
  options.size = 0;
  REQUIRE_THROWS_WITH(open_protocol("fashion_mnist", options), Contains("size = 0"));
}

// The real data, where Debian's package is installed (quickstart.sh and test.sh do).
TEST_CASE("Fashion-MNIST: 1,000 query, 5,000 train, 64,000 database", "[data][protocol]") {
  if (!fs::exists("/usr/share/datasets/fashion-mnist")) {
    WARN("not run: dataset-fashion-mnist isn't installed");
    return;
  }
  ProtocolOptions options;
  options.size = 32;
  options.channels = 1;
  options.seed = 11;
  const Experiment e = open_protocol("fashion_mnist", options);
  REQUIRE(e.warnings.empty());
  REQUIRE(e.dataset->size() == 70'000);
  require_each(per_class(*e.dataset, e.split.query), 10, 100);
  require_each(per_class(*e.dataset, e.split.train), 10, 500);
  require_each(per_class(*e.dataset, e.split.database), 10, 6400);
  REQUIRE(std::is_sorted(e.split.database.begin(), e.split.database.end()));

  // The network sees two zeros around the 28 x 28 pixels, normalised: as make/fashion_data.py.
  const std::int64_t index = e.split.train[1234];
  const Image stored = e.dataset->load(index);
  REQUIRE(stored.pixels.size() == 28 * 28);
  Image image = stored;
  Bytes seen(32 * 32);
  Transformer(e.eval_transform).run(image, {}, seen.data());
  REQUIRE(e.train_transform.fixed());
  const auto values = normalise(seen.data(), e.eval_transform);
  for (int y = 0; y < 32; ++y) {
    for (int x = 0; x < 32; ++x) {
      const bool inside = y >= 2 && y < 30 && x >= 2 && x < 30;
      const float pixel = inside ? stored.pixels[std::size_t((y - 2) * 28 + x - 2)] / 255.0f : 0;
      REQUIRE(values[std::size_t(y * 32 + x)] == (pixel - 0.2860f) / 0.3530f);
    }
  }

  const std::string text = describe(e);
  REQUIRE_THAT(text, Contains("query      1000 (as the protocol)") &&
                         Contains("train      5000 (as the protocol), one bank row each") &&
                         Contains("database   64000 (as the protocol)"));
  // The same split again, and another for another seed.
  REQUIRE(open_protocol("fashion_mnist", options).split.train == e.split.train);
  options.seed = 12;
  REQUIRE(open_protocol("fashion_mnist", options).split.train != e.split.train);
}

/// CIFAR-10 of `per_batch` black images in each of the six files, classes in turn.
void write_cifar(const TemporaryFolder& folder, int per_batch) {
  Bytes bytes(std::size_t(per_batch) * 3073, 0);
  for (int i = 0; i < per_batch; ++i) bytes[std::size_t(i) * 3073] = std::uint8_t(i % 10);
  for (const char* name : {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                           "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"}) {
    write_file_atomically(folder / name, as_text(bytes));
  }
}

TEST_CASE("CIFAR-10: three splits of the same 60,000", "[data][protocol]") {
  const TemporaryFolder folder;
  write_cifar(folder, 10'000);
  ProtocolOptions options;
  options.data = folder.path();
  const Experiment a = open_protocol("cifar10", options);
  require_each(per_class(*a.dataset, a.split.query), 10, 100);
  require_each(per_class(*a.dataset, a.split.train), 10, 500);
  require_each(per_class(*a.dataset, a.split.database), 10, 5400);
  REQUIRE(a.train_transform.fixed());  // resized only, training included
  REQUIRE(a.train_transform.resize == Resize::kExact);
  REQUIRE_THAT(describe(a), Contains("the authors' bank has 10000"));

  const Experiment b = open_protocol("cifar10-1", options);
  REQUIRE(b.split.query == a.split.query);
  REQUIRE(b.split.database.size() == 59'000);
  REQUIRE(std::equal(b.split.train.begin(), b.split.train.end(), b.split.database.begin()));

  const Experiment c = open_protocol("cifar10-2", options);
  require_each(per_class(*c.dataset, c.split.query), 10, 1000);
  REQUIRE(c.split.database == c.split.train);
  REQUIRE(c.split.train.size() == 50'000);
}

TEST_CASE("counts that differ from the table stop, unless allowed", "[data][protocol]") {
  const TemporaryFolder folder;
  write_cifar(folder, 2000);  // 12,000 images
  ProtocolOptions options;
  options.data = folder.path();
  REQUIRE_THROWS_WITH(open_protocol("cifar10", options),
                      Contains("6000 database images, and the protocol has 54000") &&
                          Contains("allow_other_counts"));
  options.allow_other_counts = true;
  const Experiment e = open_protocol("cifar10", options);
  REQUIRE(e.warnings.size() == 1);
  REQUIRE_THAT(describe(e), Contains("database   6000 (protocol: 54000)") && Contains("warning"));
}

/// n lines; one of `classes` labels each, in turn.
std::string list_lines(const std::string& stem, int n, int classes) {
  std::string text;
  for (int i = 0; i < n; ++i) {
    text += stem + std::to_string(i) + ".png";
    for (int c = 0; c < classes; ++c) text += i % classes == c ? " 1" : " 0";
    text += "\n";
  }
  return text;
}

TEST_CASE("every list protocol of the table accepts lists of its counts", "[data][protocol]") {
  for (const Protocol& p : protocols()) {
    if (p.classes < 0 || p.name == "fashion_mnist" || p.name.starts_with("cifar")) continue;
    INFO(p.name);
    const TemporaryFolder folder;
    const auto write = [&](const char* name, std::int64_t n) {
      write_file_atomically(folder / name, list_lines(name, int(n), p.classes));
    };
    write("test.txt", p.query);
    write("train.txt", p.train);
    write("database.txt", p.database < 0 ? 10 : 30);
    ProtocolOptions options;
    options.data = folder.path();
    if (p.database >= 0) {  // kept short here, so it must be noticed
      REQUIRE_THROWS_WITH(open_protocol(p.name, options),
                          Contains("30 database images") && Contains(std::to_string(p.database)));
      options.allow_other_counts = true;
    }
    const Experiment e = open_protocol(p.name, options);
    REQUIRE(e.dataset->classes() == p.classes);
    REQUIRE(std::int64_t(e.split.query.size()) == p.query);
    REQUIRE(std::int64_t(e.split.train.size()) == p.train);
    REQUIRE(e.train_transform.crop == Crop::kAnywhere);
    REQUIRE(e.eval_transform.fixed());
    REQUIRE(e.dataset->name(e.split.train[1]) == "train.txt1.png");

    write("train.txt", p.train - 1);
    options.allow_other_counts = false;
    REQUIRE_THROWS_WITH(open_protocol(p.name, options), Contains("training images"));
  }
}

TEST_CASE("one's own lists: shared images are told", "[data][protocol]") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a.png", as_text(encode_png(picture(8, 8, 3))));
  write_file_atomically(folder / "test.txt", "a.png 1 0\n");
  write_file_atomically(folder / "train.txt", "a.png 1 0\nb.png 0 1\n");
  write_file_atomically(folder / "database.txt", "c.png 0 1\na.png 1 0\n");
  ProtocolOptions options;
  options.data = options.image_root = folder.path();
  const Experiment e = open_protocol("lists", options);
  REQUIRE(e.warnings.size() == 2);
  REQUIRE_THAT(describe(e), Contains("1 image of train.txt is a query too") &&
                                Contains("1 image of database.txt is a query too"));
  fs::remove(folder / "train.txt");
  REQUIRE_THROWS_WITH(open_protocol("lists", options), Contains("train.txt: it is missing"));
}

TEST_CASE("a folder per class: a share of each as queries", "[data][protocol]") {
  const TemporaryFolder folder;
  const std::string png = as_text(encode_png(picture(8, 8, 3)));
  for (const auto& [name, n] : {std::pair("a", 20), std::pair("b", 33)}) {
    fs::create_directory(folder / name);
    for (int i = 0; i < n; ++i) {
      write_file_atomically(folder / (std::string(name) + "/" + std::to_string(i) + ".png"), png);
    }
  }
  ProtocolOptions options;
  options.data = folder.path();
  Experiment e = open_protocol("folder", options);
  require_each(per_class(*e.dataset, e.split.query), 2, 2);
  REQUIRE(e.split.train.size() == 49);
  REQUIRE(e.split.database.size() == 49);
  options.query_per_class = 3;
  options.train_per_class = 5;
  e = open_protocol("folder", options);
  require_each(per_class(*e.dataset, e.split.query), 2, 3);
  require_each(per_class(*e.dataset, e.split.train), 2, 5);
  REQUIRE(e.split.database.size() == 47);  // training images are in the database too
  options.query_per_class = 20;
  REQUIRE_THROWS_WITH(open_protocol("folder", options), Contains("class a has 20 images"));
}

TEST_CASE("one class alone is refused, with the folder that was meant", "[data][protocol]") {
  const TemporaryFolder folder;
  const std::string png = as_text(encode_png(picture(8, 8, 3)));
  const auto write = [&](const std::string& name) {
    fs::create_directories((folder / name).parent_path());
    write_file_atomically(folder / name, png);
  };
  const auto refused = [&](const std::string& data, const std::string& why) {
    ProtocolOptions options;
    options.data = folder / data;
    INFO(data);
    REQUIRE_THROWS_WITH(open_protocol("folder", options), Contains(options.data.string() + why));
  };
  for (const char* name : {"1", "2", "3"}) {
    const std::string file = std::string(name) + ".png";
    for (const char* kind : {"ape", "bee", "cat", "dog"}) write("o/x/" + (kind + ("/" + file)));
    write("one/cat/" + file);
    write("young/cat/" + file);
    write("young/cat/kittens/" + file);  // one folder more doesn't make classes
    write("deep/a/b/cat/" + file);
    write("deep/a/b/dog/" + file);
  }
  fs::create_directory(folder / "one/empty");
  const std::string path = (folder / "o/x").string(), deep = (folder / "deep/a/b").string();
  refused("o",
          ": it holds one class alone, x, and at least two are needed: its sub-folders (ape, "
          "bee, cat, ...) look like classes, so the images lie deeper than they should: give " +
              path + " (data.path=" + path + ")");
  refused("deep",
          ": it holds one class alone, a, and at least two are needed: its sub-folders "
          "(cat, dog) look like classes, so the images lie deeper than they should: give " +
              deep);
  for (const char* data : {"one", "young"}) {
    refused(data,
            ": it holds one class alone, cat, and at least two are needed: put the images of "
            "other classes into folders beside it");
  }
  ProtocolOptions options;
  options.data = path;
  CHECK(open_protocol("folder", options).dataset->classes() == 4);
}

}  // namespace
}  // namespace hh::data
