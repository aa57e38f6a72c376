// SPDX-License-Identifier: Apache-2.0
// What a request of the API brings: a picture, and values as parameters or as fields of a form.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "apps/serve/http.h"

namespace hh::apps {

/// Throws std::invalid_argument, saying which was meant: a value's name is none of `names`. What is
/// misspelt would be passed over in silence.
void check_names(const std::multimap<std::string, std::string>& values,
                 const std::vector<std::string>& names);

class Values {
 public:
  /// Throws std::invalid_argument: a value of none of the `names`, or several of one that isn't
  /// `filter`.
  Values(std::multimap<std::string, std::string> values, const std::vector<std::string>& names);

  std::vector<std::string> all(const std::string& name) const;
  /// The value of that name, or "". Throws std::invalid_argument: more than `most` bytes.
  std::string one(const std::string& name, std::size_t most) const;

 private:
  std::multimap<std::string, std::string> values_;
};

class Upload : public Values {
 public:
  /// Keeps the reference. Throws std::invalid_argument also for a form that is broken or has no
  /// 'image'.
  Upload(const HttpRequest& request, const std::vector<std::string>& names);

  std::string_view picture() const { return picture_; }  // empty: none was sent

 private:
  struct Parts {
    std::multimap<std::string, std::string> values;
    std::string_view picture;
  };
  static Parts parts_of(const HttpRequest& request);
  Upload(Parts parts, const std::vector<std::string>& names);

  std::string_view picture_;
};

}  // namespace hh::apps
