// SPDX-License-Identifier: Apache-2.0
// Whether photographs are turned as their EXIF data says is the model's: training, encode, search,
// serve and pictures on pages agree.
#include <httplib.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "apps/report/thumbnail.h"
#include "data/images/decode.h"
#include "pipeline/model_file.h"
#include "retrieval/codes/code_file.h"
#include "retrieval/files/item_files.h"
#include "tests/apps/program.h"
#include "tests/support/images.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_data.h"

namespace hh {
namespace {

using Catch::Contains;

constexpr int kPerClass = 7;

/// A wide picture that is stored lying on its side.
testing::Bytes turned_photo(int number) {
  return testing::encode_jpeg(testing::picture(40, 24, 3, std::uint64_t(number)),
                              {.orientation = number % 2 == 0 ? 6 : 8});
}

/// The photographs as JPEG files with orientations; their pixels upright; their pixels as stored.
void make_photos(const testing::TemporaryFolder& folder) {
  for (int i = 0; i < 3 * kPerClass; ++i) {
    const auto name = "class " + std::to_string(i % 3) + "/" + std::to_string(100 + i);
    for (const char* kind : {"photos", "upright", "stored"}) {
      std::filesystem::create_directories((folder / kind / name).parent_path());
    }
    const testing::Bytes jpeg = turned_photo(i);
    const auto pixels = [&](bool turn) {
      return testing::as_text(
          testing::encode_pnm(data::decode_image(jpeg, {.exif_orientation = turn})));
    };
    testing::write_text(folder / "photos" / (name + ".jpg"), testing::as_text(jpeg));
    testing::write_text(folder / "upright" / (name + ".ppm"), pixels(true));
    testing::write_text(folder / "stored" / (name + ".ppm"), pixels(false));
  }
}

/// The port of a server that was started.
int port_of(testing::Program& server) {
  REQUIRE(testing::wait_for([&] { return server.out().ends_with("/\n") || !server.running(); }));
  const std::string line = server.out();
  return std::atoi(line.c_str() + line.rfind(':') + 1);
}

/// How the picture of an index's first item is served without a model.
bool served_turned(const testing::TemporaryFolder& folder, const std::string& index) {
  testing::Program server(
      folder.path(), {"serve", "--index", index, "--port", "0", "--device", "cpu", "--threads", "1",
                      "--image-root", (folder / "photos").string()});
  httplib::Client client("127.0.0.1", port_of(server));
  const auto answer = client.Get("/api/items/0/image");
  REQUIRE(answer);
  REQUIRE(answer->status == 200);
  const data::Image image =
      data::decode_image(testing::Bytes(answer->body.begin(), answer->body.end()), {});
  return image.height < image.width;
}

/// What HTTP answers for a picture.
std::string served_code(const testing::TemporaryFolder& folder, const std::string& index,
                        const std::string& model, const std::string& picture) {
  testing::Program server(folder.path(), {"serve", "--index", index, "--model", model, "--port",
                                          "0", "--device", "cpu", "--threads", "1"});
  httplib::Client client("127.0.0.1", port_of(server));
  const auto answer = client.Post("/api/encode", picture, "image/jpeg");
  REQUIRE(answer);
  INFO(answer->body);
  REQUIRE(answer->status == 200);
  return nlohmann::json::parse(answer->body).at("code");
}

TEST_CASE("a turned photograph is the same to training, encode, search and serve", "[exif]") {
  const testing::TemporaryFolder folder;
  make_photos(folder);
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "photos"));
  const auto path = [&](const std::string& name) { return (folder / name).string(); };
  const auto run = [&](const std::vector<std::string>& words) {
    const testing::Outcome outcome = testing::run_program(folder.path(), words);
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);
    return outcome.out;
  };
  const auto train = [&](const std::string& images, const std::string& exif) {
    const std::string out = images + " " + exif;
    run({"train", path("tiny.toml"), "--out", path(out), "--set", "data.path=" + path(images),
         "--set", "data.exif_orientation=" + exif, "--set", "train.epochs=2"});
    return path(out + "/last.safetensors");
  };
  const auto hash = [](const std::string& model) {
    return pipeline::load_model(model, kCpu, DType::f32)->hash;
  };
  const std::string on = train("photos", "auto"), off = train("photos", "false");
  // Protocol "folder" turns, and stores that it did.
  CHECK(hash(on) == hash(train("upright", "auto")));
  CHECK(hash(off) == hash(train("stored", "false")));
  CHECK(hash(on) != hash(off));
  CHECK_THAT(run({"info", on}), Contains("photographs are turned"));
  CHECK_THAT(testing::read_text(folder / "photos auto/recipe.toml"),
             Contains("exif_orientation = true"));

  for (const auto& [model, same, other] :
       {std::tuple(on, "upright", "stored"), std::tuple(off, "stored", "upright")}) {
    CAPTURE(model);
    const auto outputs = [&, model = model](const std::string& images) {
      run({"encode", "--model", model, "--folder", path(images), "--out", path("x.codes"),
           "--outputs"});
      return retrieval::read_code_file(path("x.codes"));
    };
    const auto photos = outputs("photos");
    CHECK(photos.outputs == outputs(same).outputs);
    CHECK(photos.outputs != outputs(other).outputs);
    run({"index", "build", "--model", model, "--folder", path("photos"), "--out", path("index"),
         "--overwrite"});
    const auto one = path("photos/class 0/100.jpg");
    const auto code = retrieval::code_to_hex(photos.codes, 0);
    CHECK(photos.names[0] == "class 0/100.jpg");
    const auto found = nlohmann::json::parse(run({"search", "--index", path("index"), "--model",
                                                  model, "--image", one, "-k", "1", "--json"}));
    CHECK(found.at("results")[0].at("code") == code);
    CHECK(served_code(folder, path("index"), model, testing::read_text(one)) == code);

    // Codes and what is made of them know how the model saw the pictures.
    const bool turns = model == on;
    CHECK(photos.exif_orientation == turns);
    CHECK(served_turned(folder, path("index")) == turns);
    run({"index", "build", "--codes", path("x.codes"), "--out", path("other"), "--overwrite"});
    run({"index", "compact", path("other")});
    run({"index", "export", path("index"), "--out", path("y.codes")});
    CHECK(retrieval::Index::open(path("other")).manifest().exif_orientation ==
          std::optional(turns));
    CHECK(retrieval::read_code_file(path("y.codes")).exif_orientation == std::optional(turns));
    for (const std::vector<std::string>& query :
         {std::vector<std::string>{"--id", "0"}, {"--model", model, "--image", one}}) {
      std::vector<std::string> words{"search",       "--index",      path("index"), "--html",
                                     path("p.html"), "--image-root", path("photos")};
      words.insert(words.end(), query.begin(), query.end());
      run(words);
      CAPTURE(words);
      // Of the query and of the item found: 40 x 24 pixels, as they are or turned.
      CHECK((testing::read_text(folder / "p.html").find("width=\"40\"") != std::string::npos) ==
            turns);
    }
  }
}

TEST_CASE("pictures on pages stand as the model sees them", "[exif][thumbnail]") {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "a.jpg", testing::as_text(turned_photo(0)));
  const auto size = [&](bool exif) {
    apps::Thumbnails pictures({.image_root = folder.path().string(), .exif_orientation = exif});
    const apps::Thumbnail picture = pictures.of("a.jpg");
    return std::pair(picture.height, picture.width);
  };
  CHECK(size(false) == std::pair(40, 24));
  CHECK(size(true) == std::pair(24, 40));
}

TEST_CASE("the largest image is the model's, unless it is told", "[max_pixels]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  std::filesystem::create_directory(folder / "more");
  testing::write_text(folder / "more/large.ppm",
                      testing::as_text(testing::encode_pnm(testing::picture(20, 20, 3))));
  testing::write_text(folder / "list.txt", "large.ppm 1 0\n");
  const auto path = [&](const std::string& name) { return (folder / name).string(); };
  // The tiny images have 256 pixels, this one 400.
  REQUIRE(testing::run_program(folder.path(),
                               {"train", path("tiny.toml"), "--out", path("run"), "--set",
                                "train.epochs=1", "--set", "data.max_pixels=0.0003"})
              .status == 0);
  const std::string model = path("run/last.safetensors");
  for (const std::vector<std::string>& source :
       {std::vector<std::string>{"--folder", path("more")},
        {"--list", path("list.txt"), "--image-root", path("more")},
        {path("more/large.ppm")}}) {
    std::vector<std::string> words{"encode", "--model", model, "--out", path("x.codes")};
    words.insert(words.end(), source.begin(), source.end());
    const testing::Outcome refused = testing::run_program(folder.path(), words);
    CAPTURE(words, refused.err);
    CHECK(refused.status == 2);
    CHECK_THAT(refused.err, Contains("the limit is 0.0003 million"));
    words.insert(words.end(), {"--max-pixels", "0.0005"});
    CHECK(testing::run_program(folder.path(), words).status == 0);
  }
}

TEST_CASE("--exif says where it went, and a model's choice isn't changed", "[exif]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  const auto path = [&](const std::string& name) { return (folder / name).string(); };
  const auto run = [&](const std::vector<std::string>& words) {
    return testing::run_program(folder.path(), words);
  };
  REQUIRE(
      run({"train", path("tiny.toml"), "--out", path("run"), "--set", "train.epochs=1"}).status ==
      0);
  const std::string model = path("run/last.safetensors");
  const auto gone = run(
      {"encode", "--model", model, "--folder", path("images"), "--out", path("x.codes"), "--exif"});
  CHECK(gone.status == 2);
  CHECK_THAT(gone.err, Contains("--exif: a model knows itself"));
  const auto changed = run({"encode", "--model", model, "--part", "query", "--out", path("x.codes"),
                            "--set", "data.exif_orientation=false"});
  CHECK(changed.status == 2);
  CHECK_THAT(changed.err, Contains("data.exif_orientation is true for this model"));
}

}  // namespace
}  // namespace hh
