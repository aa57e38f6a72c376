// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/upload.h"

#include <algorithm>
#include <utility>

#include "apps/serve/form.h"
#include "kernels/core/check.h"
#include "pipeline/nearest_name.h"

namespace hh::apps {

void check_names(const std::multimap<std::string, std::string>& values,
                 const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 40;
  for (const auto& [name, value] : values) {
    const std::string shown = name.substr(0, kShown);
    // Text of a message would end there, and so would a path.
    HH_REQUIRE(name.find('\0') == std::string::npos && value.find('\0') == std::string::npos,
               "'" << shown.c_str() << "' holds a zero byte: leave it out");
    HH_REQUIRE(!names.empty(), "'" << shown << "': this address takes no parameters");
    HH_REQUIRE(std::find(names.begin(), names.end(), name) != names.end(),
               "there is no parameter '" << shown << "' here; the nearest is '"
                                         << pipeline::nearest_name(shown, names) << "'");
    HH_REQUIRE(name == "filter" || values.count(name) == 1, name << " is given more than once");
  }
}

Upload::Upload(const HttpRequest& request, const std::vector<std::string>& names)
    : Upload(parts_of(request), names) {}

Upload::Upload(Parts parts, const std::vector<std::string>& names)
    : Values(std::move(parts.values), names), picture_(parts.picture) {}

Upload::Parts Upload::parts_of(const HttpRequest& request) {
  Parts parts{.values = request.params, .picture = request.body};
  if (!is_form(request.content_type)) return parts;
  bool found = false;
  for (const FormPart& part : parse_form(request.content_type, request.body)) {
    if (part.name != "image") {
      parts.values.emplace(part.name, part.data);
      continue;
    }
    HH_REQUIRE(!found, "the form has more than one 'image'");
    parts.picture = part.data;
    found = true;
  }
  HH_REQUIRE(found, "the form has no part 'image'");
  return parts;
}

Values::Values(std::multimap<std::string, std::string> values,
               const std::vector<std::string>& names)
    : values_(std::move(values)) {
  check_names(values_, names);
}

std::vector<std::string> Values::all(const std::string& name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : values_) {
    if (key == name) values.push_back(value);
  }
  return values;
}

std::string Values::one(const std::string& name, std::size_t most) const {
  const auto values = all(name);
  HH_REQUIRE(values.empty() || values[0].size() <= most,
             name << " of more than " << most << " bytes");
  return values.empty() ? "" : values[0];
}

}  // namespace hh::apps
