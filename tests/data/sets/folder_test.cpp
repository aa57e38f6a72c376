// SPDX-License-Identifier: Apache-2.0
#include "data/sets/folder.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <string>

#include "engine/files/file.h"
#include "tests/support/images.h"
#include "tests/support/temporary_folder.h"

namespace hh::data {
namespace {

using Catch::Contains;
using testing::as_text;
using testing::encode_png;
using testing::picture;
using testing::TemporaryFolder;
namespace fs = std::filesystem;

std::vector<std::string> names(const Dataset& set) {
  std::vector<std::string> all;
  for (std::int64_t i = 0; i < set.size(); ++i) all.push_back(set.name(i));
  return all;
}

TEST_CASE("a folder per class: classes and images sorted, at any depth", "[data][folder]") {
  const TemporaryFolder folder;
  for (const char* sub : {"dog/young", "cat", ".cache", "empty"}) {
    fs::create_directories(folder / sub);
  }
  const std::string png = as_text(encode_png(picture(4, 4, 3)));
  for (const char* name : {"dog/b.png", "dog/young/a.WebP", "dog/B.TIFF", "cat/z.gif",
                           "cat/._z.jpg", "cat/notes.txt", ".cache/c.png", "loose.png"}) {
    write_file_atomically(folder / name, png);
  }
  const auto set = open_folder(folder.path(), {});
  REQUIRE(set->class_names() == std::vector<std::string>{"cat", "dog"});
  REQUIRE(set->notes() ==
          std::vector<std::string>{"passed over: 1 .txt",
                                   "left out: 1 image beside the class folders (loose.png)",
                                   "left out: the class folder empty holds no image"});
  REQUIRE(names(*set) ==
          std::vector<std::string>{"cat/z.gif", "dog/B.TIFF", "dog/b.png", "dog/young/a.WebP"});
  REQUIRE(set->labels().first_class(0) == 0);
  REQUIRE(set->labels().first_class(3) == 1);
  REQUIRE(set->load(1).width == 4);  // by content, not by name
  REQUIRE(set->location(2) == "dog/b.png");

  const auto all = open_images(folder.path(), {});
  REQUIRE(all->size() == 5);
  REQUIRE(all->labels().first_class(0) == -1);
}

TEST_CASE("links in loops, to nowhere, and pipes don't trap us", "[data][folder]") {
  const TemporaryFolder folder;
  fs::create_directories(folder / "a/deep");
  write_file_atomically(folder / "a/x.png", as_text(encode_png(picture(4, 4, 3))));
  fs::create_directory_symlink(folder.path(), folder / "a/deep/up");
  fs::create_symlink("self", folder / "self");
  fs::create_symlink("self.png", folder / "a/self.png");
  fs::create_symlink("x.png", folder / "a/y.png");
  REQUIRE(::mkfifo((folder / "a/pipe.png").c_str(), 0600) == 0);
  const auto set = open_folder(folder.path(), {});
  REQUIRE(names(*set) ==
          std::vector<std::string>{"a/pipe.png", "a/self.png", "a/x.png", "a/y.png"});
  REQUIRE_THROWS_WITH(set->load(0), Contains("a/pipe.png: it is a pipe or a device"));
  REQUIRE_THROWS_AS(set->load(1), ImageError);
  REQUIRE_FALSE(set->available(1));
  REQUIRE(set->load(3).width == 4);
}

TEST_CASE("what isn't taken is counted by ending in one line", "[data][folder]") {
  const TemporaryFolder folder, elsewhere;
  const std::string png = as_text(encode_png(picture(4, 4, 3)));
  fs::create_directories(folder / "__MACOSX/a");
  fs::create_directories(folder / "a/@eaDir");
  fs::create_directories(folder / "a/b/@eaDir");
  fs::create_directories(folder / "$RECYCLE.BIN");
  fs::create_directories(elsewhere / "more");
  for (const char* name : {"a/1.jfif", "a/2.JPE", "a/3.psd", "a/4.PSD", "a/5.ico", "a/README",
                           "a/@eaDir/6.jpg", "__MACOSX/a/7.jpg", "a/Thumbs.db"}) {
    write_file_atomically(folder / name, png);
  }
  write_file_atomically(elsewhere / "more/8.png", png);
  fs::create_directory_symlink(elsewhere / "more", folder / "a/linked");
  fs::create_directory_symlink(elsewhere / "more", folder / "a/linked again");
  const auto set = open_images(folder.path(), {});
  CHECK(names(*set) == std::vector<std::string>{"a/1.jfif", "a/2.JPE", "a/linked/8.png"});
  const std::string passed_over =
      "passed over: 2 .psd, 2 @eaDir/, 1 $RECYCLE.BIN/, 1 .ico, 1 __MACOSX/, 1 folder again, by a "
      "link, 1 without ending";
  CHECK(set->notes() == std::vector<std::string>{passed_over});
  for (const char* name : {"z.png", "y.JPG", "x.txt"}) write_file_atomically(folder / name, png);
  const auto classes = open_folder(folder.path(), {});
  CHECK(classes->class_names() == std::vector<std::string>{"a"});
  CHECK(classes->notes() ==
        std::vector<std::string>{passed_over,
                                 "left out: 2 images beside the class folders (y.JPG, ...)"});
}

TEST_CASE("folders without images are refused", "[data][folder]") {
  const TemporaryFolder folder;
  REQUIRE_THROWS_WITH(open_folder(folder / "none", {}), Contains("none: there is no such folder"));
  REQUIRE_THROWS_WITH(open_images(folder / "none", {}), Contains("none: there is no such folder"));
  REQUIRE_THROWS_WITH(open_folder(folder.path(), {}), Contains("no class folders"));
  REQUIRE_THROWS_WITH(open_images(folder.path(), {}), Contains("no images"));
  const TemporaryFolder one_class;
  write_file_atomically(one_class / "a.png", as_text(encode_png(picture(4, 4, 3))));
  REQUIRE_THROWS_WITH(open_folder(one_class.path(), {}),
                      Contains("no class folders") && Contains("give the folder above"));
  fs::create_directory(folder / "a");
  REQUIRE_THROWS_WITH(open_folder(folder.path(), {}), Contains("hold no images"));
}

}  // namespace
}  // namespace hh::data
