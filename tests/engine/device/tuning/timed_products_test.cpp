// SPDX-License-Identifier: Apache-2.0
#include "engine/device/tuning/timed_products.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include "engine/device/tuning/tuning.h"
#include "engine/files/file.h"
#include "engine/files/folder_lock.h"
#include "engine/files/xxh64.h"
#include "engine/text/log.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_file.h"

namespace hh {
namespace {

using testing::TemporaryFolder;

const ProductLibrary kLibrary{.gpu = "NVIDIA H200", .driver = 13020, .version = 130200};
const std::vector<std::string> kAlgorithms{"aa", "bb", "cc"};

/// What is logged while it lives.
class Logged {
 public:
  Logged() {
    set_log([this](LogLevel, const std::string& text) { lines.push_back(text); });
  }
  ~Logged() { set_log({}); }
  Logged(const Logged&) = delete;
  Logged& operator=(const Logged&) = delete;
  std::vector<std::string> lines;
};

/// The choice, where timing would give these; `timed` counts how often it was asked to.
std::size_t choose(TimedProducts& products, const std::string& product,
                   const std::vector<double>& times, int& timed,
                   const ProductLibrary& library = kLibrary) {
  return products.choose(library, product, kAlgorithms, [&] {
    ++timed;
    return times;
  });
}

TEST_CASE("the fastest algorithm is taken, the first unless another gains", "[tuning]") {
  CHECK(fastest({5}) == 0);
  CHECK(fastest({5, 4, 3}) == 2);
  CHECK(fastest({5, 4, 4}) == 1);
  CHECK(fastest({5, 4.95, 6}) == 0);  // by 1 %
  CHECK(fastest({5, 4.8, 4.7}) == 2);
  CHECK(fastest({0, 9, 8}) == 2);  // the first was refused
  CHECK(fastest({0, 9, 0}) == 1);
}

TEST_CASE("a product is timed once, and then the file says how it is computed", "[tuning]") {
  const TemporaryFolder folder;
  const auto path = product_file(folder.path(), kLibrary);
  int timed = 0;
  {
    TimedProducts products(folder.path());
    CHECK(choose(products, "8x8x8", {3, 2, 1}, timed) == 2);
    CHECK(choose(products, "8x8x8", {1, 2, 3}, timed) == 2);
    CHECK(choose(products, "9x9x9", {1, 2, 3}, timed) == 0);
    CHECK(timed == 2);
  }
  CHECK(path.filename() == "NVIDIA-H200-driver-13020-cublaslt-130200.products");
  const ProductTable table = read_products(path, kLibrary);
  REQUIRE(table.size() == 2);
  CHECK(table.at("8x8x8").algorithm == "cc");
  CHECK(table.at("8x8x8").us == 1);
  CHECK(table.at("8x8x8").first_us == 3);
  // Another process: times would say otherwise.
  TimedProducts later(folder.path());
  CHECK(choose(later, "8x8x8", {1, 2, 3}, timed) == 2);
  CHECK(timed == 2);
  // The file is what decides.
  write_products(path, kLibrary, {{"8x8x8", {"bb", 1, 1}}});
  TimedProducts edited(folder.path());
  CHECK(choose(edited, "8x8x8", {1, 2, 3}, timed) == 1);
  CHECK(timed == 2);
  // Where nothing may run, the first is taken and not kept; an algorithm that the library doesn't
  // propose any more is no answer.
  CHECK(edited.choose(kLibrary, "7x7x7", kAlgorithms, {}) == 0);
  CHECK(edited.choose(kLibrary, "8x8x8", {"dd", "ee"}, {}) == 0);
  CHECK(choose(edited, "6x6x6", {}, timed) == 0);         // no memory for it
  CHECK(choose(edited, "6x6x6", {0, 0, 0}, timed) == 0);  // all refused
  CHECK(timed == 4);
  CHECK(read_products(path, kLibrary).size() == 1);
}

TEST_CASE("another GPU, driver or library has a file of its own", "[tuning]") {
  const TemporaryFolder folder;
  TimedProducts products(folder.path());
  int timed = 0;
  CHECK(choose(products, "8x8x8", {3, 2, 1}, timed) == 2);
  ProductLibrary other = kLibrary;
  SECTION("GPU") { other.gpu = "NVIDIA H100"; }
  SECTION("driver") { other.driver = 13030; }
  SECTION("library") { other.version = 130300; }
  CHECK(choose(products, "8x8x8", {3, 1, 2}, timed, other) == 1);
  CHECK(timed == 2);
  CHECK(product_file(folder.path(), other) != product_file(folder.path(), kLibrary));
  CHECK(read_products(product_file(folder.path(), other), other).at("8x8x8").algorithm == "bb");
  // Copied into another's place.
  std::filesystem::copy_file(product_file(folder.path(), kLibrary),
                             product_file(folder.path(), other),
                             std::filesystem::copy_options::overwrite_existing);
  CHECK_THROWS_WITH(read_products(product_file(folder.path(), other), other),
                    Catch::Contains("it is of another GPU, driver, cuBLASLt or program"));
}

/// A file that can't be used: one line, and its products are timed again and kept.
void check_replaced(const std::filesystem::path& folder) {
  const Logged logged;
  TimedProducts products(folder);
  int timed = 0;
  CHECK(choose(products, "8x8x8", {3, 1, 2}, timed) == 1);
  CHECK(choose(products, "9x9x9", {3, 2, 1}, timed) == 2);
  CHECK(timed == 2);
  REQUIRE(logged.lines.size() == 1);
  CHECK(logged.lines[0].find("its products are timed again") != std::string::npos);
  CHECK(read_products(product_file(folder, kLibrary), kLibrary).size() == 2);
}

TEST_CASE("a file that is cut short, changed or hostile isn't used", "[tuning]") {
  const TemporaryFolder folder;
  const auto path = product_file(folder.path(), kLibrary);
  write_products(path, kLibrary, {{"8x8x8", {"cc", 1, 2}}});
  const std::string whole = testing::read_text(path);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    write_file_atomically(path, whole.substr(0, length));
    CHECK_THROWS_AS(read_products(path, kLibrary), std::runtime_error);
  }
  const auto summed = [](const std::string& text) {
    Xxh64 sum;
    sum.update(text);
    return text + "sum " + xxh64_text(sum.value()) + "\n";
  };
  const std::string head =
      "hybridhash products 1\ngpu NVIDIA H200\ndriver 13020\ncublaslt 130200\n";
  for (const std::string& text : {
           whole.substr(0, 60), std::string("\0\xff", 2), summed("hybridhash products 2\n"),
           summed(head + "8x8x8\tcc\t1\n"),                           // a field too few
           summed(head + "8x8x8\tcc\t1\t2\t3\n"),                     // too many
           summed(head + "8x8x8\tcc\tnan\t2\n"),                      // no times
           summed(head + "8x8x8\tcc\t1e999\t2\n"),                    //
           summed(head + "8x8x8\tcc\t-1\t2\n"),                       //
           summed(head + "\tcc\t1\t2\n"),                             // no name
           summed(head + "8x8x8\tcc\t1\t2\n8x8x8\taa\t1\t2\n"),       // twice
           summed("hybridhash products 1\ngpu NVIDIA H200\ncublas"),  // no whole head
           std::string(std::size_t{5} << 20, 'x')                     // too large
       }) {
    CAPTURE(text.substr(0, 200));
    write_file_atomically(path, text);
    check_replaced(folder.path());
  }
}

TEST_CASE("what can't be kept isn't timed", "[tuning]") {
  const TemporaryFolder folder;
  std::filesystem::path place = folder / "cache";
  SECTION("a file where the folder should be") { write_file_atomically(place, "x"); }
  SECTION("below a file") {
    write_file_atomically(folder / "file", "x");
    place = folder / "file" / "cache";
  }
  SECTION("a pipe where the file should be") {
    const auto file = product_file(place, kLibrary);
    std::filesystem::create_directories(place);
    REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
  }
  SECTION("a folder where the file should be") {
    std::filesystem::create_directories(product_file(place, kLibrary));
  }
  const Logged logged;
  TimedProducts products(place);
  int timed = 0;
  CHECK(choose(products, "8x8x8", {3, 1, 2}, timed) == 0);
  CHECK(choose(products, "9x9x9", {3, 1, 2}, timed) == 0);
  CHECK(timed <= 1);  // a write that fails is known afterwards
  REQUIRE(!logged.lines.empty());
  CHECK(logged.lines.size() <= 2);
  CHECK(logged.lines.back().find("aren't timed") != std::string::npos);
}

TEST_CASE("processes that start together agree", "[tuning]") {
  const TemporaryFolder folder;
  // Each finds another algorithm the fastest.
  std::vector<std::vector<std::size_t>> chosen(3);
  {
    std::vector<std::jthread> all;
    for (std::size_t who = 0; who < chosen.size(); ++who) {
      all.emplace_back([&, who] {
        TimedProducts products(folder.path());
        std::vector<double> times(3, 5);
        times[who] = 1;
        for (int i = 0; i < 20; ++i) {
          chosen[who].push_back(
              products.choose(kLibrary, std::to_string(i), kAlgorithms, [&] { return times; }));
        }
      });
    }
  }
  CHECK(chosen[0] == chosen[1]);
  CHECK(chosen[1] == chosen[2]);
  const ProductTable table = read_products(product_file(folder.path(), kLibrary), kLibrary);
  REQUIRE(table.size() == 20);
  for (std::size_t i = 0; i < 20; ++i) {
    CHECK(table.at(std::to_string(i)).algorithm == kAlgorithms[chosen[0][i]]);
  }
}

TEST_CASE("what another process has kept is used while it still has the folder", "[tuning]") {
  const TemporaryFolder folder;
  TimedProducts products(folder.path());
  int timed = 0;
  CHECK(choose(products, "8x8x8", {3, 1, 2}, timed) == 1);  // the file is read before the next
  const FolderLock other(folder.path(), "busy");
  const auto path = product_file(folder.path(), kLibrary);
  write_products(path, kLibrary, {{"9x9x9", {"cc", 1, 1}}});
  const auto start = std::chrono::steady_clock::now();
  CHECK(choose(products, "9x9x9", {1, 2, 3}, timed) == 2);
  CHECK(std::chrono::steady_clock::now() - start <
        std::chrono::seconds(5));  // of the 10 it would wait
  CHECK(timed == 1);
}

TEST_CASE("times are kept in the user's cache, unless HH_TUNE is 0", "[tuning]") {
  const auto saved = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  const std::string cache = saved("XDG_CACHE_HOME"), home = saved("HOME"), tune = saved("HH_TUNE");
  setenv("HOME", "/somewhere", 1);
  setenv("XDG_CACHE_HOME", "/cache", 1);
  CHECK(tuning_folder() == "/cache/hybridhash");
  setenv("XDG_CACHE_HOME", "relative", 1);
  CHECK(tuning_folder() == "/somewhere/.cache/hybridhash");
  setenv("HH_TUNE", "0", 1);
  CHECK(tuning() == nullptr);
  setenv("HH_TUNE", "1", 1);
  unsetenv("HOME");
  CHECK(tuning_folder().empty());
  CHECK(tuning() == nullptr);
  setenv("HOME", home.c_str(), 1);
  setenv("HH_TUNE", tune.c_str(), 1);
  cache.empty() ? unsetenv("XDG_CACHE_HOME") : setenv("XDG_CACHE_HOME", cache.c_str(), 1);
}

}  // namespace
}  // namespace hh
