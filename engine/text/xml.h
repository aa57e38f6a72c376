// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

namespace hh {

/// & < > " as entities, for text and attributes of SVG and HTML; what isn't UTF-8 is escaped
/// (engine/text/utf8.h).
std::string escape_xml(std::string_view text);

}  // namespace hh
