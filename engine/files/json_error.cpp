// SPDX-License-Identifier: Apache-2.0
#include "engine/files/json_error.h"

#include <string_view>

namespace hh {

std::string json_error_text(const std::exception& error) {
  const std::string_view text = error.what();
  const std::size_t end = text.starts_with("[json.exception.") ? text.find("] ") : text.npos;
  return std::string(end == text.npos ? text : text.substr(end + 2));
}

}  // namespace hh
