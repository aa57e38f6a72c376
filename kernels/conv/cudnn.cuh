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

/// Whether cuDNN is here and has a repeatable algorithm for this pass. The answer for a shape and
/// type never changes in a process. A 16-bit weight gradient is refused: cuDNN would round it to 16
/// bits, and ours is float32.
template <class T>
bool cudnn_takes(ConvPass pass, const Conv2dShape& shape);

/// Scratch bytes of cudnn_convolve(). Call only if cudnn_takes().
template <class T>
std::size_t cudnn_workspace_bytes(ConvPass pass, const Conv2dShape& shape);

/// Enqueues the pass without its bias; weights are channels-last, [Cout, kh, kw, Cin], in which
/// cuDNN is fast. `scratch` is aligned to 64. Throws DeviceError.
///   forward           left = x   right = weight   to = y
///   backward input    left = dy  right = weight   to = dx
///   backward weight   left = x   right = dy       to = dweight
template <class T>
void cudnn_convolve(ConvPass pass, const Conv2dShape& shape, const T* left, const T* right, T* to,
                    void* scratch, StreamHandle stream);

}  // namespace hh::gpu
