// SPDX-License-Identifier: Apache-2.0
// Differentiable products of activations with parameters. As in all of this folder: each op is one
// fused kernel (or library call), whose header, named beside it, has the maths and the layouts.
// Activations are f32, bf16 or, on GPUs, f16, channels-last; all inputs of a call are on one device
// and of one type. While a Tape records (tensor/tape.h), gradients flow to every input that wants
// one and are added to every parameter's gradient, which is f32.
#pragma once
#include <functional>

#include "engine/tensor/parameter.h"
#include "engine/tensor/tensor.h"

namespace hh {

/// x [..., I], weight [O, I] -> [..., O]. `bias` [O] may be null. linear/linear.h; in inference with
/// a quantised weight linear/int8_linear.h
Tensor linear(const Tensor& x, const Parameter& weight, const Parameter* bias);

/// Whether an MLP's hidden layer, the network's widest tensors, is kept for backward or computed
/// again there.
enum class KeepHidden { kYes, kNo };

/// linear(gelu(linear(x) + bias1)), without a second bias: x [..., I], weight1 [H, I], weight2
/// [O, H] -> [..., O]. `see` is shown the hidden layer [..., H] after GELU. Which kernels make it
/// on a GPU, HH_LINEAR_GELU may say (docs/gpu.md). linear/linear_gelu.h
Tensor mlp(Tensor x, const Parameter& weight1, const Parameter& bias1, const Parameter& weight2,
           KeepHidden keep = KeepHidden::kYes,
           const std::function<void(const Tensor& hidden)>& see = {});

/// x [B, H, W, Cin], weight [Cout, Cin, kh, kw] -> [B, H, W, Cout], stride 1, same size.
/// conv/conv2d.h; a quantised weight conv/int8_conv2d.h
Tensor conv2d(const Tensor& x, const Parameter& weight, const Parameter& bias);

}  // namespace hh
