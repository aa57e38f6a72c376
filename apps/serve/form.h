// SPDX-License-Identifier: Apache-2.0
// Bodies of multipart/form-data (RFC 7578), with all that RFC 2046 lets clients put around the parts.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace hh::apps {

struct FormPart {
  std::string name, filename;
  std::string_view data;  // in the body
};

/// Whether a Content-Type says so.
bool is_form(const std::string& content_type);

/// Throws std::invalid_argument: no boundary, a part without a name, an end that is missing, more
/// than `most` parts.
std::vector<FormPart> parse_form(const std::string& content_type, std::string_view body,
                                 std::size_t most = 32);

}  // namespace hh::apps
