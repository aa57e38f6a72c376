// SPDX-License-Identifier: Apache-2.0
#include "engine/files/spool.h"

#include <catch2/catch.hpp>

#include "engine/files/file_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_file.h"

namespace hh {
namespace {

TEST_CASE("a spool gives back what it took, and leaves no file", "[files]") {
  const testing::TemporaryFolder folder;
  for (const std::size_t size : {std::size_t{0}, std::size_t{10}, std::size_t{3'333'333}}) {
    CAPTURE(size);
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += char(i * 31 >> 3);
    {
      Spool spool(folder.path());
      for (std::size_t i = 0; i < size; i += 70'001) {
        spool.append(std::as_bytes(
            std::span(text).subspan(i).first(std::min<std::size_t>(70'001, size - i))));
      }
      CHECK(spool.bytes() == std::int64_t(size));
      CHECK(std::filesystem::is_empty(folder.path()));
      AtomicFile file(folder / "out");
      spool.copy_to(file);
      file.commit();
    }
    CHECK(testing::read_text(folder / "out") == text);
    std::filesystem::remove(folder / "out");
  }
  Spool nowhere("/nowhere");
  const std::string much(2 << 20, 'x');
  CHECK_THROWS_WITH(nowhere.append(std::as_bytes(std::span(much))),
                    Catch::Contains("/nowhere: nothing can be written here"));
}

}  // namespace
}  // namespace hh
