// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

namespace hh::apps {

/// For the foot of a page: when and on which machine and CPU it was made.
std::string made_by();

}  // namespace hh::apps
