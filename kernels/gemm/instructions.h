// SPDX-License-Identifier: Apache-2.0
// What this CPU multiplies beside float32, and what of it gains. Obeys HH_SIMD and --simd, which
// limit oneDNN too.
#pragma once
#include <string>

namespace hh::cpu {

/// Do oneDNN's bf16 products gain over float32's? With AMX several times. Intel's cores that have
/// AVX512_FP16 run VDPBF16PS at a quarter of the rate of float32's multiply-adds, for twice the
/// products: where a virtual machine hides their AMX, bf16 is converted to float32, as on a CPU
/// without any of it (docs/decisions/gemm.md).
bool bf16_gains();

/// Products of bytes with exact 32-bit sums: AVX512_VNNI or AMX. Without, oneDNN's sums of two
/// products saturate at 16 bits.
bool has_int8_products();

/// "AVX512_BF16, AVX512_VNNI, AMX", those of them that are there; "none".
std::string product_instructions();

}  // namespace hh::cpu
