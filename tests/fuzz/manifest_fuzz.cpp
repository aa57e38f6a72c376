// SPDX-License-Identifier: Apache-2.0
// Inputs get the right check sum, which no fuzzer would guess.
#include <nlohmann/json.hpp>

#include "engine/files/xxh64.h"
#include "retrieval/index/manifest.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hh::retrieval;
  std::string input(hh::fuzz::text({data, size}));
  auto json = nlohmann::json::parse(input, nullptr, false);
  if (json.is_object()) {
    json.erase("checksum");
    const std::string body = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx",
                  static_cast<unsigned long long>(hh::xxh64(std::as_bytes(std::span(body)))));
    json["checksum"] = digits;
    input = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  try {
    const IndexManifest manifest = parse_index_manifest(input, "input");
    const IndexManifest again = parse_index_manifest(to_text(manifest), "again");
    hh::fuzz::require(again.rows() == manifest.rows() && again.bits == manifest.bits);
  } catch (const std::runtime_error&) {
  }
  return 0;
}
