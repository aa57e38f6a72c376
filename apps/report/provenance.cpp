// SPDX-License-Identifier: Apache-2.0
#include "apps/report/provenance.h"

#include <fmt/chrono.h>

#include <ctime>

#include "engine/device/backend.h"
#include "engine/device/host_name.h"

namespace hh::apps {

std::string made_by() {
  return fmt::format("made {:%Y-%m-%d %H:%M} UTC on {} ({})", fmt::gmtime(std::time(nullptr)),
                     host_name(), backend(kCpu).name());
}

}  // namespace hh::apps
