// SPDX-License-Identifier: Apache-2.0
// Chooses among the kernels of window_attention_*.cuh; the mapping of each is at its top.
#include "kernels/attention/window_attention.h"
#include "kernels/attention/window_attention_backward_one_pass.cuh"
#include "kernels/attention/window_attention_forward_mma.cuh"
#include "kernels/attention/window_attention_general.cuh"

namespace hh::gpu {

template <class T>
void run(const WindowAttentionForward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.windows == 0) return;
  if (attention_mma::forward(p, stream)) return;
  attention_general::forward(p, stream);
}

template <class T>
void run(const WindowAttentionBackward<T>& p, StreamHandle stream) {
  p.validate();
  if (p.shape.windows == 0) return;
  if (attention_mma::backward(p, stream)) return;
  attention_general::backward(p, stream);
}

template <class T>
std::size_t workspace_bytes(const WindowAttentionForward<T>&) {
  return 0;
}

template <class T>
std::size_t workspace_bytes(const WindowAttentionBackward<T>& p) {
  p.shape.validate();
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
