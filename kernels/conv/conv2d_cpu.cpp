// SPDX-License-Identifier: Apache-2.0
// Library   oneDNN's direct convolution on channels-last images. It wants the weights in blocks of
//           its own: they are reordered on each call, which is small beside the convolution.
// bf16      Native, or else the images are converted to float32 as a whole.
// Gradients oneDNN overwrites dw; the reorder back to the state dict's order adds it to dweight.
#include <algorithm>
#include <cassert>

#include "kernels/conv/conv2d.h"
#include "kernels/core/workspace.h"
#include "kernels/gemm/onednn.h"
#include "kernels/gemm/rows.h"

namespace hh::cpu {
namespace {

using dnnl::memory;

enum class Pass { kForward, kBackwardInput, kBackwardWeight };

/// A convolution with the reorder of its weights, for one shape and type.
class Convolution {
 public:
  static std::shared_ptr<const Convolution> of(Pass pass, memory::data_type type,
                                               const Conv2dShape& s, bool bias) {
    const onednn::Key key{int(pass),     int(type),      s.images,   s.height,   s.width,
                          s.in_channels, s.out_channels, s.kernel_h, s.kernel_w, bias};
    return onednn::kept<Convolution>(key, [&] {
      return onednn::guarded(
          "conv2d", [&] { return std::make_shared<const Convolution>(pass, type, s, bias); });
    });
  }

  Convolution(Pass pass, memory::data_type type, const Conv2dShape& s, bool bias) : bias_(bias) {
    using Tag = memory::format_tag;
    const auto f32 = memory::data_type::f32;
    // oneDNN names sizes in the order N, C, H, W whatever the layout.
    x_ = {{s.images, s.in_channels, s.height, s.width}, type, Tag::nhwc};
    y_ = {{s.images, s.out_channels, s.height, s.width}, type, Tag::nhwc};
    const memory::dims sizes{s.out_channels, s.in_channels, s.kernel_h, s.kernel_w};
    const memory::dims stride{1, 1}, pad{(s.kernel_h - 1) / 2, (s.kernel_w - 1) / 2};
    const memory::desc any(sizes, type, Tag::any);
    const auto direct = dnnl::algorithm::convolution_direct;
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    bias_desc_ = {{s.out_channels}, type, Tag::a};
    using Forward = dnnl::convolution_forward;
    const auto forward_with = [&](const memory::desc& weights) {
      const auto kind = dnnl::prop_kind::forward_training;
      return Forward::primitive_desc(
          bias ? Forward::desc(kind, direct, x_, weights, bias_desc_, y_, stride, pad, pad)
               : Forward::desc(kind, direct, x_, weights, y_, stride, pad, pad),
          attr, onednn::engine());
    };
    const Forward::primitive_desc forward = forward_with(any);
    if (pass == Pass::kForward) {
      keep(forward, forward.weights_desc());
    } else if (pass == Pass::kBackwardInput) {
      const dnnl::convolution_backward_data::primitive_desc desc(
          {direct, x_, any, y_, stride, pad, pad}, attr, onednn::engine(), forward);
      keep(desc, desc.weights_desc());
    } else {
      const memory::desc any_f32(sizes, f32, Tag::any);
      const dnnl::convolution_backward_weights::primitive_desc desc(
          {direct, x_, any_f32, y_, stride, pad, pad}, attr, onednn::engine(), forward);
      keep(desc, desc.diff_weights_desc());
    }
    plain_ = {sizes, pass == Pass::kBackwardWeight ? f32 : type, Tag::oihw};
    dnnl::primitive_attr reorder_attr;
    if (pass == Pass::kBackwardWeight) {
      dnnl::post_ops add;
      add.append_sum(1.f);
      reorder_attr.set_post_ops(add);
      reorder_ =
          dnnl::reorder({onednn::engine(), blocked_, onednn::engine(), plain_, reorder_attr});
    } else {
      reorder_ = dnnl::reorder({onednn::engine(), plain_, onednn::engine(), blocked_});
    }
  }

  /// scratch: blocked weights, then oneDNN's own.
  std::size_t scratch_bytes() const {
    return Workspace::padded(blocked_.get_size()) + scratchpad_.get_size();
  }

  void forward(const void* x, const void* weight, const void* bias, void* y, void* scratch) const {
    run(scratch, [&](memory& weights, Arguments& args) {
      memory plain = onednn::view(plain_, weight);
      reorder_.execute(onednn::stream(), plain, weights);
      args.insert({{DNNL_ARG_SRC, onednn::view(x_, x)},
                   {DNNL_ARG_WEIGHTS, weights},
                   {DNNL_ARG_DST, onednn::view(y_, y)}});
      if (bias_) args.emplace(DNNL_ARG_BIAS, onednn::view(bias_desc_, bias));
      primitive_.execute(onednn::stream(), args);
    });
  }

  void backward_input(const void* dy, const void* weight, void* dx, void* scratch) const {
    run(scratch, [&](memory& weights, Arguments& args) {
      memory plain = onednn::view(plain_, weight);
      reorder_.execute(onednn::stream(), plain, weights);
      args.insert({{DNNL_ARG_DIFF_DST, onednn::view(y_, dy)},
                   {DNNL_ARG_WEIGHTS, weights},
                   {DNNL_ARG_DIFF_SRC, onednn::view(x_, dx)}});
      primitive_.execute(onednn::stream(), args);
    });
  }

  void backward_weight(const void* x, const void* dy, float* dweight, void* scratch) const {
    run(scratch, [&](memory& weights, Arguments& args) {
      args.insert({{DNNL_ARG_SRC, onednn::view(x_, x)},
                   {DNNL_ARG_DIFF_DST, onednn::view(y_, dy)},
                   {DNNL_ARG_DIFF_WEIGHTS, weights}});
      primitive_.execute(onednn::stream(), args);
      memory sum = onednn::view(plain_, dweight);
      reorder_.execute(onednn::stream(), weights, sum);
    });
  }

 private:
  using Arguments = std::unordered_map<int, memory>;

  template <class Desc>
  void keep(const Desc& desc, const memory::desc& blocked) {
    primitive_ = dnnl::primitive(desc.get());
    scratchpad_ = desc.scratchpad_desc();
    blocked_ = blocked;
  }

  template <class Body>
  void run(void* scratch, Body body) const {
    assert(scratch != nullptr);
    onednn::guarded("conv2d", [&] {
      Workspace workspace(scratch);
      memory weights =
          onednn::view(blocked_, workspace.take<std::byte>(std::int64_t(blocked_.get_size())));
      Arguments args{{DNNL_ARG_SCRATCHPAD, onednn::view(scratchpad_, workspace.rest())}};
      body(weights, args);
    });
  }

  bool bias_;
  memory::desc x_, y_, plain_, blocked_, bias_desc_, scratchpad_;
  dnnl::primitive primitive_;
  dnnl::reorder reorder_;
};

/// The type that the convolution runs in.
template <class T>
memory::data_type compute_type() {
  return onednn::has_bf16() ? onednn::type_of<T>() : memory::data_type::f32;
}
template <class T>
constexpr bool is_float = std::is_same_v<T, float>;
template <class T>
bool converts() {
  return !is_float<T> && !onednn::has_bf16();
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
  const Conv2dShape& s = p.shape;
  if (s.images == 0) return;
  const auto conv = Convolution::of(Pass::kForward, compute_type<T>(), s, p.bias != nullptr);
  if constexpr (!is_float<T>) {
    if (converts<T>()) {
      Workspace copies(p.workspace);
      const float* const x = widened(copies, p.x, s.pixels() * s.in_channels);
      const float* const weight = widened(copies, p.weight, s.weights());
      const float* const bias =
          p.bias != nullptr ? widened(copies, p.bias, s.out_channels) : nullptr;
      float* const y = copies.take<float>(s.pixels() * s.out_channels);
      conv->forward(x, weight, bias, y, copies.rest());
      return narrow(y, s.pixels() * s.out_channels, p.y);
    }
  }
  conv->forward(p.x, p.weight, p.bias, p.y, p.workspace);
}

template <class T>
void run(const Conv2dBackwardInput<T>& p) {
  p.validate();
  const Conv2dShape& s = p.shape;
  if (s.images == 0) return;
  const auto conv = Convolution::of(Pass::kBackwardInput, compute_type<T>(), s, false);
  if constexpr (!is_float<T>) {
    if (converts<T>()) {
      Workspace copies(p.workspace);
      const float* const dy = widened(copies, p.dy, s.pixels() * s.out_channels);
      const float* const weight = widened(copies, p.weight, s.weights());
      float* const dx = copies.take<float>(s.pixels() * s.in_channels);
      conv->backward_input(dy, weight, dx, copies.rest());
      return narrow(dx, s.pixels() * s.in_channels, p.dx);
    }
  }
  conv->backward_input(p.dy, p.weight, p.dx, p.workspace);
}

template <class T>
void run(const Conv2dBackwardWeight<T>& p) {
  p.validate();
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
      return conv->backward_weight(x, dy, p.dweight, copies.rest());
    }
  }
  conv->backward_weight(p.x, p.dy, p.dweight, p.workspace);
}

template <class T>
std::size_t workspace_bytes(const Conv2dForward<T>& p) {
  p.validate();
  const Conv2dShape& s = p.shape;
  if (s.images == 0) return 0;
  std::size_t bytes =
      Convolution::of(Pass::kForward, compute_type<T>(), s, p.bias != nullptr)->scratch_bytes();
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
  std::size_t bytes =
      Convolution::of(Pass::kBackwardInput, compute_type<T>(), s, false)->scratch_bytes();
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
