// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm/onednn_product.h"

#include <oneapi/dnnl/dnnl_debug.h>

#include <algorithm>
#include <cassert>

#include "kernels/core/parallel.h"
#include "kernels/core/workspace.h"

namespace hh::cpu::onednn {
namespace {

// oneDNN copies its operands before it multiplies: an element takes as long as so many
// multiplications.
constexpr double kCopy = 16;

// Multiples of what oneDNN's inner loops take at a time.
Pieces::Grain grain(bool whole_rows) {
  return {.rows = 16, .columns = 32, .copy_a = kCopy, .copy_b = kCopy, .whole_rows = whole_rows};
}

struct Leading {
  std::int64_t a, b, c;
};

void sgemm_piece(bool ta, bool tb, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                 const float* b, float beta, float* c, const Leading& leading) {
  const OnThisThread scope;
  const auto status = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1.f, a, leading.a, b,
                                 leading.b, beta, c, leading.c);
  if (status != dnnl_success) {
    throw DeviceError("linear: oneDNN: sgemm of " + std::to_string(m) + " x " + std::to_string(n) +
                      " x " + std::to_string(k) + " failed: " + dnnl_status2str(status));
  }
}

}  // namespace

void sgemm_here(bool ta, bool tb, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                const float* b, float beta, float* c) {
  sgemm_piece(ta, tb, m, n, k, a, b, beta, c, {ta ? m : k, tb ? k : n, n});
}

void sgemm(bool ta, bool tb, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
           const float* b, float beta, float* c) {
  const Leading leading{ta ? m : k, tb ? k : n, n};
  const Pieces pieces(m, n, k, grain(false));
  parallel_chunks(pieces.count(), [&](std::int64_t i) {
    const Pieces::Piece p = pieces[i];
    sgemm_piece(ta, tb, p.rows, p.columns, k, a + p.row * (ta ? 1 : leading.a),
                b + p.column * (tb ? leading.b : 1), beta, c + p.row * n + p.column, leading);
  });
}

/// The primitive of a piece.
class Matmul::Part {
 public:
  static std::shared_ptr<const Part> of(const Shape& whole, std::int64_t rows,
                                        std::int64_t columns) {
    const Key key{std::int64_t(whole.in),
                  std::int64_t(whole.out),
                  whole.ta,
                  whole.tb,
                  rows,
                  columns,
                  whole.k,
                  whole.ta ? whole.m : 0,
                  whole.n,
                  whole.bias + 2 * whole.accumulate};
    return kept<Part>(key, [&] {
      return guarded("linear", [&] { return std::make_shared<const Part>(whole, rows, columns); });
    });
  }

  Part(const Shape& s, std::int64_t rows, std::int64_t columns) {
    using dnnl::memory;
    const memory::desc a({rows, s.k}, s.in, s.ta ? memory::dims{1, s.m} : memory::dims{s.k, 1});
    const memory::desc b({s.k, columns}, s.in, s.tb ? memory::dims{1, s.k} : memory::dims{s.n, 1});
    const memory::desc c({rows, columns}, s.out, memory::dims{s.n, 1});
    const memory::desc bias({1, columns}, s.in, memory::dims{columns, 1});
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (s.accumulate) {
      dnnl::post_ops add;
      add.append_sum(1.f);
      attr.set_post_ops(add);
    }
    desc_ = {s.bias ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c), attr,
             engine()};
    primitive_ = dnnl::matmul(desc_);
  }

  std::size_t scratch_bytes() const { return desc_.scratchpad_desc().get_size(); }

  void run(const void* a, const void* b, const void* bias, void* c, void* scratch) const {
    assert(scratch != nullptr || scratch_bytes() == 0);
    guarded("linear", [&] {
      std::unordered_map<int, dnnl::memory> args{
          {DNNL_ARG_SRC, view(desc_.src_desc(), a)},
          {DNNL_ARG_WEIGHTS, view(desc_.weights_desc(), b)},
          {DNNL_ARG_DST, view(desc_.dst_desc(), c)},
          {DNNL_ARG_SCRATCHPAD, view(desc_.scratchpad_desc(), scratch)}};
      if (bias != nullptr) args.emplace(DNNL_ARG_BIAS, view(desc_.bias_desc(), bias));
      primitive_.execute(stream(), args);
    });
  }

 private:
  dnnl::matmul::primitive_desc desc_;
  dnnl::matmul primitive_;
};

// For bf16 results that aren't as wide as their memory oneDNN has no kernel but one that copies.
Matmul::Matmul(const Shape& s)
    : shape_(s),
      pieces_(s.m, s.n, s.k, grain(s.in != dnnl::memory::data_type::f32)),
      workers_(num_threads()) {
  for (std::int64_t i = 0; i < pieces_.count(); ++i) {
    const Pieces::Piece p = pieces_[i];
    auto& made = parts_[p.rows == pieces_.height ? 0 : 1][p.columns == pieces_.width ? 0 : 1];
    if (made == nullptr) made = Part::of(s, p.rows, p.columns);
    scratch_of_piece_ = std::max(scratch_of_piece_, Workspace::padded(made->scratch_bytes()));
  }
}

std::size_t Matmul::scratch_bytes() const {
  return scratch_of_piece_ * std::size_t(std::min<std::int64_t>(workers_, pieces_.count()));
}

void Matmul::run(const void* a, const void* b, const void* bias, void* c, void* scratch) const {
  const auto in = std::int64_t(dnnl::memory::data_type_size(shape_.in));
  const auto out = std::int64_t(dnnl::memory::data_type_size(shape_.out));
  const auto at = [](const void* array, std::int64_t bytes) {
    return static_cast<const std::byte*>(array) + bytes;
  };
  parallel_items(pieces_.count(), [&](int worker, std::int64_t i) {
    const Pieces::Piece p = pieces_[i];
    part(p).run(at(a, p.row * (shape_.ta ? 1 : shape_.k) * in),
                at(b, p.column * (shape_.tb ? shape_.k : 1) * in),
                bias == nullptr ? nullptr : at(bias, p.column * in),
                static_cast<std::byte*>(c) + (p.row * shape_.n + p.column) * out,
                scratch_of_piece_ == 0
                    ? nullptr
                    : Workspace::piece(scratch, worker, scratch_of_piece_).rest());
  });
}

}  // namespace hh::cpu::onednn
