// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm/instructions.h"

#include <cpuid.h>

#include <oneapi/dnnl/dnnl.hpp>

namespace hh::cpu {
namespace {

/// Of oneDNN, whose every set's value holds the bits of those it includes.
bool has(dnnl::cpu_isa set) {
  static const auto isa = unsigned(dnnl::get_effective_cpu_isa());
  return (isa & unsigned(set)) == unsigned(set);
}

/// By CPUID: clang 14 has no name for it. Asked once: in a virtual machine it takes as long as a small product.
bool has_avx512_fp16() {
  static const bool has = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 23 & 1) != 0;
  }();
  return has;
}

}  // namespace

bool bf16_gains() {
  return has(dnnl::cpu_isa::avx512_core_amx) ||
         (has(dnnl::cpu_isa::avx512_core_bf16) && !has_avx512_fp16());
}

bool has_int8_products() { return has(dnnl::cpu_isa::avx512_core_vnni); }

std::string product_instructions() {
  std::string names;
  const auto name = [&](dnnl::cpu_isa set, const char* text) {
    if (has(set)) names += std::string(names.empty() ? "" : ", ") + text;
  };
  name(dnnl::cpu_isa::avx512_core_bf16, "AVX512_BF16");
  name(dnnl::cpu_isa::avx512_core_vnni, "AVX512_VNNI");
  name(dnnl::cpu_isa::avx512_core_amx, "AMX");
  return names.empty() ? "none" : names;
}

}  // namespace hh::cpu
