// SPDX-License-Identifier: Apache-2.0
// What a request of the API brings: a picture, and values as parameters or as fields of a form.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/serve/http.h"

namespace hh::apps {

class Upload {
 public:
  /// Keeps the reference. Throws std::invalid_argument: a form that is broken or has no 'image'.
  explicit Upload(const HttpRequest& request);

  std::string_view picture() const { return picture_; }  // empty: none was sent
  std::vector<std::string> all(const std::string& name) const;
  /// The value of that name, or "". Throws std::invalid_argument: several, or more than `most`
  /// bytes.
  std::string one(const std::string& name, std::size_t most) const;

 private:
  std::string_view picture_;
  std::vector<std::pair<std::string, std::string>> values_;
};

}  // namespace hh::apps
