// SPDX-License-Identifier: Apache-2.0
// Codes as lines of text, for programs that read from a pipe.
#pragma once
#include <string>
#include <string_view>

#include "retrieval/codes/code_file.h"

namespace hh::retrieval {

enum class CodeLines { kTsv, kJson };

/// A line an item. kTsv: id, code in hexadecimal (byte 0 first) and name, with tabs between; kJson:
/// {"code":"0fa0","id":0,"name":"a.jpg"}, names as engine/text/utf8.h says.
std::string code_lines(const CodeSet& set, CodeLines format);

/// A field of a line with tabs: \t, \n, \r and \\ in place of these characters; other bytes as they are.
std::string tsv_field(std::string_view text);

}  // namespace hh::retrieval
