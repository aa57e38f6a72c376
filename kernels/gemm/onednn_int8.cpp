// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm/onednn_int8.h"

#include <cassert>

namespace hh::cpu::onednn {
namespace {

using dnnl::memory;

dnnl::matmul::primitive_desc product_desc(std::int64_t rows, int in, int out,
                                          const memory::desc& weights) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const memory::desc a({rows, in}, memory::data_type::u8, memory::format_tag::ab);
  const memory::desc c({rows, out}, memory::data_type::s32, memory::format_tag::ab);
  return {dnnl::matmul::desc(a, weights, c), attr, engine()};
}

/// The order that oneDNN likes for many rows; products of any number of rows then take it.
memory::desc packed_desc(int in, int out) {
  struct Packed {
    memory::desc desc;
  };
  constexpr std::int64_t kManyRows = 64;
  return kept<Packed>(
             {in, out},
             [&] {
               const memory::desc any({in, out}, memory::data_type::s8, memory::format_tag::any);
               return std::make_shared<const Packed>(
                   Packed{product_desc(kManyRows, in, out, any).weights_desc()});
             })
      ->desc;
}

}  // namespace

std::shared_ptr<const Int8Product> Int8Product::of(std::int64_t rows, int in, int out) {
  return guarded("int8_linear", [&] {
    const memory::desc packed = packed_desc(in, out);  // before the lock of those kept
    return kept<Int8Product>({rows, in, out}, [&] {
      return std::make_shared<const Int8Product>(rows, in, out, packed);
    });
  });
}

Int8Product::Int8Product(std::int64_t rows, int in, int out, const memory::desc& packed)
    : desc_(product_desc(rows, in, out, packed)), primitive_(desc_) {}

void Int8Product::run(const std::uint8_t* a, const void* packed, std::int32_t* c,
                      void* scratch) const {
  assert(scratch != nullptr || scratch_bytes() == 0);
  guarded("int8_linear", [&] {
    primitive_.execute(stream(), {{DNNL_ARG_SRC, view(desc_.src_desc(), a)},
                                  {DNNL_ARG_WEIGHTS, view(desc_.weights_desc(), packed)},
                                  {DNNL_ARG_DST, view(desc_.dst_desc(), c)},
                                  {DNNL_ARG_SCRATCHPAD, view(desc_.scratchpad_desc(), scratch)}});
  });
}

std::size_t packed_int8_bytes(int in, int out) {
  return guarded("int8_linear", [&] { return packed_desc(in, out).get_size(); });
}

void pack_int8(const std::int8_t* b, int in, int out, void* packed) {
  guarded("int8_linear", [&] {
    const memory::desc plain({in, out}, memory::data_type::s8, memory::format_tag::ba);
    const memory::desc to = packed_desc(in, out);
    dnnl::reorder({engine(), plain, engine(), to})
        .execute(stream(), {{DNNL_ARG_FROM, view(plain, b)}, {DNNL_ARG_TO, view(to, packed)}});
  });
}

}  // namespace hh::cpu::onednn
