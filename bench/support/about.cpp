// SPDX-License-Identifier: Apache-2.0
#include "bench/support/about.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

#include "engine/device/backend.h"
#include "engine/device/host_name.h"
#include "kernels/core/parallel.h"
#include "kernels/core/simd.h"

namespace hh::bench {

extern const char* const kCommit;  // of the build; its file is made by support/commit.cmake

std::map<std::string, std::string> about_run(const std::string& device) {
  std::map<std::string, std::string> about{
      {"machine", host_name()},
      {"cpu", backend(kCpu).name()},
      {"instruction_set", cpu::simd_in_use()},
      {"threads", std::to_string(cpu::num_threads())},
      {"compiler", __VERSION__},
      {"commit", kCommit},
      {"version", HH_VERSION},
      {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))}};
#ifndef __clang__
  about["compiler"] = std::string("GCC ") + __VERSION__;
#endif
  const Device on = parse_device(device);
  if (on != kCpu) about["gpu"] = backend(on).name();
  return about;
}

std::string version_text() {
  const auto about = about_run("cpu");
  return fmt::format("hh_bench {} ({}), {}", about.at("version"), about.at("commit"),
                     about.at("compiler"));
}

}  // namespace hh::bench
