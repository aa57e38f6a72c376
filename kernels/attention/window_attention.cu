// SPDX-License-Identifier: Apache-2.0
// Chooses among the kernels of window_attention_*.cuh; the mapping of each is at its top.
#include "kernels/attention/window_attention.h"
#include "kernels/attention/window_attention_backward_one_pass.cuh"
#include "kernels/attention/window_attention_forward_mma.cuh"
#include "kernels/attention/window_attention_general.cuh"
#include "kernels/attention/window_attention_one_token.cuh"

namespace hh::gpu {
namespace {

/// On tensor cores; false when the shape or the alignment is not for them.
template <class T>
bool forward_mma(const WindowAttentionForward<T>& p, StreamHandle stream) {
  if (!aligned16(p.qkv) || !aligned16(p.out)) return false;
  if (p.shape.head_dim == 32) {
    return p.shape.tokens <= 16 ? attention_mma::forward_of_width<32, 1>(p, stream)
                                : attention_mma::forward_of_width<32, 2>(p, stream);
  }
  if (p.shape.head_dim == 64) return attention_mma::forward_of_width<64, 1>(p, stream);
  return false;
}

/// The same; 16-bit heads of long windows in one pass, where the shared memory is large enough.
template <class T>
bool backward_mma(const WindowAttentionBackward<T>& p, StreamHandle stream) {
  if (!aligned16(p.qkv) || !aligned16(p.out) || !aligned16(p.dout) || !aligned16(p.dqkv)) {
    return false;
  }
  if (p.shape.head_dim == 32) {
    if constexpr (sizeof(T) == 2) {
      if (attention_mma::backward_in_one_pass<32, 2>(p, stream)) return true;
    }
    constexpr int kOwn = sizeof(T) == 2 ? 2 : 1;
    return p.shape.tokens <= 16 ? attention_mma::backward_of_width<32, 1>(p, stream)
                                : attention_mma::backward_of_width<32, kOwn>(p, stream);
  }
  if (p.shape.head_dim == 64) return attention_mma::backward_of_width<64, 1>(p, stream);
  return false;
}

}  // namespace

template <class T>
void run(const WindowAttentionForward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.windows == 0) return;
  if (p.shape.tokens == 1) return attention_one_token::forward(p, stream);
  if (forward_mma(p, stream)) return;
  attention_general::forward(p, stream);
}

template <class T>
void run(const WindowAttentionBackward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.windows == 0) return;
  if (p.shape.tokens == 1) return attention_one_token::backward(p, stream);
  if (backward_mma(p, stream)) return;
  attention_general::backward(p, stream);
}

template <class T>
std::size_t workspace_bytes(const WindowAttentionForward<T>&) {
  return 0;
}

template <class T>
std::size_t workspace_bytes(const WindowAttentionBackward<T>& p) {
  p.shape.validate();
  if (p.shape.tokens == 1) return 0;
  return std::size_t(p.shape.windows) * p.shape.heads * p.shape.tokens * sizeof(float);
}

template void run(const WindowAttentionForward<float>&, StreamHandle);
template void run(const WindowAttentionForward<bf16>&, StreamHandle);
template void run(const WindowAttentionForward<f16>&, StreamHandle);
template void run(const WindowAttentionBackward<float>&, StreamHandle);
template void run(const WindowAttentionBackward<bf16>&, StreamHandle);
template void run(const WindowAttentionBackward<f16>&, StreamHandle);
template std::size_t workspace_bytes(const WindowAttentionForward<float>&);
template std::size_t workspace_bytes(const WindowAttentionForward<bf16>&);
template std::size_t workspace_bytes(const WindowAttentionForward<f16>&);
template std::size_t workspace_bytes(const WindowAttentionBackward<float>&);
template std::size_t workspace_bytes(const WindowAttentionBackward<bf16>&);
template std::size_t workspace_bytes(const WindowAttentionBackward<f16>&);

}  // namespace hh::gpu
