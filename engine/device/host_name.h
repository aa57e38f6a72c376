// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

namespace hh {

/// Of this machine; "localhost" where it has none.
std::string host_name();

}  // namespace hh
