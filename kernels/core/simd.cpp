// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/simd.h"

#include <hwy/targets.h>

#include <cstdlib>
#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/core/check.h"

namespace hh::cpu {
namespace {

constexpr std::int64_t kAvx512 = HWY_AVX3 | HWY_AVX3_DL;
std::string forced;  // empty: the machine's best

std::string best() { return simd_available().back(); }

}  // namespace

std::vector<std::string> simd_available() {
  static const std::int64_t targets = hwy::SupportedTargets();  // before anything is disabled
#ifdef HWY_COMPILE_ONLY_STATIC
  return {"avx2"};  // HH_ONLY_AVX2
#endif
  std::vector<std::string> names{"baseline"};
  if (targets & HWY_AVX2) names.emplace_back("avx2");
  if (targets & HWY_AVX3) names.emplace_back("avx512");
  return names;
}

std::string simd_in_use() { return forced.empty() ? best() : forced; }

void simd_force(const std::string& name) {
  std::string known;
  bool available = false;
  for (const std::string& candidate : simd_available()) {
    known += (known.empty() ? "" : ", ") + candidate;
    available = available || candidate == name;
  }
  HH_REQUIRE(available, "instruction set '" << name << "' is not one of this machine's: " << known);
  if (name == "avx2") {
    hwy::DisableTargets(kAvx512);
    dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
  } else if (name == "baseline") {
    hwy::DisableTargets(kAvx512 | HWY_AVX2);
    dnnl::set_max_cpu_isa(dnnl::cpu_isa::sse41);
  }
  forced = name;
}

void simd_from_environment() {
  if (const char* name = std::getenv("HH_SIMD"); name != nullptr && *name != '\0') simd_force(name);
}

}  // namespace hh::cpu
