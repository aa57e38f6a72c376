// SPDX-License-Identifier: Apache-2.0
#include "engine/text/xml.h"

#include "engine/text/utf8.h"

namespace hh {

std::string escape_xml(std::string_view text) {
  std::string escaped;
  for (const char c : repaired_utf8(text)) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

}  // namespace hh
