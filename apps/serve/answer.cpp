// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/answer.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "apps/serve/compute.h"
#include "data/images/decode.h"
#include "engine/files/file_error.h"
#include "engine/text/json_text.h"
#include "kernels/core/check.h"
#include "retrieval/index/index.h"

namespace hh::apps {

HttpResponse json_response(const nlohmann::json& value, int status) {
  return {.status = status, .body = json_text(value) + "\n"};
}

std::optional<ApiError> failure_of(const std::function<void()>& work) {
  try {
    work();
    return std::nullopt;
  } catch (const ApiError& error) {
    return error;
  } catch (const std::invalid_argument& error) {
    return ApiError{400, error.what()};
  } catch (const data::ImageError& error) {
    return ApiError{400, std::string("the picture can't be used: ") + error.what()};
  } catch (const DiskFull& error) {
    return ApiError{507, std::string("nothing was changed: ") + error.what()};
  } catch (const retrieval::IndexBusy& error) {
    return ApiError{503, error.what()};
  } catch (const ComputeBusy& error) {
    return ApiError{503, error.what()};
  } catch (const TryAgain& error) {
    return ApiError{503, error.what()};
  }
}

HttpResponse answered_as(const std::string& route, const std::function<HttpResponse()>& answer) {
  HttpResponse response;
  if (const auto error = failure_of([&] { response = answer(); })) {
    response = error_response(error->status, error->message);
    if (error->status == 401)
      response.headers.emplace_back("WWW-Authenticate", "Basic realm=\"hybridhash\", Bearer");
  }
  response.route = route;
  return response;
}

std::int64_t number(const std::string& name, const std::string& text, std::int64_t least,
                    std::int64_t most) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  HH_REQUIRE(
      error == std::errc() && end == text.data() + text.size() && value >= least && value <= most,
      name << " = '" << text.substr(0, 40) << "': use a whole number from " << least << " to "
           << most);
  return value;
}

}  // namespace hh::apps
