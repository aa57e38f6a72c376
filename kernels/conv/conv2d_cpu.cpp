// SPDX-License-Identifier: Apache-2.0
// Library   oneDNN's direct convolution on channels-last images. It wants the weights in blocks of
//           its own: they are reordered on each call, which is small beside the convolution.
// Threads   Each piece (conv2d_pieces.h) is a convolution of its own by one thread, with padding only
//           where the piece ends at the image's edge.
// bf16      Native, or else the images are converted to float32 as a whole.
// Winograd  3 x 3 in float32, forward and the gradient of x, are our own (winograd.h) where it gains.
// Gradients oneDNN overwrites dw; the reorder back to the state dict's order adds it to dweight, for
//           one piece after the other.
#include <algorithm>
#include <cassert>
#include <vector>

#include "kernels/conv/conv2d.h"
#include "kernels/conv/conv2d_pieces.h"
#include "kernels/conv/winograd.h"
#include "kernels/core/check_workspace.h"
#include "kernels/core/workspace.h"
#include "kernels/gemm/instructions.h"
#include "kernels/gemm/onednn.h"
#include "kernels/gemm/rows.h"

namespace hh::cpu {
namespace {

using dnnl::memory;

enum class Pass { kForward, kBackwardInput, kBackwardWeight };

memory::dims weight_sizes(const Conv2dShape& s) {
  return {s.out_channels, s.in_channels, s.kernel_h, s.kernel_w};
}

/// The primitive of a piece. `weights`: in whose blocks; without one, oneDNN chooses.
class PieceConvolution {
 public:
  PieceConvolution(Pass pass, memory::data_type type, const Conv2dShape& s, bool bias,
                   const ConvPiece& piece, const memory::desc* weights) {
    using Tag = memory::format_tag;
    const bool input = pass == Pass::kBackwardInput;
    // oneDNN names sizes in the order N, C, H, W whatever the layout.
    const auto rows = [&](int channels, std::int64_t height) {
      return memory::desc({piece.images, channels, height, s.width}, type, Tag::nhwc);
    };
    x_ = rows(s.in_channels, input ? piece.rows : piece.other_rows);
    y_ = rows(s.out_channels, input ? piece.other_rows : piece.rows);
    bias_ = {{s.out_channels}, type, Tag::a};
    const std::int64_t reach = (s.kernel_h - 1) / 2, side = (s.kernel_w - 1) / 2;
    // Rows of padding above and below, counted from x: y[i] takes x[i - top] to x[i - top + kh - 1].
    const std::int64_t top =
        input ? reach + piece.row - piece.other_row : reach - (piece.row - piece.other_row);
    const std::int64_t height = input ? piece.rows : piece.other_rows;
    const std::int64_t out_height = input ? piece.other_rows : piece.rows;
    const memory::dims stride{1, 1}, before{top, side};
    const memory::dims after{out_height - height - top + s.kernel_h - 1, side};

    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const auto direct = dnnl::algorithm::convolution_direct;
    const memory::desc w =
        weights != nullptr ? *weights : memory::desc(weight_sizes(s), type, Tag::any);
    const memory::desc free(weight_sizes(s), type, Tag::any);
    using Forward = dnnl::convolution_forward;
    const auto kind = dnnl::prop_kind::forward_training;
    const auto forward_with = [&](const memory::desc& at) {
      return Forward::primitive_desc(
          bias ? Forward::desc(kind, direct, x_, at, bias_, y_, stride, before, after)
               : Forward::desc(kind, direct, x_, at, y_, stride, before, after),
          attr, onednn::engine());
    };
    if (pass == Pass::kForward) {
      const Forward::primitive_desc desc = forward_with(w);
      keep(desc, desc.weights_desc());
    } else if (input) {
      const dnnl::convolution_backward_data::primitive_desc desc(
          {direct, x_, w, y_, stride, before, after}, attr, onednn::engine(), forward_with(free));
      keep(desc, desc.weights_desc());
    } else {
      const memory::desc sums =
          weights != nullptr ? *weights
                             : memory::desc(weight_sizes(s), memory::data_type::f32, Tag::any);
      const dnnl::convolution_backward_weights::primitive_desc desc(
          {direct, x_, sums, y_, stride, before, after}, attr, onednn::engine(),
          forward_with(free));
      keep(desc, desc.diff_weights_desc());
    }
  }

  const memory::desc& blocked() const { return blocked_; }
  std::size_t scratch_bytes() const { return scratchpad_.get_size(); }

  /// `x`, `y`: the whole arrays; one of them is written. In backward weight `weights` is.
  void run(Pass pass, const Conv2dShape& s, const ConvPiece& piece, const void* x,
           const void* weights, const void* bias, const void* y, void* scratch) const {
    const bool input = pass == Pass::kBackwardInput;
    const auto at = [&](const memory::desc& desc, const void* array, int channels,
                        std::int64_t row) {
      const std::int64_t elements = (piece.image * s.height + row) * s.width * channels;
      return onednn::view(desc,
                          static_cast<const std::byte*>(array) +
                              std::size_t(elements) * memory::data_type_size(desc.data_type()));
    };
    const memory px = at(x_, x, s.in_channels, input ? piece.row : piece.other_row);
    const memory py = at(y_, y, s.out_channels, input ? piece.other_row : piece.row);
    const memory pw = onednn::view(blocked_, weights);
    std::unordered_map<int, memory> args{{DNNL_ARG_SCRATCHPAD, onednn::view(scratchpad_, scratch)}};
    if (pass == Pass::kForward) {
      args.insert({{DNNL_ARG_SRC, px}, {DNNL_ARG_WEIGHTS, pw}, {DNNL_ARG_DST, py}});
      if (bias != nullptr) args.emplace(DNNL_ARG_BIAS, onednn::view(bias_, bias));
    } else if (input) {
      args.insert({{DNNL_ARG_DIFF_SRC, px}, {DNNL_ARG_WEIGHTS, pw}, {DNNL_ARG_DIFF_DST, py}});
    } else {
      args.insert({{DNNL_ARG_SRC, px}, {DNNL_ARG_DIFF_WEIGHTS, pw}, {DNNL_ARG_DIFF_DST, py}});
    }
    primitive_.execute(onednn::stream(), args);
  }

 private:
  template <class Desc>
  void keep(const Desc& desc, const memory::desc& blocked) {
    primitive_ = dnnl::primitive(desc.get());
    scratchpad_ = desc.scratchpad_desc();
    blocked_ = blocked;
  }

  memory::desc x_, y_, bias_, blocked_, scratchpad_;
  dnnl::primitive primitive_;
};

/// A convolution's pieces and the reorder of its weights, for one shape, type and number of threads.
class Convolution {
 public:
  static std::shared_ptr<const Convolution> of(Pass pass, memory::data_type type,
                                               const Conv2dShape& s, bool bias) {
    const onednn::Key key{
        int(pass) + 4 * bias, int(type),      s.images,   s.height,   s.width,
        s.in_channels,        s.out_channels, s.kernel_h, s.kernel_w, num_threads()};
    return onednn::kept<Convolution>(key, [&] {
      return onednn::guarded(
          "conv2d", [&] { return std::make_shared<const Convolution>(pass, type, s, bias); });
    });
  }

  Convolution(Pass pass, memory::data_type type, const Conv2dShape& s, bool bias)
      : pass_(pass),
        shape_(s),
        pieces_(s, conv_pieces_wanted(s, pass == Pass::kBackwardWeight)),
        workers_(std::min<std::int64_t>(num_threads(), pieces_.count())) {
    const memory::desc* blocked = nullptr;
    for (std::int64_t i = 0; i < pieces_.count(); ++i) {
      const ConvPiece p = pieces_[i];
      // A piece's primitive depends on its sizes and on where its edges are.
      auto& made = by_shape_[{p.images, p.rows, p.other_rows, p.row - p.other_row}];
      if (made == nullptr) {
        made = std::make_shared<const PieceConvolution>(pass, type, s, bias, p, blocked);
      }
      if (blocked == nullptr) blocked = &made->blocked();
      by_piece_.push_back(made.get());
      scratch_of_worker_ = std::max(scratch_of_worker_, Workspace::padded(made->scratch_bytes()));
    }
    blocked_bytes_ = Workspace::padded(blocked->get_size());
    add_reorders(*blocked, pass == Pass::kBackwardWeight ? memory::data_type::f32 : type);
  }

  /// Blocked weights (in backward weight one for each piece), then oneDNN's own for each worker.
  std::size_t scratch_bytes() const {
    return blocked_bytes_ * std::size_t(weights_count()) +
           scratch_of_worker_ * std::size_t(workers_);
  }

  void run(const void* x, const void* weight, const void* bias, const void* y,
           void* scratch) const {
    assert(scratch != nullptr);
    const bool sums = pass_ == Pass::kBackwardWeight;
    Workspace workspace(scratch);
    auto* const weights = workspace.take<std::byte>(std::int64_t(blocked_bytes_) * weights_count());
    void* const workers = workspace.rest();
    if (!sums) reorder_all([&](const Reorder& r) { r.run(weight, weights); });
    parallel_items(pieces_.count(), [&](int worker, std::int64_t i) {
      std::byte* const own = weights + (sums ? std::size_t(i) * blocked_bytes_ : 0);
      onednn::guarded("conv2d", [&] {
        by_piece_[std::size_t(i)]->run(
            pass_, shape_, pieces_[i], x, own, bias, y,
            Workspace::piece(workers, worker, scratch_of_worker_).rest());
      });
    });
    if (!sums) return;
    reorder_all([&](const Reorder& r) {
      for (std::int64_t i = 0; i < pieces_.count(); ++i) {
        r.run(weights + std::size_t(i) * blocked_bytes_, weight);
      }
    });
  }

 private:
  /// Of some output channels' weights, from the state dict's order to blocks or back.
  struct Reorder {
    memory::desc from, to;
    dnnl::reorder reorder;
    void run(const void* source, const void* target) const {
      memory a = onednn::view(from, source), b = onednn::view(to, target);
      reorder.execute(onednn::stream(), a, b);
    }
  };

  std::int64_t weights_count() const {
    return pass_ == Pass::kBackwardWeight ? pieces_.count() : 1;
  }

  void add_reorders(const memory::desc& blocked, memory::data_type type) {
    const bool back = pass_ == Pass::kBackwardWeight;
    const memory::desc plain(weight_sizes(shape_), type, memory::format_tag::oihw);
    dnnl::primitive_attr attr;
    if (back) {
      dnnl::post_ops add;
      add.append_sum(1.f);
      attr.set_post_ops(add);
    }
    const auto add = [&](const memory::desc& p, const memory::desc& b) {
      const memory::desc &from = back ? b : p, &to = back ? p : b;
      reorders_.push_back(
          {from, to, dnnl::reorder({onednn::engine(), from, onednn::engine(), to, attr})});
    };
    // oneDNN's blocks are of 8 or 16 channels.
    constexpr int kSlice = 64;
    const memory::dims sizes = plain.dims();
    if (workers_ == 1 || sizes[0] % kSlice != 0) return add(plain, blocked);
    memory::dims slice = sizes, first(sizes.size());
    slice[0] = kSlice;
    for (first[0] = 0; first[0] < sizes[0]; first[0] += kSlice) {
      add(plain.submemory_desc(slice, first), blocked.submemory_desc(slice, first));
    }
  }

  template <class Body>
  void reorder_all(const Body& body) const {
    parallel_chunks(std::int64_t(reorders_.size()), [&](std::int64_t i) {
      onednn::guarded("conv2d", [&] { body(reorders_[std::size_t(i)]); });
    });
  }

  Pass pass_;
  Conv2dShape shape_;
  ConvPieces pieces_;
  std::int64_t workers_;
  std::map<std::array<std::int64_t, 4>, std::shared_ptr<const PieceConvolution>> by_shape_;
  std::vector<const PieceConvolution*> by_piece_;
  std::vector<Reorder> reorders_;
  std::size_t blocked_bytes_ = 0, scratch_of_worker_ = 0;
};

/// The type that the convolution runs in.
template <class T>
memory::data_type compute_type() {
  return bf16_gains() ? onednn::type_of<T>() : memory::data_type::f32;
}
template <class T>
constexpr bool is_float = std::is_same_v<T, float>;
template <class T>
bool converts() {
  return !is_float<T> && !bf16_gains();
}

/// Without conversions; in float32 by whichever is faster.
template <class T>
void convolve(const Conv2dForward<T>& p, void* workspace) {
  if constexpr (is_float<T>) {
    if (winograd_gains(p.shape)) return run(Winograd::of(p), workspace);
  }
  Convolution::of(Pass::kForward, compute_type<T>(), p.shape, p.bias != nullptr)
      ->run(p.x, p.weight, p.bias, p.y, workspace);
}
template <class T>
void convolve(const Conv2dBackwardInput<T>& p, void* workspace) {
  if constexpr (is_float<T>) {
    if (winograd_gains(p.shape)) return run(Winograd::of(p), workspace);
  }
  Convolution::of(Pass::kBackwardInput, compute_type<T>(), p.shape, false)
      ->run(p.dx, p.weight, nullptr, p.dy, workspace);
}
template <class T>
std::size_t product_bytes(Pass pass, const Conv2dShape& s, bool bias) {
  if (compute_type<T>() == memory::data_type::f32 && winograd_gains(s)) return winograd_bytes(s);
  return Convolution::of(pass, compute_type<T>(), s, bias)->scratch_bytes();
}

/// A float32 copy in the workspace.
const float* widened(Workspace& copies, const bf16* from, std::int64_t n) {
  auto* const to = copies.take<float>(n);
  widen(from, n, to);
  return to;
}
std::size_t copy_bytes(std::int64_t n) { return Workspace::padded(std::size_t(n) * sizeof(float)); }

}  // namespace

template <class T>
void run(const Conv2dForward<T>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  const Conv2dShape& s = p.shape;
  if (s.images == 0) return;
  if (!converts<T>()) return convolve(p, p.workspace);
  if constexpr (!is_float<T>) {
    Workspace copies(p.workspace);
    const float* const x = widened(copies, p.x, s.pixels() * s.in_channels);
    const float* const weight = widened(copies, p.weight, s.weights());
    const float* const bias = p.bias != nullptr ? widened(copies, p.bias, s.out_channels) : nullptr;
    float* const y = copies.take<float>(s.pixels() * s.out_channels);
    convolve(Conv2dForward<float>{.x = x, .weight = weight, .bias = bias, .y = y, .shape = s},
             copies.rest());
    narrow(y, s.pixels() * s.out_channels, p.y);
  }
}

template <class T>
void run(const Conv2dBackwardInput<T>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  const Conv2dShape& s = p.shape;
  if (s.images == 0) return;
  if (!converts<T>()) return convolve(p, p.workspace);
  if constexpr (!is_float<T>) {
    Workspace copies(p.workspace);
    const float* const dy = widened(copies, p.dy, s.pixels() * s.out_channels);
    const float* const weight = widened(copies, p.weight, s.weights());
    float* const dx = copies.take<float>(s.pixels() * s.in_channels);
    convolve(Conv2dBackwardInput<float>{.dy = dy, .weight = weight, .dx = dx, .shape = s},
             copies.rest());
    narrow(dx, s.pixels() * s.in_channels, p.dx);
  }
}

template <class T>
void run(const Conv2dBackwardWeight<T>& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  const Conv2dShape& s = p.shape;
  if (s.images == 0) return;
  if (p.dbias != nullptr) {
    // Its partial sums are done with before the convolution needs the scratch.
    add_column_sums(p.dy, s.pixels(), s.out_channels, static_cast<float*>(p.workspace), p.dbias);
  }
  const auto conv = Convolution::of(Pass::kBackwardWeight, compute_type<T>(), s, false);
  if constexpr (!is_float<T>) {
    if (converts<T>()) {
      Workspace copies(p.workspace);
      const float* const x = widened(copies, p.x, s.pixels() * s.in_channels);
      const float* const dy = widened(copies, p.dy, s.pixels() * s.out_channels);
      return conv->run(x, p.dweight, nullptr, dy, copies.rest());
    }
  }
  conv->run(p.x, p.dweight, nullptr, p.dy, p.workspace);
}

template <class T>
std::size_t workspace_bytes(const Conv2dForward<T>& p) {
  p.validate();
  const Conv2dShape& s = p.shape;
  if (s.images == 0) return 0;
  std::size_t bytes = product_bytes<T>(Pass::kForward, s, p.bias != nullptr);
  if (converts<T>()) {
    bytes += copy_bytes(s.pixels() * s.in_channels) + copy_bytes(s.weights()) +
             copy_bytes(s.out_channels) + copy_bytes(s.pixels() * s.out_channels);
  }
  return bytes;
}

template <class T>
std::size_t workspace_bytes(const Conv2dBackwardInput<T>& p) {
  p.validate();
  const Conv2dShape& s = p.shape;
  if (s.images == 0) return 0;
  std::size_t bytes = product_bytes<T>(Pass::kBackwardInput, s, false);
  if (converts<T>()) {
    bytes += copy_bytes(s.pixels() * s.in_channels) + copy_bytes(s.weights()) +
             copy_bytes(s.pixels() * s.out_channels);
  }
  return bytes;
}

template <class T>
std::size_t workspace_bytes(const Conv2dBackwardWeight<T>& p) {
  p.validate();
  const Conv2dShape& s = p.shape;
  if (s.images == 0) return 0;
  std::size_t bytes =
      Convolution::of(Pass::kBackwardWeight, compute_type<T>(), s, false)->scratch_bytes();
  if (converts<T>()) {
    bytes += copy_bytes(s.pixels() * s.in_channels) + copy_bytes(s.pixels() * s.out_channels);
  }
  const std::size_t bias =
      p.dbias == nullptr ? 0 : copy_bytes(row_blocks(s.pixels()) * s.out_channels);
  return std::max(bytes, bias);
}

#define HH_INSTANTIATE(T)                                              \
  template void run(const Conv2dForward<T>&);                          \
  template void run(const Conv2dBackwardInput<T>&);                    \
  template void run(const Conv2dBackwardWeight<T>&);                   \
  template std::size_t workspace_bytes(const Conv2dForward<T>&);       \
  template std::size_t workspace_bytes(const Conv2dBackwardInput<T>&); \
  template std::size_t workspace_bytes(const Conv2dBackwardWeight<T>&);
HH_INSTANTIATE(float)
HH_INSTANTIATE(bf16)
#undef HH_INSTANTIATE

}  // namespace hh::cpu
