// SPDX-License-Identifier: Apache-2.0
// By which decoding of JPEGs codes are made, and that their file says so.
#include <catch2/catch.hpp>
#include <cmath>

#include "retrieval/codes/code_file.h"
#include "tests/apps/program.h"
#include "tests/support/images.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_data.h"

namespace hh {
namespace {

using Catch::Contains;
using testing::Outcome, testing::run_program;

/// JPEGs of 160 x 120 pixels, of two classes, and a model of 16 pixels that resizes them to 18.
class Photographs {
 public:
  Photographs() {
    for (std::uint64_t i = 0; i < 16; ++i) {
      const auto image = testing::picture(120, 160, 3, 1 + i % 2 * 100 + i);
      const auto path = folder_ / ("photos/" + std::string(i % 2 == 0 ? "a" : "b"));
      std::filesystem::create_directories(path);
      testing::write_text(path / (std::to_string(i) + ".jpg"),
                          testing::as_text(testing::encode_jpeg(image)));
    }
  }
  std::string path(const std::string& name) const { return folder_ / name; }
  Outcome run(const std::vector<std::string>& words) const {
    return run_program(folder_.path(), words);
  }
  void train(const std::string& scaled) const {
    testing::write_text(path("tiny.toml"), testing::tiny_recipe(path("photos")));
    REQUIRE(run({"train", path("tiny.toml"), "--out", path("run"), "--device", "cpu", "--set",
                 "data.scaled_decode=" + scaled, "--set", "train.epochs=1", "--set",
                 "data.query_per_class=1", "--set", "evaluate.hold_out=0"})
                .status == 0);
  }
  retrieval::CodeSet encode(std::vector<std::string> more) const {
    std::vector<std::string> words{"encode",   "--model", path("run/best.safetensors"),
                                   "--out",    path("c"), "--outputs",
                                   "--device", "cpu"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = run(words);
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);
    return retrieval::read_code_file(path("c"));
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_CASE("a model decodes every image as it was trained to", "[decoding]") {
  const Photographs photos;
  photos.train("true");
  const retrieval::CodeSet part = photos.encode({"--part", "all"});
  CHECK(part.scaled_shorter_side == 18);
  const retrieval::CodeSet folder = photos.encode({"--class-folder", photos.path("photos")});
  CHECK(folder.scaled_shorter_side == 18);
  CHECK(folder.outputs == part.outputs);
  const retrieval::CodeSet whole =
      photos.encode({"--class-folder", photos.path("photos"), "--decode", "whole"});
  CHECK(whole.scaled_shorter_side == 0);
  CHECK(whole.outputs != part.outputs);
  CHECK(photos.encode({"--part", "all", "--set", "data.scaled_decode=false"}).outputs ==
        whole.outputs);
}

TEST_CASE("scaled decoding is asked for, named, and near to whole", "[decoding]") {
  const Photographs photos;
  photos.train("false");
  const std::string folder = photos.path("photos");
  const retrieval::CodeSet whole = photos.encode({"--folder", folder});
  CHECK(whole.scaled_shorter_side == 0);
  CHECK(photos.encode({"--folder", folder, "--decode", "whole"}).outputs == whole.outputs);
  const retrieval::CodeSet scaled = photos.encode({"--folder", folder, "--decode", "scaled"});
  CHECK(scaled.scaled_shorter_side == 36);
  REQUIRE(scaled.outputs.size() == whole.outputs.size());
  CHECK(scaled.outputs != whole.outputs);
  double sum = 0;
  for (std::size_t i = 0; i < whole.outputs.size(); ++i) {
    sum += std::abs(double(scaled.outputs[i]) - double(whole.outputs[i]));
  }
  CHECK(sum / double(whole.outputs.size()) < 0.05);  // of outputs in (-1, 1)
  CHECK_THAT(photos.run({"info", photos.path("c")}).out,
             Contains("decoded at a fraction, down to 36 pixels"));
  photos.run({"index", "build", "--codes", photos.path("c"), "--out", photos.path("index")});
  CHECK_THAT(photos.run({"index", "info", photos.path("index")}).out,
             Contains("scaled_shorter_side 36") && !Contains("mixed"));

  const Outcome part =
      photos.run({"encode", "--model", photos.path("run/best.safetensors"), "--part", "all",
                  "--decode", "scaled", "--out", photos.path("d")});
  CHECK(part.status == 2);
  CHECK_THAT(part.err, Contains("--set data.scaled_decode=true"));
}

TEST_CASE("parts of one list are decoded alike", "[decoding]") {
  const Photographs photos;
  photos.train("false");
  testing::write_text(photos.path("list"), "a/0.jpg\nb/1.jpg\n");
  const auto encode = [&](const std::string& shard, const std::string& decode) {
    return photos.run({"encode", "--model", photos.path("run/best.safetensors"), "--list",
                       photos.path("list"), "--image-root", photos.path("photos"), "--shard", shard,
                       "--decode", decode, "--out", photos.path("parts") + "/", "--device", "cpu"});
  };
  const Outcome first = encode("0/2", "scaled");
  INFO(first.err);
  REQUIRE(first.status == 0);
  CHECK_THAT(encode("0/2", "whole").err, Contains("its images were transformed in another way"));
  CHECK(encode("0/2", "scaled").status == 0);
  REQUIRE(encode("1/2", "whole").status == 0);
  CHECK_THAT(photos.run({"codes", "merge", photos.path("parts"), "--out", photos.path("all")}).err,
             Contains("its images were transformed in another way"));
}

}  // namespace
}  // namespace hh
