// SPDX-License-Identifier: Apache-2.0
#include "apps/report/gallery.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "tests/support/temporary_folder.h"
#include "tests/support/text_file.h"

namespace hh {
namespace {

using Catch::Contains;

TEST_CASE("thumbnails are small pictures of the items", "[gallery]") {
  const testing::TemporaryFolder folder;
  CHECK(apps::base64("") == "");
  CHECK(apps::base64("f") == "Zg==");
  CHECK(apps::base64("fo") == "Zm8=");
  CHECK(apps::base64("foo") == "Zm9v");
  CHECK(apps::base64("\xff\xfe\xfd") == "//79");
  data::Image small;
  small.reshape(3, 2, 3);
  std::fill(small.pixels.begin(), small.pixels.end(), std::uint8_t{7});
  const apps::Thumbnail png = apps::encode_thumbnail(small, 160);
  CHECK(png.width == 2);
  CHECK_THAT(png.uri(), Catch::StartsWith("data:image/png;base64,iVBOR"));
  data::Image large;
  large.reshape(100, 400, 1);
  const apps::Thumbnail jpeg = apps::encode_thumbnail(large, 160);
  CHECK(jpeg.width == 160);
  CHECK(jpeg.height == 40);
  CHECK_THAT(jpeg.uri(), Catch::StartsWith("data:image/jpeg;base64,/9j/"));
  apps::Thumbnails thumbnails({.image_root = folder.path().string()});
  CHECK(thumbnails.of("none.png").empty());
  CHECK(thumbnails.of("").empty());
  CHECK(thumbnails.of("#17").empty());
  testing::write_text(folder / "a.ppm", "P5\n1 1\n255\nx");
  CHECK(thumbnails.of("a.ppm").width == 1);
}

TEST_CASE("thumbnails are the same from many threads", "[gallery][thumbnails]") {
  const testing::TemporaryFolder folder;
  constexpr int kImages = 8, kThreads = 4, kRounds = 5;
  for (int i = 0; i < kImages; ++i) {
    const std::string pixels(std::size_t(200 * 150), char('a' + i));
    testing::write_text(folder / (std::to_string(i) + ".pgm"), "P5\n200 150\n255\n" + pixels);
  }
  apps::Thumbnails thumbnails({.image_root = folder.path().string()});
  std::vector<std::string> alone;
  for (int i = 0; i < kImages; ++i) {
    alone.push_back(thumbnails.of(std::to_string(i) + ".pgm").bytes);
  }
  REQUIRE(!alone[0].empty());
  REQUIRE(alone[0] != alone[1]);
  std::atomic<int> same = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int k = 0; k < kRounds * kImages; ++k) {
        const int i = (k + t) % kImages;
        same += thumbnails.of(std::to_string(i) + ".pgm").bytes == alone[std::size_t(i)];
        // Looks for a data set, which is made for all threads at once.
        same += thumbnails.of("other#" + std::to_string(k)).empty();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(same == 2 * kThreads * kRounds * kImages);
}

TEST_CASE("a gallery says in words what its colours say", "[gallery]") {
  apps::Gallery gallery{.title = "a <b>", .facts = {"x & y"}, .queries = {}};
  apps::GalleryQuery query{.item = {"q.png", "dog", "1010", {}}, .results = {}};
  query.results.push_back({{"r\".png", "dog", "1010", {}}, 1, 0, true});
  query.results.push_back({{"s.png", "cat", "0010", {}}, 2, 1, false});
  gallery.queries = {query};
  CHECK(query.precision() == 0.5);
  const std::string page = apps::to_html(gallery);
  CHECK_THAT(page, Contains("a &lt;b&gt;") && Contains("x &amp; y") && Contains("r&quot;.png"));
  CHECK_THAT(page, Contains("same class") && Contains("other class"));
  CHECK_THAT(page, Contains("50 %</span> precision@2") && Contains("no picture"));
  CHECK_THAT(page, Contains("aria-label=\"code 1010\"") &&
                       Contains("aria-label=\"1 bits differ from the query's\""));
  CHECK_THAT(page, Contains("prefers-color-scheme:dark") && Contains("width=device-width"));
  query.results[0].same_class.reset();
  CHECK(!query.precision());
  query.results.clear();
  CHECK(!query.precision());
}

}  // namespace
}  // namespace hh
