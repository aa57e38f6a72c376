// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/upload.h"

#include "apps/serve/form.h"
#include "kernels/core/check.h"

namespace hh::apps {

Upload::Upload(const HttpRequest& request) {
  for (const auto& [name, value] : request.params) values_.emplace_back(name, value);
  if (!is_form(request.content_type)) {
    picture_ = request.body;
    return;
  }
  bool found = false;
  for (const FormPart& part : parse_form(request.content_type, request.body)) {
    if (part.name != "image") {
      values_.emplace_back(part.name, part.data);
      continue;
    }
    HH_REQUIRE(!found, "the form has more than one 'image'");
    picture_ = part.data;
    found = true;
  }
  HH_REQUIRE(found, "the form has no part 'image'");
}

std::vector<std::string> Upload::all(const std::string& name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : values_) {
    if (key == name) values.push_back(value);
  }
  return values;
}

std::string Upload::one(const std::string& name, std::size_t most) const {
  const auto values = all(name);
  HH_REQUIRE(values.size() <= 1, name << " is given more than once");
  HH_REQUIRE(values.empty() || values[0].size() <= most,
             name << " of more than " << most << " bytes");
  return values.empty() ? "" : values[0];
}

}  // namespace hh::apps
