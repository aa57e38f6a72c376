// SPDX-License-Identifier: Apache-2.0
// Products of bytes by oneDNN, on the calling thread: for callers that are part of a loop.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/gemm/onednn.h"

namespace hh::cpu::onednn {

/// c [rows,out] = a b^T, sums exact: a [rows,in] of bytes 0 to 255, b [out,in] of signed bytes, in
/// oneDNN's own order. Only where has_int8_products(). Throws DeviceError when oneDNN fails.
class Int8Product {
 public:
  /// Kept, since making one compiles code.
  static std::shared_ptr<const Int8Product> of(std::int64_t rows, int in, int out);
  Int8Product(std::int64_t rows, int in, int out, const dnnl::memory::desc& packed);

  std::size_t scratch_bytes() const { return desc_.scratchpad_desc().get_size(); }
  /// packed: of pack_int8(), aligned to 64; scratch too.
  void run(const std::uint8_t* a, const void* packed, std::int32_t* c, void* scratch) const;

 private:
  dnnl::matmul::primitive_desc desc_;
  dnnl::matmul primitive_;
};

/// Bytes of b [out,in] in oneDNN's order.
std::size_t packed_int8_bytes(int in, int out);
void pack_int8(const std::int8_t* b, int in, int out, void* packed);

}  // namespace hh::cpu::onednn
