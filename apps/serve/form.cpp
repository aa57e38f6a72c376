// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/form.h"

#include <algorithm>
#include <cctype>

#include "kernels/core/check.h"

namespace hh::apps {
namespace {

constexpr std::size_t kMaxParts = 32, kMaxPartHead = 4096, kMaxBoundary = 70;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = char(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

/// The value of `name=` in "…; name=value; other="quoted"", or empty.
std::string attribute(std::string_view text, const std::string& name) {
  const std::string names = lower(text);
  for (std::size_t at = 0; (at = names.find(name + "=", at)) != std::string::npos; ++at) {
    // filename= ends with name= too.
    if (at > 0 && names[at - 1] != ';' && names[at - 1] != ' ') continue;
    std::string_view value = text.substr(at + name.size() + 1);
    if (!value.starts_with('"')) return std::string(value.substr(0, value.find_first_of("; \r\n")));
    value.remove_prefix(1);
    std::string result;
    for (std::size_t i = 0; i < value.size() && value[i] != '"'; ++i) {
      if (value[i] == '\\' && i + 1 < value.size()) ++i;
      result += value[i];
    }
    return result;
  }
  return "";
}

FormPart parse_part(std::string_view part) {
  const std::size_t blank = part.substr(0, kMaxPartHead).find("\r\n\r\n");
  HH_REQUIRE(blank != std::string_view::npos, "a part of the form has no head");
  FormPart result;
  std::string_view head = part.substr(0, blank);
  while (!head.empty()) {
    const std::size_t end = std::min(head.find("\r\n"), head.size());
    const std::string_view line = head.substr(0, end);
    if (lower(line.substr(0, 20)) == "content-disposition:") {
      result.name = attribute(line, "name");
      result.filename = attribute(line, "filename");
    }
    head.remove_prefix(std::min(end + 2, head.size()));
  }
  HH_REQUIRE(!result.name.empty(), "a part of the form has no name");
  result.data = part.substr(blank + 4);
  return result;
}

}  // namespace

bool is_form(const std::string& content_type) {
  return lower(content_type).starts_with("multipart/form-data");
}

std::vector<FormPart> parse_form(const std::string& content_type, std::string_view body) {
  const std::string boundary = attribute(content_type, "boundary");
  HH_REQUIRE(!boundary.empty() && boundary.size() <= kMaxBoundary,
             "multipart/form-data needs a boundary of 1 to 70 characters");
  const std::string mark = "\r\n--" + boundary;
  std::vector<FormPart> parts;
  // The first mark lacks its line end.
  HH_REQUIRE(body.starts_with(std::string_view(mark).substr(2)),
             "the form doesn't start with its boundary");
  body.remove_prefix(mark.size() - 2);
  while (!body.starts_with("--")) {
    HH_REQUIRE(body.starts_with("\r\n"), "the form has something behind a boundary");
    HH_REQUIRE(parts.size() < kMaxParts, "the form has more than " << kMaxParts << " parts");
    body.remove_prefix(2);
    const std::size_t end = body.find(mark);
    HH_REQUIRE(end != std::string_view::npos, "the form ends early");
    parts.push_back(parse_part(body.substr(0, end)));
    body.remove_prefix(end + mark.size());
  }
  return parts;
}

}  // namespace hh::apps
