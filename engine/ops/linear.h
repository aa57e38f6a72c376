// SPDX-License-Identifier: Apache-2.0
// Differentiable products of activations with parameters. As in all of this folder: each op is one
// fused kernel (or library call), whose header, named beside it, has the maths and the layouts.
// Activations are f32, bf16 or, on GPUs, f16, channels-last; all inputs of a call are on one device
// and of one type. While a Tape records (tensor/tape.h), gradients flow to every input that wants
// one and are added to every parameter's gradient, which is f32.
#pragma once
#include "engine/tensor/parameter.h"
#include "engine/tensor/tensor.h"

namespace hh {

/// x [..., I], weight [O, I] -> [..., O]. `bias` [O] may be null. linear/linear.h
Tensor linear(const Tensor& x, const Parameter& weight, const Parameter* bias);

/// GELU(x + bias), bias [C] of x [..., C]. In inference the result takes the memory of an x that no
/// other Tensor shares. linear/bias_gelu.h
Tensor bias_gelu(const Tensor& x, const Parameter& bias);

/// linear(bias_gelu(linear(x))) without the second bias: x [..., I] -> [..., O]. It keeps only x;
/// backward computes the hidden layer, the network's widest tensors, again.
Tensor mlp(const Tensor& x, const Parameter& weight1, const Parameter& bias1,
           const Parameter& weight2);

/// x [B, H, W, Cin], weight [Cout, Cin, kh, kw] -> [B, H, W, Cout], stride 1, same size.
/// conv/conv2d.h
Tensor conv2d(const Tensor& x, const Parameter& weight, const Parameter& bias);

}  // namespace hh
