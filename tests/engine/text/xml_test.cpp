// SPDX-License-Identifier: Apache-2.0
#include "engine/text/xml.h"

#include <catch2/catch.hpp>

namespace hh {
namespace {

TEST_CASE("what XML gives a meaning is written as entities", "[xml]") {
  CHECK(escape_xml("") == "");
  CHECK(escape_xml("a<b> & \"c\" 'd' ü") == "a&lt;b&gt; &amp; &quot;c&quot; 'd' ü");
}

}  // namespace
}  // namespace hh
