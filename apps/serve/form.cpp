// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/form.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "kernels/core/check.h"

namespace hh::apps {
namespace {

constexpr std::size_t kMaxPartHead = 4096, kMaxBoundary = 70;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = char(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

/// The value of `name=` among the parameters of "type; name=value; other="quoted"", or empty.
std::string attribute(std::string_view text, const std::string& name) {
  const auto skip = [&](const char* characters) {
    text.remove_prefix(std::min(text.find_first_not_of(characters), text.size()));
  };
  text.remove_prefix(std::min(text.find(';'), text.size()));
  while (!text.empty()) {
    skip("; \t");
    const std::size_t end = std::min(text.find_first_of("=; \t"), text.size());
    const bool wanted = lower(text.substr(0, end)) == name;
    text.remove_prefix(end);
    skip(" \t");
    if (!text.starts_with('=')) continue;
    text.remove_prefix(1);
    skip(" \t");
    std::string value;
    if (text.starts_with('"')) {  // in which ; and = mean nothing
      std::size_t i = 1;
      for (; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\' && i + 1 < text.size()) ++i;
        value += text[i];
      }
      text.remove_prefix(std::min(i + 1, text.size()));
    } else {
      value = text.substr(0, text.find_first_of("; \t"));
      text.remove_prefix(value.size());
    }
    if (wanted) return value;
    text.remove_prefix(std::min(text.find(';'), text.size()));
  }
  return "";
}

/// A line that is "--boundary" and blanks; or "--boundary--", behind which anything may stand. Lines
/// end in CR LF alone (RFC 2046, 4.1.1 and 5.1.1): a bare LF is data of a picture, so a form whose
/// lines end in it has no certain parts.
struct Delimiter {
  std::size_t begin = 0, end = 0;  // with the line end before it, and that behind it
  bool last = false;
};

std::optional<Delimiter> find_delimiter(std::string_view body, const std::string& boundary,
                                        std::size_t from) {
  const std::string mark = "--" + boundary;
  for (std::size_t at = from; (at = body.find(mark, at)) != std::string_view::npos; ++at) {
    const bool starts_line = at == 0 || (at >= 2 && body.substr(at - 2, 2) == "\r\n");
    if (!starts_line) continue;
    const std::size_t begin = at == 0 ? 0 : std::max(at - 2, from);
    const std::string_view rest = body.substr(at + mark.size());
    if (rest.starts_with("--")) return Delimiter{begin, body.size(), true};
    const std::size_t blanks = std::min(rest.find_first_not_of(" \t"), rest.size());
    if (rest.substr(blanks).starts_with("\r\n")) {
      return Delimiter{begin, at + mark.size() + blanks + 2, false};
    }
  }
  return std::nullopt;
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

std::vector<FormPart> parse_form(const std::string& content_type, std::string_view body,
                                 std::size_t most) {
  const std::string boundary = attribute(content_type, "boundary");
  HH_REQUIRE(!boundary.empty() && boundary.size() <= kMaxBoundary,
             "multipart/form-data needs a boundary of 1 to 70 characters");
  auto mark = find_delimiter(body, boundary, 0);  // before the first: a preamble that means nothing
  const bool bare = !mark && body.find("--" + boundary + "\n") != std::string_view::npos;
  HH_REQUIRE(!bare, "the lines of the form end in LF: end them in CR LF, as RFC 2046 has it");
  HH_REQUIRE(mark, "the form has no line --" << boundary << ", its boundary");
  std::vector<FormPart> parts;
  while (!mark->last) {
    HH_REQUIRE(parts.size() < most, "the form has more than " << most << " parts");
    const std::size_t begin = mark->end;
    mark = find_delimiter(body, boundary, begin);
    HH_REQUIRE(mark, "the form ends early: its last line must be --" << boundary << "--");
    parts.push_back(parse_part(body.substr(begin, mark->begin - begin)));
  }
  return parts;
}

}  // namespace hh::apps
