// SPDX-License-Identifier: Apache-2.0
// What users get wrong: one line that says what, exit status 2.
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>

#include "engine/files/safetensors.h"
#include "kernels/gemm/instructions.h"
#include "retrieval/files/npy.h"
#include "tests/apps/program.h"
#include "tests/support/temporary_folder.h"

namespace hh {
namespace {

using Catch::Contains;
using testing::Outcome, testing::run_program;

TEST_CASE("mistakes of users are answered in one line", "[program]") {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "empty", "");
  testing::write_text(folder / "noise.safetensors", std::string(1000, '\xa5'));
  testing::write_text(folder / "bad.toml", "[train]\nepochz = 3\n");
  testing::write_text(folder / "plain.toml",
                      "[data]\nprotocol = \"folder\"\npath = \"/nowhere\"\n");
  const std::string empty = (folder / "empty").string(),
                    noise = (folder / "noise.safetensors").string();
  const std::string bad = (folder / "bad.toml").string(), plain = (folder / "plain.toml").string();
  const std::string out = (folder / "out").string();
  struct Mistake {
    std::vector<std::string> words;
    std::string reason;
  };
  // --device cpu: a program with a GPU side says in a line of its own that there is no GPU.
  const std::vector<Mistake> mistakes{
      {{}, "subcommand"},
      {{"fly"}, "fly"},
      {{"train"}, "RECIPE"},
      {{"train", "/nowhere.toml"}, "/nowhere.toml"},
      {{"train", bad, "--out", out, "--device", "cpu"}, "train.epochs"},
      {{"train", plain, "--out", out, "--device", "cpu"}, "/nowhere"},
      {{"train", plain, "--out", out, "--set", "train.epochs=0"}, "train.epochs = 0"},
      {{"train", plain, "--out", out, "--set", "model.bits=513"}, "bits = 513"},
      {{"train", "--resume", folder.path().string()}, "recipe.toml"},
      {{"train", "--device", "tpu", "--set", "train.epochs=1", "--out", out}, "tpu"},
      {{"train", "--simd", "mmx", "--set", "train.epochs=1", "--out", out}, "mmx"},
      {{"encode", "--model", noise, "--part", "query", "--out", out, "--device", "cpu"},
       "noise.safetensors"},
      {{"encode", "--model", empty, "--part", "query", "--out", out, "--device", "cpu"}, "empty"},
      {{"encode", "--model", "/nowhere"}, "/nowhere"},
      {{"encode", "--model", noise}, "--out"},
      {{"export", "--model", noise}, "--onnx"},
      {{"export", "--model", noise, "--onnx", out}, "noise.safetensors"},
      {{"export", "--model", noise, "--onnx", noise}, "--onnx"},
      {{"export", "--model", noise, "--onnx", out, "--opset", "16"}, "16: use a whole number"},
      {{"eval"}, "--queries"},
      {{"eval", "--queries", noise, "--database", noise, "--device", "cpu"}, "noise.safetensors"},
      {{"eval", "--queries", empty, "--database", empty, "--device", "cpu"}, "empty"},
      {{"eval", "--run", folder.path().string(), "--device", "cpu"}, "best.safetensors"},
      {{"verify", "/nowhere.json"}, "/nowhere.json"},
      {{"info", "/nowhere"}, "/nowhere"},
      {{"info", noise}, "noise.safetensors"},
      {{"info", empty}, "empty"},
      {{"info", folder.path().string()}, "recipe.toml"},
      {{"bench", "--config", "huge", "--device", "cpu"}, "huge"},
      {{"bench", "--batch", "0"}, "--batch"},
  };
  for (const Mistake& mistake : mistakes) {
    const Outcome outcome = run_program(folder.path(), mistake.words);
    std::string words;
    for (const std::string& word : mistake.words) words += word + " ";
    CAPTURE(words, outcome.err);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CHECK_THAT(outcome.err, Catch::StartsWith("hybridhash: ") && Contains(mistake.reason));
  }
  CHECK(!std::filesystem::exists(folder / "out" / "recipe.toml"));
}

TEST_CASE("numbers out of range are answered by the value, the range and the cure", "[program]") {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "codes.csv", "code\n0fa3\n1fb4\n");
  testing::write_text(folder / "one.csv", "code\n0fa3\n");
  const auto index = (folder / "index").string();
  REQUIRE(run_program(folder.path(),
                      {"index", "build", "--codes", folder / "codes.csv", "--out", index})
              .status == 0);
  const auto search = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words{"search", "--index", index, "--id", "0"};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(folder.path(), words);
  };
  for (const auto& [words, answer] : {
           std::pair<std::vector<std::string>, std::string>{
               {"-k", "1000000000"}, "-k: 1000000000: use a whole number from 1 to 100000000"},
           {{"-k", "x"}, "-k: x: use a whole number from 1 to 100000000"},
           {{"-k", "2.5"}, "-k: 2.5: use a whole number"},
           {{"-k", ""}, "-k: '': use a whole number"},
           {{"-k", "99999999999999999999999"}, "use a whole number from 1 to 100000000"},
           {{"--radius", "-1"}, "--radius: -1: use a whole number from 0 to 512"},
           {{"--radius", "600"}, "--radius: 600: use a whole number from 0 to 512"},
           {{"--radius", "17"}, "--radius: 17: codes of this index differ in at most 16 bits"},
           {{"-k", "100000000", "--id", "1,0,1,0,1,0,1,0,1,0,1", "--out", folder / "x.npy"},
            "use a -k of at most"},
           {{"--threads", "-3"}, "--threads: -3: use a whole number from 0 to 1024"},
       }) {
    const Outcome outcome = search(words);
    CAPTURE(words, outcome.err);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    CHECK_THAT(outcome.err, Contains(answer));
  }
  for (const char* threads : {"abc", "-1", "5000", "2 ", "1.5"}) {
    ::setenv("HH_THREADS", threads, 1);
    const Outcome outcome = run_program(folder.path(), {"info"});
    CHECK(outcome.status == 2);
    CHECK(outcome.err == std::string("hybridhash: HH_THREADS = ") + threads +
                             ": use a whole number from 0 to 1024\n");
  }
  ::setenv("HH_THREADS", "3", 1);
  CHECK_THAT(run_program(folder.path(), {"info"}).out, Contains("3 in use"));
  ::unsetenv("HH_THREADS");
  const auto out = [&](const std::vector<std::string>& words) {
    return run_program(folder.path(), words).out;
  };
  CHECK_THAT(out({"index", "build", "--codes", folder / "one.csv", "--out", folder / "one"}),
             Contains("built; 1 item of 16 bits"));
  CHECK_THAT(out({"search", "--index", folder / "one", "--id", "0"}),
             Contains("1 query in 1 item "));
  CHECK_THAT(out({"index", "delete", folder / "one", "--ids", "0"}),
             Contains("1 item deleted; 0 items of 16 bits"));
}

TEST_CASE("a folder or a pipe in a file's place is named", "[program]") {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "codes.csv", "hex\n0fa3\n1fb4\n");
  const std::string index = (folder / "index").string(), plain = (folder / "plain").string(),
                    run = (folder / "run").string(), pipe = (folder / "pipe").string();
  REQUIRE(run_program(folder.path(),
                      {"index", "build", "--codes", folder / "codes.csv", "--out", index})
              .status == 0);
  std::filesystem::create_directory(plain);
  std::filesystem::create_directory(run);
  testing::write_text(folder / "run/best.safetensors", "");
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const std::string out = folder / "out", file = folder / "codes.csv";
  for (const auto& [words, answer] : {
           std::pair<std::vector<std::string>, std::string>{
               {"eval", "--queries", index, "--database", index},
               "it is an index, not a code file"},
           {{"eval", "--queries", plain, "--database", plain}, "hybridhash encode makes one"},
           {{"index", "build", "--codes", index, "--out", out}, "hybridhash index export"},
           {{"index", "add", index, "--codes", plain}, "it is a folder, not a code file"},
           {{"search", "--index", index, "--codes", index}, "it is an index, not a code file"},
           {{"search", "--index", index, "--codes", pipe}, "it is a pipe or a device"},
           {{"search", "--index", file, "--id", "0"}, "codes.csv"},
           {{"encode", "--model", run, "--folder", plain, "--out", out},
            "it is a folder: give a file, as " + run + "/best.safetensors"},
           {{"encode", "--model", plain, "--folder", plain, "--out", out},
            "it is a folder: give a file"},
           {{"train", plain}, "it is a folder: give a file"},
           {{"train", "--resume", file}, "it is a file: give the folder"},
           {{"train", "--resume", "/nowhere"}, "there is no such folder"},
           {{"index", "push", "--none"}, "(see hybridhash index push --help)"},
           {{"serve", "--index", file}, "it is a file: give the folder"},
       }) {
    const Outcome outcome = run_program(folder.path(), words);
    CAPTURE(words, outcome.err);
    CHECK(outcome.status == 2);
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CHECK_THAT(outcome.err, Contains(answer));
  }
}

TEST_CASE("files in another's place, and places of no folder, are named", "[program]") {
  const testing::TemporaryFolder folder;
  const std::string array = folder / "a.npy", csv = folder / "codes.csv", text = folder / "t.txt",
                    toml = folder / "r.toml", photo = folder / "p.jpg", onnx = folder / "m.onnx",
                    model = folder / "m.st", out = folder / "out";
  testing::write_text(csv, "id,hex\n1,0fa3\n2,1fb4\n");
  testing::write_text(text, "some words\n");
  testing::write_text(toml, "[data]\nprotocol = \"folder\"\npath = \"/nowhere\"\n");
  testing::write_text(photo, "\xff\xd8\xff\xe0 JFIF");
  testing::write_text(onnx, "\x08\x08\x12\x07pytorch\x1a\x05");
  write_safetensors(model, {}, {{"format", "hybridhash model 1"}});
  retrieval::write_npy<std::uint8_t>(array, std::vector<std::int64_t>{1, 2},
                                     std::vector<std::uint8_t>{1, 2});
  for (const auto& [words, answer] : {
           std::pair<std::vector<std::string>, std::string>{
               {"verify", photo}, "it is a JPEG image, not a reference case: give a CASE.json"},
           {{"verify", text}, "it isn't JSON from byte 1 on"},
           {{"encode", "--model", array, photo, "--out", out},
            "it is a NumPy array, not a safetensors file (as models and code files are): give "
            "what"},
           {{"encode", "--model", toml, photo, "--out", out}, "it is a TOML file"},
           {{"encode", "--model", csv, photo, "--out", out}, "it is a CSV file"},
           {{"index", "build", "--codes", text, "--out", out}, "it is text"},
           {{"index", "build", "--codes", model, "--out", out},
            "it is a model, not a code file: give it as --model"},
           {{"info", onnx}, "it is an ONNX model"},
           {{"eval", "--queries", array, "--database", array},
            "it has no labels, and without them nothing is right or wrong: give a code file"},
           {{"train", toml, "--out", "/dev/null"},
            "--out /dev/null: this is a device or a pipe, and a folder is wanted"},
           {{"train", toml, "--out", text + "/run"}, text + " is a file, and a folder is wanted"},
           {{"eval", "--queries", array, "--database", array, "--out", "/dev/null"},
            "--out /dev/null: this is a device or a pipe, and a folder is wanted"},
       }) {
    std::vector<std::string> all = words;
    if (words[0] != "info" && words[0] != "index") all.insert(all.end(), {"--device", "cpu"});
    const Outcome outcome = run_program(folder.path(), all);
    CAPTURE(words, outcome.err);
    CHECK(outcome.status == 2);
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CHECK_THAT(outcome.err, Contains(answer));
  }
}

TEST_CASE("every number that isn't one, or is out of range, is answered with the range",
          "[program]") {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "file", "");
  const std::string file = folder / "file", place = folder.path().string();
  const auto with = [](std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  struct Command {
    std::vector<std::string> words;
    std::vector<std::string> whole, real;  // options
  };
  const std::vector<Command> commands{
      {{"encode", "--model", file}, {"--batch", "--workers", "--threads"}, {"--max-pixels"}},
      {{"eval"},
       {"--radius", "--bootstrap", "--batch", "--workers", "--top-k", "--ks", "--threads"},
       {"--confidence", "--max-pixels"}},
      {{"index", "build", "--out", "x"},
       {"--batch", "--workers", "--threads", "--bits"},
       {"--max-pixels"}},
      {{"index", "delete", "x"}, {"--ids"}, {}},
      {{"index", "update", "x"}, {"--id"}, {}},
      {{"search", "--index", "x"},
       {"-k", "--radius", "--id", "--sample", "--seed", "--rerank", "--batch", "--workers",
        "--threads"},
       {"--max-pixels"}},
      {{"serve", "--index", place},
       {"--port", "--max-concurrent", "--threads"},
       {"--max-body", "--max-pixels", "--timeout"}},
      {{"dataset", "check", "--protocol", "folder"}, {"--threads"}, {"--max-pixels"}},
      {{"export", "--onnx", "x"}, {"--batch", "--opset"}, {}},
      {{"bench"}, {"--batch", "--bits", "--steps", "--threads"}, {"--seconds"}},
      {{"train"}, {"--threads"}, {}},
  };
  for (const Command& command : commands) {
    const auto check = [&](const std::string& option, const char* value, const char* answer) {
      const Outcome outcome =
          run_program(folder.path(), with(command.words, {option + "=" + value}));
      CAPTURE(command.words, option, value, outcome.err);
      CHECK(outcome.status == 2);
      CHECK_THAT(outcome.err, Contains(option + ": ") &&
                                  Contains(std::string(value) + ": " + answer) &&
                                  Contains(" from "));
    };
    for (const std::string& option : command.whole) {
      for (const char* value : {"abc", "-9", "1e99", "nan", "1.5", "99999999999999999999999"}) {
        if (option.size() > 2) check(option, value, "use a whole number");
      }
    }
    for (const std::string& option : command.real) {
      for (const char* value : {"abc", "-1", "0", "1e99", "nan", "inf", "0x10"}) {
        check(option, value, "use a number");
      }
    }
  }
}

TEST_CASE("every command explains itself", "[program]") {
  const testing::TemporaryFolder folder;
  for (const char* command :
       {"train", "encode", "dataset", "eval", "export", "verify", "info", "bench"}) {
    const Outcome outcome = run_program(folder.path(), {command, "--help"});
    CAPTURE(command);
    CHECK(outcome.status == 0);
    CHECK_THAT(outcome.out,
               Contains("Examples:") && Contains(std::string("hybridhash ") + command));
  }
  CHECK(run_program(folder.path(), {"--version"}).status == 0);
  const Outcome info = run_program(folder.path(), {"info"});
  CHECK(info.status == 0);
  CHECK_THAT(info.out, Contains("SIMD") && Contains("threads"));
  CHECK_THAT(info.out, Contains("beside float32: " + cpu::product_instructions()));
  // Sanitizer builds have AVX2 alone.
  CHECK_THAT(run_program(folder.path(), {"info", "--simd-sets"}).out,
             Catch::StartsWith("baseline") || Catch::Equals("avx2\n"));
}

}  // namespace
}  // namespace hh
