// SPDX-License-Identifier: Apache-2.0
#include "retrieval/engines/collection_about.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "retrieval/engines/open_collection.h"

using namespace hh::retrieval;
using Catch::Matchers::Contains;

namespace {

CollectionAbout example() {
  CollectionAbout about;
  about.bits = 48;
  about.model_hash = "0123456789abcdef";
  about.source = "photos";
  about.exif_orientation = false;
  about.scaled_shorter_side = 36;
  about.int8_mixed = about.decoding_mixed = true;
  about.classes = 2;
  about.class_names = {"cat", "dog \xc3\xa4"};
  about.next_id = 77;
  about.push = {.source = 0xfedcba9876543210u,
                .generation = 5,
                .rows = 1'000,
                .sum = 7,
                .manifest = 8,
                .strangers = true};
  return about;
}

}  // namespace

TEST_CASE("what a collection says of itself comes back", "[collection]") {
  const CollectionAbout about = example();
  CHECK(CollectionAbout::parse(about.to_json(), "it") == about);
  CollectionAbout plain;
  plain.bits = 1;
  CHECK(CollectionAbout::parse(plain.to_json(), "it") == plain);
}

TEST_CASE("a collection's damaged description is told", "[collection]") {
  const auto changed = [](const char* key, const nlohmann::json& value) {
    auto j = nlohmann::json::parse(example().to_json());
    j[nlohmann::json::json_pointer(key)] = value;
    return j.dump();
  };
  const auto refused = [](const std::string& text, const std::string& why) {
    CAPTURE(text);
    CHECK_THROWS_WITH(CollectionAbout::parse(text, "host/photos"),
                      Contains("host/photos: not a usable collection") && Contains(why));
  };
  refused("", "it isn't JSON");
  refused("[]", "it isn't one of ours");
  refused(changed("/format", "others"), "it isn't one of ours");
  refused(changed("/version", 2), "a newer program");
  refused(changed("/bits", 0), "bits = 0");
  refused(changed("/bits", 513), "bits = 513");
  refused(changed("/bits", 1.5), "bits = 1.5");
  refused(changed("/scaled_shorter_side", 0), "scaled_shorter_side = 0");
  refused(changed("/next_id", 18446744073709551615u), "next_id");
  refused(changed("/class_names", {"cat"}), "2 classes, but 1 class names");
  refused(changed("/push/source", "xyz"), "isn't a check sum");
  refused(changed("/push/rows", "many"), "rows");
  refused(changed("/push", 1), "push");
}

TEST_CASE("an index's states are one source until it is compacted", "[collection]") {
  IndexManifest manifest;
  CHECK(push_source(manifest) == 0);
  manifest.segments = {{.rows = 10, .codes = 1, .ids = 2}};
  const std::uint64_t source = push_source(manifest);
  CHECK(source != 0);
  IndexManifest later = manifest;
  ++later.generation;
  later.segments.push_back({.rows = 3, .codes = 4, .ids = 5});
  later.deleted = 2;
  CHECK(push_source(later) == source);
  IndexManifest compacted = manifest;
  ++compacted.base;
  CHECK(push_source(compacted) != source);
  IndexManifest other = manifest;
  other.segments[0].codes = 9;
  CHECK(push_source(other) != source);
  // Where an identity was drawn, joined segments change nothing, and equal codes don't count.
  manifest.identity = 3;
  const std::uint64_t drawn = push_source(manifest);
  other = manifest;
  other.segments[0] = {.rows = 20, .codes = 9, .ids = 8};
  CHECK(push_source(other) == drawn);
  other.identity = 4;
  CHECK(push_source(other) != drawn);
}

TEST_CASE("filters of a collection", "[collection]") {
  const CollectionAbout about = example();
  const auto filters = about.filters({"label=dog \xc3\xa4,cat", "id>=7", "year<2020"});
  REQUIRE(filters.size() == 3);
  CHECK(filters[0].classes == std::vector<int>{1, 0});
  CHECK(filters[1].filter.id == 7);
  CHECK(filters[2].filter.field == "year");
  CHECK_THROWS_WITH(about.filters({"label=cow"}), Contains("label 'cow'") && Contains("2 classes"));
  CHECK_THROWS_WITH(about.filters({"id>=1x"}), Contains("'1x' isn't a number"));
}

TEST_CASE("places of collections that can't be", "[collection]") {
  const auto refused = [](const CollectionPlace& place, const std::string& why) {
    CHECK_THROWS_WITH(open_collection(place), Contains(why));
  };
  refused({"mysql", "x", "photos"}, "engine 'mysql': use postgres or milvus");
  for (const char* name : {"", "1a", "a-b", "a\"b", "a b"}) {
    refused({"postgres", "postgresql://h/d", name}, "letters, digits and _");
  }
  refused({"postgres", "postgresql://h/d", std::string(49, 'a')}, "use up to 48");
  refused({"postgres", "postgresql://me:secret@h/d", "photos"}, "PGPASSFILE");
  refused({"postgres", "host=h password=secret", "photos"}, "PGPASSFILE");
  refused({"milvus", "http://me:secret@h:19530", "photos"}, "MILVUS_TOKEN");
}
