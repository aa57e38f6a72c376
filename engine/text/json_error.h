// SPDX-License-Identifier: Apache-2.0
// What is wrong with JSON, in words for users.
#pragma once
#include <exception>
#include <string>

namespace hh {

/// The text of an exception of nlohmann::json without names of its code, as "[json.exception.KIND.NUMBER] ".
std::string json_error_text(const std::exception& error);

}  // namespace hh
