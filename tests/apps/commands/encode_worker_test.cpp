// SPDX-License-Identifier: Apache-2.0
// encode as one of many workers: shards, pipes, archives, what is left when it is killed.
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <thread>

#include "kernels/core/philox.h"
#include "retrieval/codes/code_file.h"
#include "tests/apps/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_data.h"

namespace hh {
namespace {

using Catch::Contains, Catch::EndsWith;
using nlohmann::json;
using testing::Outcome, testing::Program, testing::run_program;
namespace fs = std::filesystem;

/// A model, 60 images and their list, and the code file of one run over it.
struct Worker {
  testing::TemporaryFolder folder;
  std::string model, list, lines;

  Worker() {
    testing::make_tiny_images(folder / "images");
    testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
    run({"train", path("tiny.toml"), "--out", path("run"), "--set", "train.epochs=1"});
    model = path("run/best.safetensors");
    for (const char* colour : testing::kTinyClasses) {
      for (int i = 0; i < testing::kTinyPerClass; ++i) {
        lines += path("images/" + std::string(colour) + "/" + std::to_string(100 + i) + ".ppm\n");
      }
    }
    list = path("list.txt");
    testing::write_text(list, lines);
    run(encode({"--list", list, "--out", path("all.codes")}));
  }
  std::string path(const std::string& name) const { return (folder / name).string(); }
  /// The small batch makes several in every shard.
  std::vector<std::string> encode(const std::vector<std::string>& words) const {
    std::vector<std::string> all{"encode", "--model", model, "--batch", "8", "--threads", "1"};
    all.insert(all.end(), words.begin(), words.end());
    return all;
  }
  std::string run(const std::vector<std::string>& words, int status = 0) const {
    const Outcome outcome = run_program(folder.path(), words);
    INFO(outcome.err);
    REQUIRE(outcome.status == status);
    return status == 0 ? outcome.out : outcome.err;
  }
  std::string text(const std::string& name) const { return testing::read_text(folder / name); }
  std::size_t files_in(const std::string& name) const {
    return std::size_t(std::distance(fs::directory_iterator(folder / name), {}));
  }
};

/// All shards of the list, last one first, into a folder named after their number.
void encode_shards(const Worker& w, int n) {
  for (int i = n; i-- > 0;) {
    w.run(
        w.encode({"--list", w.list, "--shard", std::to_string(i) + "/" + std::to_string(n), "--out",
                  w.path("parts" + std::to_string(n) + "/"), "--workers", std::to_string(i % 3)}));
  }
}

TEST_CASE("the shards of a list are the single run, byte for byte", "[encode][worker]") {
  const Worker w;
  for (const int n : {1, 3, 7, 70}) {
    CAPTURE(n);
    encode_shards(w, n);
    w.run({"codes", "merge", w.path("parts" + std::to_string(n)), "--out", w.path("merged.codes")});
    REQUIRE(w.text("merged.codes") == w.text("all.codes"));
  }
}

TEST_CASE("parts of a list are taken together or refused", "[encode][worker]") {
  const Worker w;
  encode_shards(w, 3);
  SECTION("an index is made of parts as of the whole") {
    w.run({"index", "build", "--codes", w.path("parts3"), "--out", w.path("parts.index")});
    w.run({"index", "build", "--codes", w.path("all.codes"), "--out", w.path("all.index")});
    for (const char* name : {"parts", "all"}) {
      w.run({"index", "export", w.path(name + std::string(".index")), "--out",
             w.path(name + std::string(".csv"))});
    }
    CHECK(w.text("parts.csv") == w.text("all.csv"));
  }
  SECTION("merge refuses gaps and doubles") {
    const std::string part = w.path("parts3/part-00001-of-00003.codes");
    CHECK_THAT(w.run({"codes", "merge", w.path("parts3"), part, "--out", w.path("x")}, 2),
               Contains("part 1 is there twice"));
    fs::remove(part);
    CHECK_THAT(w.run({"codes", "merge", w.path("parts3"), "--out", w.path("x")}, 2),
               Contains("missing: 1"));
    CHECK_THAT(w.run({"index", "build", "--codes", w.path("parts3"), "--out", w.path("x")}, 2),
               Contains("missing: 1"));
    CHECK_THAT(w.run({"codes", "merge", w.path("run"), "--out", w.path("x")}, 2),
               Contains("holds no parts"));
    CHECK(!fs::exists(w.folder / "x"));
  }
  SECTION("a finished shard is done before the model is loaded") {
    const std::vector<std::string> again =
        w.encode({"--list", w.list, "--shard", "2/3", "--out", w.path("parts3"), "--json"});
    // Weights that any loading would refuse.
    std::string weights = testing::read_text(w.model);
    weights[weights.size() - 3] = char(weights[weights.size() - 3] ^ 1);
    testing::write_text(w.model, weights);
    const json facts = json::parse(w.run(again));
    CHECK(facts.at("already_there") == true);
    CHECK(facts.at("shard") == "2/3");
    CHECK(facts.at("lines") == 20);
    fs::remove(w.folder / "parts3/part-00002-of-00003.codes");
    CHECK_THAT(w.run(again, 2), Contains("the file is damaged"));
  }
  SECTION("a part of another list or model is refused") {
    testing::write_text(w.folder / "other.txt", w.lines + "one more.ppm\n");
    const auto shard = [&](const std::string& model, const std::string& list,
                           const std::string& out) {
      return std::vector<std::string>{"encode",  "--model", model,   "--list", list,
                                      "--shard", "0/3",     "--out", out};
    };
    CHECK_THAT(w.run(shard(w.model, w.path("other.txt"), w.path("parts3")), 2),
               Contains("it is there already, and it is of another list"));
    w.run({"train", w.path("tiny.toml"), "--out", w.path("run2"), "--set", "train.epochs=1",
           "--set", "train.seed=9"});
    CHECK_THAT(w.run(shard(w.path("run2/best.safetensors"), w.list, w.path("parts3")), 2),
               Contains("its codes are of another model"));
    CHECK_THAT(w.run(shard(w.model, "/dev/null", w.path("parts3")), 2),
               Contains("write it to a file"));
    CHECK_THAT(w.run(w.encode({"--folder", w.path("images"), "--out", w.path("parts3/")}), 2),
               Contains("are for --list and --tar"));
  }
}

TEST_CASE("a list that changes while a shard runs makes no part", "[encode][worker]") {
  const Worker at;
  std::string many;
  for (int i = 0; i < 400; ++i) many += at.lines;
  testing::write_text(at.folder / "many.txt", many);
  Program program(at.folder.path(), at.encode({"--list", at.path("many.txt"), "--shard", "0/2",
                                               "--out", at.path("changed/")}));
  // The list has been read once when the folder is made, and 12,000 images are still to come.
  while (!fs::exists(at.folder / "changed")) std::this_thread::yield();
  fs::last_write_time(at.folder / "many.txt", fs::file_time_type::clock::now());
  CHECK(program.wait() == 75);
  CHECK(at.files_in("changed") == 0);
  // An array is missing beside a part that is there: said, not passed over.
  at.run(at.encode({"--list", at.list, "--shard", "0/1", "--out", at.path("one/")}));
  CHECK_THAT(at.run(at.encode({"--list", at.list, "--shard", "0/1", "--out", at.path("one/"),
                               "--npy", at.path("one.npy")}),
                    2),
             Contains("one.npy isn't"));
  CHECK_THAT(at.run({"codes", "merge", at.path("one"), "--out", "-"}, 2), Contains("use ./-"));
}

TEST_CASE("killed at any moment, a shard leaves its part whole or not at all", "[encode][worker]") {
  const Worker w;
  constexpr int kShards = 4;
  const auto shard = [&](int i) {
    return w.encode({"--list", w.list, "--shard", std::to_string(i) + "/4", "--out",
                     w.path("parts/"), "--json"});
  };
  const auto begin = std::chrono::steady_clock::now();
  w.run(shard(0));
  const auto usual = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - begin);
  fs::remove_all(w.folder / "parts");
  const Philox random(7, RandomPurpose::kTest);
  int killed = 0;
  for (std::uint64_t i = 0; i < 50; ++i) {
    Program program(w.folder.path(), shard(int(i % kShards)));
    std::this_thread::sleep_for(usual * random.below(i, 1200) / 1000);
    program.signal(SIGKILL);
    killed += program.wait() == 128 + SIGKILL;
    // Done again and again, so that kills meet every state.
    if (i % 10 == 9) fs::remove_all(w.folder / "parts");
  }
  CHECK(killed > 3);  // the first run's time, of which the moments are, may have been a slow one
  for (int i = 0; i < kShards; ++i) w.run(shard(i));
  w.run({"codes", "merge", w.path("parts"), "--out", w.path("merged.codes")});
  CHECK(w.text("merged.codes") == w.text("all.codes"));
  CHECK(w.files_in("parts") == kShards);
}

TEST_CASE("paths come from stdin, with blanks, or end in zero bytes", "[encode][worker]") {
  const Worker w;
  const auto all = w.text("all.codes");
  const auto ids = [&](const std::string& name) {
    return retrieval::read_code_file(w.folder / name).codes.to_bytes();
  };
  const auto expected = ids("all.codes");
  // A shell, for its pipes.
  const auto shell = [&](const std::string& before, const std::string& words) {
    const std::string command = before + " | '" + testing::program_path().string() +
                                "' encode --model '" + w.model + "' --batch 8 --threads 1 " + words;
    const Outcome outcome = run_program(w.folder.path(), {"-c", command}, "/bin/sh");
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);
    return outcome.out;
  };
  shell("cat '" + w.list + "'", "--list - --out '" + w.path("x.codes") + "'");
  CHECK(ids("x.codes") == expected);
  shell("tr '\\n' '\\0' < '" + w.list + "'", "--list - --null --out '" + w.path("x.codes") + "'");
  CHECK(ids("x.codes") == expected);
  shell("tar -cf - -T '" + w.list + "' 2>/dev/null", "--tar - --out '" + w.path("x.codes") + "'");
  CHECK(ids("x.codes") == expected);

  fs::create_directories(w.folder / "my photos");
  fs::copy(w.folder / "images/red/101.ppm", w.folder / "my photos/a 1.ppm");
  testing::write_text(w.folder / "blanks.txt", "my photos/a 1.ppm\r\n\nimages/red/102.ppm\n");
  const std::string lines = w.run(w.encode(
      {"--list", w.path("blanks.txt"), "--image-root", w.folder.path().string(), "--out", "-"}));
  const auto code = [&](const std::string& name) {
    return w.run(w.encode({w.path(name), "--out", "-"})).substr(2, 4);
  };
  CHECK(lines == "0\t" + code("images/red/101.ppm") + "\tmy photos/a 1.ppm\n1\t" +
                     code("images/red/102.ppm") + "\timages/red/102.ppm\n");
  const std::string as_json =
      w.run(w.encode({"--list", w.path("blanks.txt"), "--image-root", w.folder.path().string(),
                      "--out", "-", "--lines", "json"}));
  CHECK(as_json == "{\"code\":\"" + code("images/red/101.ppm") +
                       "\",\"id\":0,\"name\":\"my photos/a 1.ppm\"}\n{\"code\":\"" +
                       code("images/red/102.ppm") +
                       "\",\"id\":1,\"name\":\"images/red/102.ppm\"}\n");
}

TEST_CASE("an archive that is cut short gives the codes of the batches before",
          "[encode][worker]") {
  const Worker w;
  run_program(w.folder.path(), {"-c", "tar -Pcf '" + w.path("whole.tar") + "' -T '" + w.list + "'"},
              "/bin/sh");
  const std::string whole = w.run(w.encode({"--tar", w.path("whole.tar"), "--out", "-"}));
  const std::string archive = w.text("whole.tar");
  REQUIRE(archive.size() > 20 * 1536);  // a header, and a picture of two records at most
  testing::write_text(w.folder / "cut.tar", archive.substr(0, archive.size() / 2));
  const Outcome cut =
      run_program(w.folder.path(), w.encode({"--tar", w.path("cut.tar"), "--out", "-"}));
  INFO(cut.err);
  CHECK(cut.status != 0);
  // Batches of 8: of some 30 pictures, 24 and more.
  CHECK(std::count(cut.out.begin(), cut.out.end(), '\n') >= 16);
  CHECK_THAT(whole, Catch::StartsWith(cut.out));
}

TEST_CASE("lists with labels stay what they were, and can be cut into shards", "[encode][worker]") {
  const Worker w;
  std::string labelled;
  for (int i = 0; i < 9; ++i) {
    labelled +=
        "images/green/" + std::to_string(100 + i) + ".ppm " + (i == 8 ? "0 1" : "0 0") + "\n";
  }
  testing::write_text(w.folder / "labels.txt", labelled);
  const std::vector<std::string> of_list{"--list", w.path("labels.txt"), "--image-root",
                                         w.folder.path().string()};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), of_list.begin(), of_list.end());
    return w.encode(more);
  };
  w.run(with({"--out", w.path("labels.codes")}));
  const auto set = retrieval::read_code_file(w.folder / "labels.codes");
  CHECK(set.classes == 2);
  CHECK(set.label_view().has(8, 1));
  for (const char* shard : {"0/2", "1/2"})
    w.run(with({"--out", w.path("parts/"), "--shard", shard}));
  w.run({"codes", "merge", w.path("parts"), "--out", w.path("merged.codes")});
  CHECK(w.text("merged.codes") == w.text("labels.codes"));
  // The numbers may belong to the path.
  CHECK_THAT(w.run(with({"--out", w.path("x"), "--list-labels", "none"}), 2),
             Contains("100.ppm 0 0: can't be opened"));
  // A pipe can't be looked at first.
  const std::string piped = "cat '" + w.path("labels.txt") + "' | '" +
                            testing::program_path().string() + "' encode --model '" + w.model +
                            "' --image-root '" + w.folder.path().string() + "' --list - --out '" +
                            w.path("x") + "'";
  const Outcome refused = run_program(w.folder.path(), {"-c", piped}, "/bin/sh");
  CHECK(refused.status == 2);
  CHECK_THAT(refused.err, Contains("stdin:1: numbers stand behind the path"));
  const Outcome taken =
      run_program(w.folder.path(), {"-c", piped + " --list-labels columns"}, "/bin/sh");
  CHECK(taken.status == 0);
  CHECK(retrieval::read_code_file(w.folder / "x").label_view().has(8, 1));
}

TEST_CASE("images that can't be read are listed for a program", "[encode][worker]") {
  const Worker w;
  testing::write_text(w.folder / "images/b\tad.ppm", "no image");
  testing::write_text(w.folder / "bad.txt",
                      w.path("images/b\tad.ppm") + "\n" + w.lines + "missing.ppm\n");
  const std::vector<std::string> words =
      w.encode({"--list", w.path("bad.txt"), "--out", w.path("good.codes"), "--json"});
  CHECK_THAT(w.run(words, 2), Contains("1 bad image in batch 0") && Contains("ad.ppm"));
  CHECK(!fs::exists(w.folder / "good.codes"));
  auto skip = words;
  skip.insert(skip.end(), {"--on-bad", "skip:" + w.path("bad.tsv")});
  const Outcome outcome = run_program(w.folder.path(), skip);
  REQUIRE(outcome.status == 0);
  const json facts = json::parse(outcome.out);  // one line and nothing else
  CHECK(facts.at("codes") == 60);
  CHECK(facts.at("bad") == 2);
  CHECK(facts.at("model_hash").get<std::string>().size() == 16);
  const std::string bad = w.text("bad.tsv");
  CHECK_THAT(bad, Catch::StartsWith("0\t" + w.path("images/b\\tad.ppm") + "\t"));
  CHECK_THAT(bad, Contains("\n61\tmissing.ppm\t"));
  CHECK(std::count(bad.begin(), bad.end(), '\n') == 2);
  // Codes have the ids of their lines, in parts too.
  CHECK(retrieval::read_code_file(w.folder / "good.codes").ids.front() == 1);
  for (const char* shard : {"0/40", "39/40"}) {  // each has lines that are all bad
    w.run(w.encode({"--list", w.path("bad.txt"), "--out", w.path("parts/"), "--shard", shard,
                    "--on-bad", "skip"}));
  }
  CHECK(retrieval::read_code_file(w.folder / "parts/part-00000-of-00040.codes").count() == 0);
  testing::write_text(w.folder / "bad.txt", "missing.ppm\n");
  CHECK_THAT(w.run(w.encode({"--list", w.path("bad.txt"), "--out", "-", "--on-bad", "skip"}), 2),
             Contains("there is not one readable image"));
  CHECK(w.run(w.encode({"--list", w.path("bad.txt"), "--out", "-", "--on-bad",
                        "skip:" + w.path("bad.tsv")})) == "");
  CHECK_THAT(w.text("bad.tsv"), Catch::StartsWith("0\tmissing.ppm\t"));
  CHECK_THAT(w.run(w.encode({"--list", w.list, "--out", "x", "--on-bad", "perhaps"}), 2),
             Contains("use fail, skip or skip:FILE"));
}

TEST_CASE("the exit status says whether to try again", "[encode][worker]") {
  const Worker w;
  w.run(w.encode({"--list", w.path("none"), "--out", w.path("x")}), 2);
  // A list that the disk can't read.
  CHECK_THAT(w.run(w.encode({"--list", "/proc/self/mem", "--out", w.path("x")}), 75),
             Contains("can't be read: Input/output error"));
  // No memory, or no threads for want of it.
  const std::string command = "ulimit -v 400000; exec '" + testing::program_path().string() +
                              "' encode --model '" + w.model + "' --list '" + w.list + "' --out '" +
                              w.path("x") + "' --workers 256";
  const Outcome starved = run_program(w.folder.path(), {"-c", command}, "/bin/sh");
  INFO(starved.err);
  CHECK(starved.status == 75);
  CHECK(!fs::exists(w.folder / "x"));
}

TEST_CASE("a termination signal ends the work without a file", "[encode][worker]") {
  const Worker w;
  fs::create_directories(w.folder / "parts");
  const std::string pipe = w.path("pipe");
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  for (const int signal : {SIGTERM, SIGINT}) {
    Program program(w.folder.path(), w.encode({"--list", pipe, "--out", w.path("parts/x.codes")}));
    // Its reader is there once the pipe can be opened; the first batches are encoded, and it waits.
    std::ofstream to(pipe);
    to << w.lines << std::flush;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    program.signal(signal);
    CHECK(program.wait() == 128 + signal);
    CHECK_THAT(program.err(), EndsWith("stopped by a signal: no code file was written\n"));
    CHECK(fs::is_empty(w.folder / "parts"));
  }
}

TEST_CASE("memory doesn't grow with the list", "[encode][worker]") {
  const Worker w;
  const std::string pipe = w.path("pipe");
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  Program program(w.folder.path(), w.encode({"--list", pipe, "--out", w.path("x.codes")}));
  std::ofstream to(pipe);
  // Names of 3,000 bytes: 20,000 of them are 60 MB.
  std::string name = w.path("images/");
  while (name.size() < 3000) name += "./";
  name += "red/101.ppm\n";
  const auto peak = [&] {
    std::istringstream status(
        testing::read_text("/proc/" + std::to_string(program.pid()) + "/status"));
    std::string word;
    long kilobytes = 0;
    while (status >> word && word != "VmHWM:") continue;
    status >> kilobytes;
    return kilobytes;
  };
  for (int i = 0; i < 2000; ++i) to << name;
  to.flush();
  const long before = peak();
  for (int i = 0; i < 20'000; ++i) to << name;
  to.flush();
  const long after = peak();
  to.close();
  CHECK(program.wait() == 0);
  INFO(before << " KB, then " << after);
  CHECK(before > 1000);
  CHECK(after - before < 25'000);
  CHECK(fs::file_size(w.folder / "x.codes") > 22'000u * 3000u);
}

TEST_CASE("codes on stdout leave the file behind it where it is", "[encode][worker]") {
  const Worker w;
  testing::write_text(w.folder / "o", "what was there\n");
  std::string command = "exec '" + testing::program_path().string() + "'";
  for (const std::string& word : w.encode({"--list", w.list, "--out", "/dev/stdout"})) {
    command += " '" + word + "'";
  }
  struct stat before {
  }, after{};
  REQUIRE(::stat(w.path("o").c_str(), &before) == 0);
  const Outcome outcome =
      run_program(w.folder.path(), {"-c", command + " >> '" + w.path("o") + "'"}, "/bin/sh");
  REQUIRE(outcome.status == 0);
  REQUIRE(::stat(w.path("o").c_str(), &after) == 0);
  CHECK(before.st_ino == after.st_ino);
  CHECK(w.text("o") == "what was there\n" + w.text("all.codes"));
  CHECK_THAT(outcome.err, Contains("60 codes of 16 bits"));
  CHECK_THAT(w.run(w.encode({"--list", w.list, "--out", "-", "--json"}), 2),
             Contains("leave --json out"));
}

}  // namespace
}  // namespace hh
