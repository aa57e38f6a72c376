// SPDX-License-Identifier: Apache-2.0
#include "engine/device/host_name.h"

#include <unistd.h>

namespace hh {

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

}  // namespace hh
