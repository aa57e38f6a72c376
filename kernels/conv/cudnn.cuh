// SPDX-License-Identifier: Apache-2.0
// The convolutions that cuDNN does for conv2d.cu. The library is loaded when the first of them is
// asked for, so that a machine without it runs all the same: conv2d.cu then makes matrix products.
#pragma once
#include <string>

#include "kernels/conv/conv2d.h"

namespace hh::gpu {

enum class ConvPass : unsigned char { kForward, kBackwardInput, kBackwardWeight };

/// Why cuDNN isn't used, and the cure; empty when it is.
const std::string& cudnn_missing();

/// Scratch bytes that cudnn_convolve() may use.
template <class T>
std::size_t cudnn_workspace_bytes(ConvPass pass, const Conv2dShape& shape);

enum class CudnnDid : unsigned char {
  kNothing,     // cuDNN isn't here, has no repeatable algorithm for this pass, or refuses it: `to`
                // has to be made otherwise, and the pass isn't tried again
  kAllButBias,  // which has to be added
  kAll,
};

/// Enqueues the pass; weights are channels-last, [Cout, kh, kw, Cin], in which cuDNN is fast. `bias`
/// is forward's, else null. `scratch` is aligned to 256.
///   forward           left = x   right = weight   to = y
///   backward input    left = dy  right = weight   to = dx
///   backward weight   left = x   right = dy       to = dweight   (float only)
template <class T>
CudnnDid cudnn_convolve(ConvPass pass, const Conv2dShape& shape, const T* left, const T* right,
                        const T* bias, T* to, void* scratch, StreamHandle stream);

}  // namespace hh::gpu
