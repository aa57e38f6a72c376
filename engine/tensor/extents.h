// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <span>
#include <string>

namespace hh {

/// "[2, 3]": of shapes, also of those in files, which may have more axes than a Shape.
std::string extents_text(std::span<const std::int64_t> extents);

}  // namespace hh
