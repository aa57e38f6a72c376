// SPDX-License-Identifier: Apache-2.0
#include "apps/report/provenance.h"

#include <fmt/chrono.h>
#include <unistd.h>

#include <ctime>

#include "engine/device/backend.h"

namespace hh::apps {

std::string made_by() {
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  return fmt::format("made {:%Y-%m-%d %H:%M} UTC on {} ({})", fmt::gmtime(std::time(nullptr)), host,
                     backend(kCpu).name());
}

}  // namespace hh::apps
