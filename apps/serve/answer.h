// SPDX-License-Identifier: Apache-2.0
// Answers of the API: JSON, and errors as their statuses.
#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "apps/serve/http.h"

namespace hh::apps {

/// Ends a request with that status.
struct ApiError {
  int status;
  std::string message;
};

HttpResponse json_response(const nlohmann::json& value, int status = 200);

/// Runs `work`. What it throws because of what was asked, or because it is to be asked again; what
/// isn't known here is passed on.
std::optional<ApiError> failure_of(const std::function<void()>& work);

/// Runs `answer`, and turns what it throws into answers. What isn't known here is passed on.
HttpResponse answered_as(const std::string& route, const std::function<HttpResponse()>& answer);

/// A whole number. Throws std::invalid_argument, naming `name` and the limits.
std::int64_t number(const std::string& name, const std::string& text, std::int64_t least,
                    std::int64_t most);

}  // namespace hh::apps
