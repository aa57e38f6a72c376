// SPDX-License-Identifier: Apache-2.0
#include "engine/files/replace_folder.h"

#include <sys/mount.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <thread>

#include "tests/support/temporary_folder.h"
#include "tests/support/text_file.h"

namespace hh {
namespace {

using std::filesystem::path;

/// A folder with one file.
path folder_of(const path& place, const std::string& text) {
  std::filesystem::create_directory(place);
  testing::write_text(place / "file", text);
  return place;
}

TEST_CASE("a folder is replaced, or stays", "[replace_folder]") {
  const testing::TemporaryFolder folder;
  const path place = folder / "x", made = folder_of(folder / "made", "new");
  const auto names = [&] {
    std::vector<std::string> all;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      all.push_back(entry.path().filename().string());
    }
    std::sort(all.begin(), all.end());
    return all;
  };
  SECTION("nothing was there") {
    replace_folder(made, place);
    CHECK(testing::read_text(place / "file") == "new");
    CHECK(names() == std::vector<std::string>{"x"});
  }
  SECTION("the old one goes") {
    folder_of(place, "old");
    replace_folder(made, place);
    CHECK(testing::read_text(place / "file") == "new");
    CHECK(names() == std::vector<std::string>{"x"});
  }
  SECTION("whoever looks finds the one or the other") {
    folder_of(place, "0");
    std::atomic<bool> done = false;
    int missing = 0;
    std::thread looking([&] {
      while (!done) missing += !std::filesystem::exists(place / "file");
    });
    for (int i = 1; i <= 300; ++i) {
      replace_folder(i == 1 ? made : folder_of(made, std::to_string(i)), place);
    }
    done = true;
    looking.join();
    CHECK(missing == 0);
    CHECK(testing::read_text(place / "file") == "300");
    CHECK(names() == std::vector<std::string>{"x"});
  }
  SECTION("whichever rename fails, the old one is there") {
    folder_of(place, "old");
    const int failing = GENERATE(1, 2);
    int calls = 0;
    CHECK_THROWS_WITH(replace_folder(made, place,
                                     [&](const path& from, const path& to) {
                                       if (++calls == failing) throw std::runtime_error("no");
                                       std::filesystem::rename(from, to);
                                     }),
                      "no");
    CHECK(testing::read_text(place / "file") == "old");
    CHECK(testing::read_text(made / "file") == "new");
    CHECK(names() == std::vector<std::string>{"made", "x"});
  }
  SECTION("an old one that can't be removed is no error: the new one stands") {
    folder_of(place, "old");
    std::filesystem::create_directory(place / "mounted");
    if (::mount("tmpfs", (place / "mounted").c_str(), "tmpfs", 0, "size=64k") != 0) {
      WARN("not tested: nothing can be mounted here");
      return;
    }
    CHECK_NOTHROW(replace_folder(made, place));
    CHECK(testing::read_text(place / "file") == "new");
    const path left = std::filesystem::exists(made) ? made : path(made.string() + ".old");
    CHECK(::umount2((left / "mounted").c_str(), MNT_DETACH) == 0);
  }
}

}  // namespace
}  // namespace hh
