// SPDX-License-Identifier: Apache-2.0
// CodeOrigin as members of the JSON object of an index or a collection.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "retrieval/codes/code_origin.h"

namespace hh::retrieval {

/// What is usual isn't written, so that older programs' files stay as they were.
inline void put_code_origin(const CodeOrigin& origin, nlohmann::json& j) {
  j["model_hash"] = origin.model_hash;
  j["source"] = origin.source;
  if (origin.exif_orientation) j["exif_orientation"] = *origin.exif_orientation;
  if (origin.scaled_shorter_side > 0) j["scaled_shorter_side"] = origin.scaled_shorter_side;
  if (origin.int8_mixed) j["int8_mixed"] = true;
  if (origin.decoding_mixed) j["decoding_mixed"] = true;
}

/// Throws json::exception where a member is of another type. number(key, least, most) reads one, or throws.
template <class Number>
CodeOrigin code_origin(const nlohmann::json& j, Number&& number) {
  CodeOrigin origin;
  origin.model_hash = j.at("model_hash").get<std::string>();
  origin.source = j.at("source").get<std::string>();
  if (j.contains("exif_orientation")) origin.exif_orientation = j["exif_orientation"].get<bool>();
  if (j.contains("scaled_shorter_side")) {
    origin.scaled_shorter_side = int(number("scaled_shorter_side", 1, kMostScaledSide));
  }
  origin.int8_mixed = j.value("int8_mixed", false);
  origin.decoding_mixed = j.value("decoding_mixed", false);
  return origin;
}

}  // namespace hh::retrieval
