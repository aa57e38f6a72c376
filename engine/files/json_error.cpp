// SPDX-License-Identifier: Apache-2.0
#include "engine/files/json_error.h"

namespace hh {

std::string json_error_text(const std::exception& error) {
  std::string text = error.what();
  if (text.starts_with("[json.exception.")) text.erase(0, text.find("] ") + 2);
  const std::string call = "cannot use at() with ";
  return text.starts_with(call) ? "an object is wanted, not " + text.substr(call.size()) : text;
}

}  // namespace hh
