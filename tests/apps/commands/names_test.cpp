// SPDX-License-Identifier: Apache-2.0
// Names of folders and files that aren't UTF-8 go through every command, and stay different.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "engine/text/utf8.h"
#include "pipeline/model_file.h"
#include "retrieval/codes/code_file.h"
#include "tests/apps/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_data.h"

namespace hh {
namespace {

using Catch::Contains;

TEST_CASE("names that aren't UTF-8 go through every command", "[names]") {
  const testing::TemporaryFolder folder;
  // Latin-1 in the path to the data, in a class and in a file; and a class whose name is the
  // escape of another's.
  const std::string data = (folder /
                            "donn\xe9"
                            "es")
                               .string();
  testing::make_tiny_images(data);
  const auto rename = [&](const std::string& from, const std::string& to) {
    std::filesystem::rename(data + "/" + from, data + "/" + to);
  };
  rename("blue", "caf\xe9");
  rename("green", "caf\\xe9");
  rename("caf\xe9/100.ppm", "caf\xe9/\xff.ppm");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe("nowhere"));
  const auto path = [&](const std::string& name) { return (folder / name).string(); };
  const auto run = [&](const std::vector<std::string>& words) {
    const testing::Outcome outcome = testing::run_program(folder.path(), words);
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);
    return outcome.out;
  };
  run({"train", path("tiny.toml"), "--out", path("run"), "--set", "data.path=" + data, "--set",
       "train.epochs=1"});
  const std::string model = path("run/last.safetensors");
  const std::vector<std::string> classes{"caf\\x5cxe9", "caf\\xe9", "red"};
  CHECK(pipeline::load_model(model, kCpu, DType::f32)->info.class_names == classes);
  run({"train", "--resume", path("run"), "--set", "train.epochs=2"});
  run({"encode", "--model", model, "--part", "all", "--out", path("all.codes")});
  run({"eval", "--run", path("run"), "--out", path("report")});
  CHECK(nlohmann::json::parse(testing::read_text(folder / "report/eval.json"))
            .at("classes")[1]
            .at("name") == "caf\\xe9");
  run({"dataset", "check", "--protocol", "folder", "--data", data, "--json"});

  run({"encode", "--model", model, "--class-folder", data, "--out", path("c.codes")});
  const auto codes = retrieval::read_code_file(path("c.codes"));
  CHECK(codes.class_names == classes);
  CHECK(codes.source == as_utf8(data));
  const auto odd = std::find(codes.names.begin(), codes.names.end(), "caf\xe9/\xff.ppm");
  REQUIRE(odd != codes.names.end());  // bytes are kept where the file can hold them
  const auto id = std::to_string(odd - codes.names.begin());
  run({"index", "build", "--codes", path("c.codes"), "--out", path("index")});
  CHECK(nlohmann::json::parse(run({"index", "info", path("index"), "--json"})).at("class_names") ==
        classes);
  for (const char* filter : {"path=caf\xe9/\xff.ppm", "path=caf\\xe9/\\xff.ppm"}) {
    const auto found = nlohmann::json::parse(
        run({"search", "--index", path("index"), "--id", id, "-k", "1", "--filter", filter,
             "--filter", "label=caf\xe9", "--json", "--html", path("page.html")}));
    const auto& result = found.at("results")[0].at("results")[0];
    CHECK(result.at("path") == "caf\\xe9/\\xff.ppm");
    CHECK(result.at("labels") == std::vector<std::string>{"caf\\xe9"});
  }
  run({"search", "--index", path("index"), "--id", id, "-k", "1", "--html", path("page.html")});
  const std::string page = testing::read_text(folder / "page.html");
  CHECK(is_utf8(page));
  CHECK_THAT(page, Contains("caf\\xe9/\\xff.ppm") && Contains("<img"));  // the picture is found
  run({"index", "export", path("index"), "--out", path("i.csv")});
  CHECK_THAT(testing::read_text(folder / "i.csv"), Contains("caf\xe9/\xff.ppm"));
  for (const char* text : {"i.jsonl", "i.copy"}) {
    run({"index", "export", path("index"), "--out", path(text)});
    CHECK(is_utf8(testing::read_text(folder / text)));
  }
  run({"index", "build", "--codes", path("i.csv"), "--out", path("again")});
}

TEST_CASE("a name with a line end stays on its line", "[names]") {
  const testing::TemporaryFolder folder;
  const std::string data = folder / "images";
  testing::make_tiny_images(data);
  // As a line of the report's own, and as a message of the terminal.
  const std::string evil = "\nnothing is wrong\r\x1b[2Kok";
  std::filesystem::rename(data + "/red", data + "/red" + evil);
  const std::string again = data + "/red" + evil + "/copy" + evil + ".ppm";
  std::filesystem::copy_file(data + "/blue/100.ppm", again);
  std::filesystem::create_directory(data + "/@eaDir");
  const auto check_lines = [](const std::string& text) {
    CAPTURE(text);
    CHECK(text.find('\r') == std::string::npos);
    CHECK(text.find('\x1b') == std::string::npos);
    CHECK(text.find("\nnothing is wrong") == std::string::npos);
  };
  std::ofstream(data + "/red" + evil + "/bad" + evil + ".jpg") << "x";
  const auto found = testing::run_program(
      folder.path(), {"dataset", "check", "--protocol", "folder", "--data", data});
  CHECK(found.status == 1);
  check_lines(found.out);
  check_lines(found.err);
  CHECK_THAT(found.out, Contains("wrong: ") && Contains("red\\nnothing is wrong"));
  std::filesystem::remove(data + "/red" + evil + "/bad" + evil + ".jpg");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(data));
  const std::string run = (folder / ("run" + evil)).string();
  const auto trained = testing::run_program(
      folder.path(),
      {"train", folder / "tiny.toml", "--out", run, "--set", "train.epochs=1", "--device", "cpu"});
  CHECK(trained.status == 0);
  check_lines(trained.out);
  check_lines(trained.err);
  const auto info = testing::run_program(folder.path(), {"info", run, run + "/best.safetensors"});
  CHECK(info.status == 0);
  check_lines(info.out);
}

}  // namespace
}  // namespace hh
