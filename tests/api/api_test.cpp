// SPDX-License-Identifier: Apache-2.0
// libhybridhash.so as a program of others sees it: only its headers, only its exported functions.
#define CATCH_CONFIG_MAIN
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "api/hybridhash.hpp"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_file.h"
#include "tests/support/tiny_data.h"

namespace {

using Catch::Contains;
namespace fs = std::filesystem;

/// A run on made-up images, trained once for all tests.
struct Trained {
  hh::testing::TemporaryFolder folder;
  std::string model;
  std::vector<hh_epoch> epochs;
  std::vector<std::string> messages;

  Trained() {
    hh::testing::make_tiny_images(folder / "images");
    hh::testing::write_text(folder / "tiny.toml", hh::testing::tiny_recipe(folder / "images"));
    hh_train_options options = HH_TRAIN_OPTIONS_INIT;
    const char* const settings[] = {"train.epochs=2"};
    options.settings = settings;
    options.setting_count = 1;
    options.user = this;
    options.epoch = [](const hh_epoch* epoch, void* user) {
      static_cast<Trained*>(user)->epochs.push_back(*epoch);
    };
    options.message = [](const char* text, int, void* user) {
      static_cast<Trained*>(user)->messages.emplace_back(text);
    };
    REQUIRE(hybridhash::train((folder / "tiny.toml").string(), (folder / "run").string(), options));
    model = (folder / "run/best.safetensors").string();
  }
};

const Trained& trained() {
  static const Trained made;
  return made;
}

/// The pixels of one of its PPM files.
std::vector<std::uint8_t> pixels_of(const fs::path& file) {
  const std::string text = hh::testing::read_text(file);
  const std::size_t bytes = std::size_t(hh::testing::kTinySide) * hh::testing::kTinySide * 3;
  return {text.end() - std::ptrdiff_t(bytes), text.end()};
}

std::vector<std::string> red_files(int count) {
  std::vector<std::string> files;
  for (int i = 0; i < count; ++i) {
    files.push_back(
        (trained().folder / ("images/red/" + std::to_string(100 + i) + ".ppm")).string());
  }
  return files;
}

TEST_CASE("training through the library tells each epoch", "[api]") {
  REQUIRE(trained().epochs.size() == 2);
  const hh_epoch& last = trained().epochs[1];
  CHECK(last.epoch == 2);
  CHECK(last.epochs == 2);
  CHECK(last.loss > 0);
  CHECK(last.learning_rate >= 0);
  CHECK(last.map > 0);
  CHECK(!trained().messages.empty());
  CHECK(fs::exists(trained().folder / "run/metrics.csv"));
}

TEST_CASE("a callback stops training, and resume ends it", "[api]") {
  const hh::testing::TemporaryFolder folder;
  const std::string recipe = (trained().folder / "tiny.toml").string(),
                    run = (folder / "run").string();
  hh_train_options options = HH_TRAIN_OPTIONS_INIT;
  int asked = 0;
  options.user = &asked;
  options.stop = [](void* user) { return int(++*static_cast<int*>(user) >= 3); };
  CHECK_FALSE(hybridhash::train(recipe, run, options));
  CHECK(asked >= 3);
  CHECK_THROWS_WITH(hybridhash::train(recipe, run), Contains("run"));  // there is one already
  options = HH_TRAIN_OPTIONS_INIT;
  options.resume = 1;
  CHECK(hybridhash::train("", run, options));
  CHECK(fs::exists(fs::path(run) / "best.safetensors"));
}

TEST_CASE("functions of C++ are told, and what they throw ends the run and is thrown", "[api]") {
  const hh::testing::TemporaryFolder folder;
  const std::string recipe = (trained().folder / "tiny.toml").string(),
                    run = (folder / "run").string();
  hybridhash::Training training{.settings = {"train.epochs=2"}};
  training.epoch = [](const hh_epoch&) { throw std::out_of_range("enough"); };
  CHECK_THROWS_AS(hybridhash::train(recipe, run, training), std::out_of_range);
  int epochs = 0, messages = 0;
  training.resume = true;
  training.stop = [] { return true; };
  training.epoch = [&](const hh_epoch& epoch) { epochs = epoch.epoch; };
  training.message = [&](const std::string&, bool) { ++messages; };
  CHECK_FALSE(hybridhash::train("", run, training));
  training.stop = nullptr;
  CHECK(hybridhash::train("", run, training));
  CHECK(epochs == 2);
  CHECK(messages > 0);

  std::string logged;
  hybridhash::set_log([&](hh_log_level level, const std::string& text) {
    logged += std::to_string(int(level)) + text;
    throw std::runtime_error("dropped");
  });
  hh::testing::write_text(folder / "bad.ppm", "P6 no picture");
  hh_encode_options skipping = HH_ENCODE_OPTIONS_INIT;
  skipping.skip_bad = 1;
  auto files = red_files(1);
  files.push_back((folder / "bad.ppm").string());
  CHECK(hybridhash::Model(trained().model).encode_files(files, skipping).count() == 1);
  hybridhash::set_log({});
  CHECK_THAT(logged, Contains("bad.ppm"));
}

TEST_CASE("pixels in memory have the codes of their files", "[api]") {
  const hybridhash::Model model(trained().model);
  CHECK(model.bits() == 16);
  CHECK(model.image_size() == 16);
  CHECK(model.channels() == 3);
  CHECK(model.hash().size() == 16);
  CHECK(model.class_names() == std::vector<std::string>{"blue", "green", "red"});
  const auto files = red_files(4);
  const hybridhash::Codes wanted = model.encode_files(files);
  REQUIRE(wanted.count() == 4);
  const int side = hh::testing::kTinySide;
  std::vector<std::vector<std::uint8_t>> kept;
  std::vector<hh_image> images;
  for (const std::string& file : files) kept.push_back(pixels_of(file));
  for (const auto& pixels : kept) images.push_back(hybridhash::image(pixels, side, side, 3));
  std::vector<float> outputs;
  const auto codes = model.encode(images, &outputs);
  CHECK(std::equal(codes.begin(), codes.end(), wanted.bytes().begin(), wanted.bytes().end()));
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    REQUIRE(outputs[i] >= -1);
    REQUIRE(outputs[i] <= 1);
    CHECK((outputs[i] > 0) == bool(codes[i / 16 * 2 + i % 16 / 8] >> (i % 8) & 1));
  }
  SECTION("whatever their strides") {
    // Channels apart, rows from the bottom, columns with gaps.
    const std::size_t pitch = std::size_t(side) * 2 + 5, plane = pitch * std::size_t(side);
    std::vector<std::uint8_t> loose(3 * plane);
    for (int y = 0; y < side; ++y) {
      for (int x = 0; x < side; ++x) {
        for (std::size_t c = 0; c < 3; ++c) {
          loose[c * plane + std::size_t(side - 1 - y) * pitch + std::size_t(x) * 2] =
              kept[0][std::size_t(y * side + x) * 3 + c];
        }
      }
    }
    const hh_image view{.pixels = loose.data() + std::size_t(side - 1) * pitch,
                        .height = side,
                        .width = side,
                        .channels = 3,
                        .row_stride = -std::int64_t(pitch),
                        .pixel_stride = 2,
                        .channel_stride = std::int64_t(plane)};
    const auto code = model.encode({&view, 1});
    CHECK(std::equal(code.begin(), code.end(), codes.begin()));
  }
  SECTION("from several threads, each with threads of its own") {
    std::vector<std::vector<std::uint8_t>> found(4);
    std::vector<std::thread> threads;
    for (auto& to : found) threads.emplace_back([&] { to = model.encode(images); });
    for (auto& thread : threads) thread.join();
    for (const auto& of_thread : found) CHECK(of_thread == codes);
  }
}

TEST_CASE("a callback that asks for what its call holds is told so", "[api]") {
  struct Asked {
    hh_model* model;
    hh_status status = HH_OK;
    int calls = 0;
  };
  const hybridhash::Model model(trained().model);
  const auto again = [](std::int64_t, std::int64_t, void* user) {
    auto& asked = *static_cast<Asked*>(user);
    ++asked.calls;
    asked.status = hh_model_encode(asked.model, nullptr, 0, nullptr, nullptr, nullptr);
    return 0;
  };
  // 16 x 16 pixels are read in place where the transform takes them so, others are copied.
  for (const int side : {16, 24}) {
    const std::vector<std::uint8_t> pixels(std::size_t(side) * std::size_t(side) * 3);
    const hh_image image = hybridhash::image(pixels, side, side, 3);
    Asked asked{.model = model.get()};
    hh_encode_options options = HH_ENCODE_OPTIONS_INIT;
    options.progress = again;
    options.user = &asked;
    std::uint8_t code[2];
    REQUIRE(hh_model_encode(model.get(), &image, 1, &options, code, nullptr) == HH_OK);
    CHECK(asked.calls >= 1);
    CHECK(asked.status == HH_INVALID_ARGUMENT);
    CHECK_THAT(hh_last_error(), Contains("from inside its own progress"));
  }
}

TEST_CASE("an index is changed where it was opened", "[api]") {
  const hh::testing::TemporaryFolder folder;
  const fs::path before = fs::current_path();
  hh_codes_data one = HH_CODES_DATA_INIT;
  const std::uint8_t bytes[] = {1};
  one.bits = 8;
  one.count = 1;
  one.codes = bytes;
  for (const char* name : {"a", "b"}) {
    fs::create_directory(folder / name);
    hybridhash::Index::build((folder / name / "x").string(), hybridhash::Codes(one));
  }
  fs::current_path(folder / "a");
  hybridhash::Index index("x");
  fs::current_path(folder / "b");
  index.add(hybridhash::Codes(one), HH_SAME_ID_RENUMBER);
  fs::current_path(before);
  CHECK(hybridhash::Index((folder / "a/x").string()).count() == 2);
  CHECK(hybridhash::Index((folder / "b/x").string()).count() == 1);
}

TEST_CASE("a count that no array has is the caller's mistake", "[api]") {
  const hybridhash::Model model(trained().model);
  const hh_image image{};
  const std::int64_t most = std::int64_t{1} << 60;
  CHECK(hh_model_encode(model.get(), &image, most, nullptr, nullptr, nullptr) ==
        HH_INVALID_ARGUMENT);
}

TEST_CASE("a folder's images, and what the network sees of pixels", "[api]") {
  const hybridhash::Model model(trained().model);
  const hybridhash::Codes codes = model.encode_folder((trained().folder / "images").string());
  REQUIRE(codes.count() == 60);
  CHECK_THAT(codes.name(0), Contains(".ppm"));
  CHECK(codes.labels(0).empty());
  CHECK(model.exif_orientation());
  const auto pixels = pixels_of(red_files(1)[0]);
  const int side = hh::testing::kTinySide;
  const hh_image image = hybridhash::image(pixels, side, side, 3);
  const std::vector<hh_image> two{image, image};
  const auto seen = model.transform(two);
  REQUIRE(seen.size() == 2 * 16 * 16 * 3);
  CHECK(std::equal(seen.begin(), seen.begin() + 16 * 16 * 3, seen.begin() + 16 * 16 * 3));
  CHECK(model.copies() == std::pair<std::int64_t, std::int64_t>{0, 0});
  model.encode(two);
  CHECK(model.copies() == std::pair<std::int64_t, std::int64_t>{2, 0});
  std::uint8_t none[1];
  CHECK(hh_model_transform(model.get(), nullptr, 0, nullptr) == HH_OK);
  CHECK(hh_model_transform(model.get(), &image, 1, nullptr) == HH_INVALID_ARGUMENT);
  CHECK(hh_model_transform(model.get(), nullptr, 1, none) == HH_INVALID_ARGUMENT);
  CHECK(hh_model_transform(model.get(), &image, -1, none) == HH_INVALID_ARGUMENT);
}

TEST_CASE("a network becomes an ONNX file", "[api]") {
  const hybridhash::Model model(trained().model);
  const hh::testing::TemporaryFolder folder;
  const std::string path = (folder / "m.onnx").string();
  hh_onnx_options options = HH_ONNX_OPTIONS_INIT;
  options.opset = 3;
  CHECK(hh_model_export_onnx(model.get(), path.c_str(), &options) == HH_INVALID_ARGUMENT);
  CHECK_THAT(hh_last_error(), Contains("opset = 3: use 17 to 20"));
  CHECK(hh_model_export_onnx(model.get(), nullptr, nullptr) == HH_INVALID_ARGUMENT);
  CHECK_FALSE(fs::exists(path));
  if (hh_model_export_onnx(model.get(), path.c_str(), nullptr) == HH_OK) {
    CHECK(fs::file_size(path) > 10'000);
  } else {  // built without
    CHECK_THAT(hh_last_error(), Contains("libonnx-dev"));
  }
}

/// The codes of all 60 images, with names and labels.
hybridhash::Codes all_codes(const hybridhash::Model& model) {
  hh_source source = HH_SOURCE_INIT;
  const std::string images = (trained().folder / "images").string();
  source.class_folder = images.c_str();
  return model.encode_source(source);
}

TEST_CASE("an index is built, searched, changed and read again", "[api]") {
  const hh::testing::TemporaryFolder folder;
  const hybridhash::Model model(trained().model);
  const hybridhash::Codes codes = all_codes(model);
  REQUIRE(codes.count() == 60);
  auto index = hybridhash::Index::build((folder / "index").string(), codes);
  CHECK(index.count() == 60);
  CHECK(index.bits() == 16);
  CHECK(index.model_hash() == model.hash());
  CHECK_THROWS_WITH(hybridhash::Index::build((folder / "index").string(), codes),
                    Contains("exists already"));

  const auto own = codes.bytes().subspan(10 * 2, 2);
  const auto hits = index.search(own, 60);
  REQUIRE(hits.queries() == 1);
  REQUIRE(hits.ids(0).size() == 60);
  CHECK(hits.distances(0)[0] == 0);
  CHECK(std::is_sorted(hits.distances(0).begin(), hits.distances(0).end()));
  std::vector<std::int64_t> ids(60);
  std::vector<std::int32_t> distances(60);
  REQUIRE(hh_index_nearest(index.get(), own.data(), 1, 60, ids.data(), distances.data()) == HH_OK);
  CHECK(std::equal(ids.begin(), ids.end(), hits.ids(0).begin()));
  CHECK(std::equal(distances.begin(), distances.end(), hits.distances(0).begin()));
  CHECK(index.nearest(own, 60).ids == ids);
  CHECK(index.nearest(own, 60).distances == distances);
  CHECK_THROWS_WITH(index.nearest(own, 0), Contains("k = 0"));

  SECTION("by id, within a radius, with a filter") {
    hh_queries queries = HH_QUERIES_INIT;
    const std::int64_t id = 10;
    queries.count = 1;
    queries.ids = &id;
    hh_search_options options = HH_SEARCH_OPTIONS_INIT;
    const char* const filters[] = {"label=red"};
    options.radius = 16;
    options.filters = filters;
    options.filter_count = 1;
    options.exclude_self = 1;
    CHECK(index.search(queries, options).ids(0).size() == 20);
    const auto reds = index.select({"label=red"});
    REQUIRE(reds.count() == 20);
    CHECK_THAT(std::string(reds.view().names[0]), Contains("red"));
    CHECK(reds.view().labels[0] == 4);
    CHECK(index.items(std::vector<std::int64_t>{id}).ids()[0] == id);
  }
  SECTION("changes last, and another handle sees them when it refreshes") {
    hybridhash::Index other((folder / "index").string());
    CHECK(index.remove(std::vector<std::int64_t>{0, 1, 2, 99}) == 3);
    CHECK(index.count() == 57);
    CHECK(other.count() == 60);
    other.refresh();
    CHECK(other.count() == 57);
    CHECK_THROWS_WITH(index.items(std::vector<std::int64_t>{1}), Contains("no item with id 1"));
    CHECK_THROWS_AS(index.add(codes), hybridhash::Error);  // ids that are there
    CHECK(index.add(codes, HH_SAME_ID_RENUMBER) == 0);
    CHECK(index.count() == 117);
    CHECK(index.add(codes, HH_SAME_ID_REPLACE) == 57);
    index.compact();
    CHECK(index.count() == 120);
    CHECK(hybridhash::Index((folder / "index").string()).count() == 120);
  }
  SECTION("searched while it changes") {
    std::thread writer([&] {
      for (int i = 0; i < 5; ++i) index.add(codes, HH_SAME_ID_RENUMBER);
    });
    for (int i = 0; i < 50; ++i) CHECK(index.search(own, 5).ids(0).size() == 5);
    writer.join();
    CHECK(index.count() == 360);
  }
}

TEST_CASE("codes go through a file, and are evaluated", "[api]") {
  const hh::testing::TemporaryFolder folder;
  const hybridhash::Codes codes = all_codes(hybridhash::Model(trained().model));
  codes.write((folder / "all.codes").string());
  const auto read = hybridhash::Codes::read((folder / "all.codes").string());
  CHECK(std::equal(read.bytes().begin(), read.bytes().end(), codes.bytes().begin()));
  const auto evaluation = hybridhash::evaluate(read, codes);
  CHECK(evaluation.queries == 60);
  CHECK(evaluation.map_worst <= evaluation.map_stable);
  CHECK(evaluation.map_stable <= evaluation.map_best);
  CHECK(evaluation.map_low <= evaluation.map_stable);
  CHECK(evaluation.map_stable <= evaluation.map_high);
}

TEST_CASE("labels past the last class are a status", "[api]") {
  const std::uint8_t bytes[] = {1, 2};
  const std::uint64_t labels[] = {1, 255};  // the second has classes 0 to 7, of 3
  const char* const names[] = {"x", "y", "z"};
  hh_codes_data data = HH_CODES_DATA_INIT;
  data.bits = 8;
  data.count = 2;
  data.codes = bytes;
  data.classes = 3;
  data.labels = labels;
  data.class_names = names;
  hh_codes* codes = nullptr;
  CHECK(hh_codes_create(&data, &codes) == HH_INVALID_ARGUMENT);
  CHECK_THAT(hh_last_error(), Contains("item 1 has a class past the last of 3 classes"));
  CHECK(codes == nullptr);
}

TEST_CASE("an empty index can be made and filled", "[api]") {
  const hh::testing::TemporaryFolder folder;
  hh_codes_data none = HH_CODES_DATA_INIT;
  none.bits = 20;
  auto index = hybridhash::Index::build((folder / "index").string(), hybridhash::Codes(none));
  CHECK(index.count() == 0);
  const std::uint8_t bytes[] = {1, 2, 3};
  CHECK(index.search(bytes, 3).ids(0).empty());
  hh_codes_data one = none;
  one.count = 1;
  one.codes = bytes;
  index.add(hybridhash::Codes(one));
  CHECK(index.search(bytes, 3).ids(0).size() == 1);
}

TEST_CASE("an index that was empty takes the model of the first codes", "[api]") {
  const hh::testing::TemporaryFolder folder;
  const hybridhash::Codes codes = all_codes(hybridhash::Model(trained().model));
  hh_codes_data none = HH_CODES_DATA_INIT;
  none.bits = 16;
  auto index = hybridhash::Index::build((folder / "index").string(), hybridhash::Codes(none));
  hybridhash::Index other((folder / "index").string());
  const char* const before = hh_index_model_hash(other.get());
  CHECK(index.model_hash().empty());
  index.add(codes);
  CHECK(index.model_hash() == codes.view().model_hash);
  other.refresh();
  CHECK(other.model_hash() == codes.view().model_hash);
  CHECK(std::string(before).empty());  // what was returned lives as long as the handle
  SECTION("an index of other bits in its place is another index") {
    none.bits = 8;
    hybridhash::Index::build((folder / "index").string(), hybridhash::Codes(none), true);
    CHECK_THROWS_WITH(other.refresh(), Contains("8 bits now, and had 16"));
    CHECK_THROWS_WITH(other.remove(std::vector<std::int64_t>{0}), Contains("open it again"));
    CHECK(other.bits() == 16);
    CHECK(other.count() == 60);
  }
}

TEST_CASE("a model that can't be opened is a status and one line", "[api]") {
  const hh::testing::TemporaryFolder folder;
  hh_model* model = nullptr;
  const auto opened = [&](const std::string& path) {
    return hh_model_open(path.c_str(), nullptr, &model);
  };
  CHECK(opened((folder / "none").string()) == HH_BAD_FILE);
  CHECK_THAT(hh_last_error(), Contains("none"));
  CHECK(hh_model_open(nullptr, nullptr, &model) == HH_INVALID_ARGUMENT);
  CHECK(std::string(hh_last_error()) == "path is NULL");
  CHECK(hh_model_open("x", nullptr, nullptr) == HH_INVALID_ARGUMENT);
  CHECK(model == nullptr);
  hh_model_close(nullptr);
  hh_index_close(nullptr);
  hh_codes_close(nullptr);
  hh_hits_close(nullptr);

  hh_model_options options = HH_MODEL_OPTIONS_INIT;
  options.size = 1000;
  CHECK(hh_model_open("x", &options, &model) == HH_INVALID_ARGUMENT);
  CHECK_THAT(hh_last_error(), Contains("size = 1000"));
  options = HH_MODEL_OPTIONS_INIT;
  options.dtype = "f64";
  CHECK(hh_model_open("x", &options, &model) == HH_INVALID_ARGUMENT);
  options.dtype = "f16";
  CHECK(hh_model_open(trained().model.c_str(), &options, &model) == HH_INVALID_ARGUMENT);
  options.dtype = nullptr;
  options.device = "tpu";
  CHECK(hh_model_open(trained().model.c_str(), &options, &model) == HH_INVALID_ARGUMENT);

  CHECK(model == nullptr);
}

TEST_CASE("images that can't be encoded are a status and one line", "[api]") {
  hh_model* model = nullptr;
  REQUIRE(hh_model_open(trained().model.c_str(), nullptr, &model) == HH_OK);
  const std::uint8_t pixel[] = {1, 2, 3, 4};
  std::uint8_t code[2];
  hh_image image = hybridhash::image(pixel, 1, 4, 1);
  for (const auto& [change, word] : std::vector<std::pair<std::function<void()>, std::string>>{
           {[&] { image.channels = 4; }, "4 channels; use 1"},
           {[&] { image.height = 0; }, "0 x 4"},
           {[&] { image.height = 1 << 30, image.width = 1 << 30; }, "the limit is"},
           {[&] { image.pixels = nullptr; }, "no pixels"}}) {
    image = hybridhash::image(pixel, 1, 4, 1);
    change();
    CHECK(hh_model_encode(model, &image, 1, nullptr, code, nullptr) == HH_INVALID_ARGUMENT);
    CHECK_THAT(hh_last_error(), Contains(word));
    CHECK_THAT(hh_last_error(), !Contains("::"));
  }
  CHECK(hh_model_encode(model, nullptr, 0, nullptr, nullptr, nullptr) == HH_OK);
  CHECK(hh_model_encode(model, nullptr, -1, nullptr, nullptr, nullptr) == HH_INVALID_ARGUMENT);
  const char* const file = "/no/such/file.jpg";
  hh_source source = HH_SOURCE_INIT;
  hh_codes* codes = nullptr;
  CHECK(hh_model_encode_source(model, &source, nullptr, &codes) == HH_INVALID_ARGUMENT);
  source.files = &file;
  source.file_count = 1;
  CHECK(hh_model_encode_source(model, &source, nullptr, &codes) == HH_BAD_FILE);
  CHECK_THAT(hh_last_error(), Contains("/no/such/file.jpg"));
  hh_encode_options stop = HH_ENCODE_OPTIONS_INIT;
  stop.progress = [](std::int64_t, std::int64_t, void*) { return 1; };
  const auto files = red_files(1);
  const char* const red = files[0].c_str();
  source.files = &red;
  CHECK(hh_model_encode_source(model, &source, &stop, &codes) == HH_STOPPED);
  CHECK(codes == nullptr);
  hh_model_close(model);
}

TEST_CASE("codes whose length can't be is a status", "[api]") {
  const hh::testing::TemporaryFolder folder;
  hh_codes* codes = nullptr;
  hh_codes_data data = HH_CODES_DATA_INIT;
  data.bits = 513;
  CHECK(hh_codes_create(&data, &codes) == HH_INVALID_ARGUMENT);
  data.bits = 7;
  data.count = 1;
  const std::uint8_t past = 0x80;  // a bit past the last
  data.codes = &past;
  CHECK(hh_codes_create(&data, &codes) == HH_INVALID_ARGUMENT);
  // Formats that know bytes alone lose a code's length, unless it is said.
  const std::uint8_t twelve[] = {0xff, 0x0f};
  data = HH_CODES_DATA_INIT;
  data.bits = 12;
  data.count = 1;
  data.codes = twelve;
  const std::string npy = (folder / "a.npy").string();
  hybridhash::Codes(data).write(npy);
  CHECK(hybridhash::Codes::read(npy).bits() == 16);
  CHECK(hybridhash::Codes::read(npy, 12).bits() == 12);
  for (const int bits : {7, 11, 17, 513, -1}) {
    CHECK_THROWS_AS(hybridhash::Codes::read(npy, bits), hybridhash::Error);
  }
}

TEST_CASE("an error names what the library has, not the program's flags", "[api]") {
  const hh::testing::TemporaryFolder folder;
  const hybridhash::Model model(trained().model);
  const std::string recipe = (trained().folder / "tiny.toml").string(),
                    run = (trained().folder / "run").string(),
                    odd = (folder / "a --skip-bad").string();
  CHECK_THROWS_WITH(hybridhash::train(recipe, run),
                    Contains("continue it by resume, or choose another folder"));
  const hybridhash::Codes codes = all_codes(model);
  auto index = hybridhash::Index::build((folder / "index").string(), codes);
  CHECK_THROWS_WITH(hybridhash::Index::build((folder / "index").string(), codes),
                    Contains("open it and add to it, or replace it by overwrite"));
  CHECK_THROWS_WITH(index.add(codes), Contains("use same_id replace or renumber"));
  hh_search_options options = HH_SEARCH_OPTIONS_INIT;
  options.rerank = 5;
  hh_queries queries = HH_QUERIES_INIT;
  queries.count = 1;
  queries.codes = codes.bytes().data();
  CHECK_THROWS_WITH(index.search(queries, options), Contains("build it with keep_outputs"));
  hh::testing::write_text(odd + ".ppm", "P6 no picture");
  CHECK_THROWS_WITH(model.encode_files({odd + ".ppm"}),
                    Contains(odd) && Contains("(skip_bad leaves them out)"));
  CHECK_THROWS_WITH(hybridhash::Model(trained().model, "cuda:77"), !Contains("--"));
}

TEST_CASE("an error's text is its thread's own", "[api]") {
  CHECK(hh_set_threads(-1) == HH_INVALID_ARGUMENT);
  CHECK(std::string(hh_status_name(HH_BUSY)) == "busy");
  std::string elsewhere = "x";
  std::thread([&] { elsewhere = hh_last_error(); }).join();
  CHECK(elsewhere.empty());
}

TEST_CASE("a struct of an older header keeps its meaning", "[api]") {
  struct Older {  // before `threads` was added
    std::size_t size;
    const char *device, *dtype;
  } older{sizeof(Older), nullptr, nullptr};
  hh_model* model = nullptr;
  REQUIRE(hh_model_open(trained().model.c_str(), reinterpret_cast<const hh_model_options*>(&older),
                        &model) == HH_OK);
  CHECK(hh_model_bits(model) == 16);
  hh_model_close(model);
}

}  // namespace
