// SPDX-License-Identifier: Apache-2.0
#include "engine/text/json_error.h"

#include <nlohmann/json.hpp>

namespace hh {

std::string json_error_text(const std::exception& error) {
  if (const auto* parse = dynamic_cast<const nlohmann::json::parse_error*>(&error)) {
    return "it isn't JSON from byte " + std::to_string(parse->byte) +
           " on: it is cut short, or another file";
  }
  std::string text = error.what();
  if (text.starts_with("[json.exception.")) text.erase(0, text.find("] ") + 2);
  const std::string call = "cannot use at() with ";
  return text.starts_with(call) ? "an object is wanted, not " + text.substr(call.size()) : text;
}

}  // namespace hh
