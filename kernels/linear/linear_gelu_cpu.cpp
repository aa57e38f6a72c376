// SPDX-License-Identifier: Apache-2.0
// Two passes: oneDNN's product, then bias and GELU over its rows.
#include <algorithm>

#include "kernels/linear/linear_gelu_passes.h"

namespace hh::cpu {

template <class T>
void run(const LinearGeluForward<T>& p) {
  p.validate();
  run(product_of(p));
  run(gelu_of(p));
}

template <class T>
void run(const LinearGeluBackward<T>& p) {
  p.validate();
  run(product_of(p));
  run(gelu_of(p));
}

template <class T>
std::size_t workspace_bytes(const LinearGeluForward<T>& p) {
  return workspace_bytes(product_of(p));
}
template <class T>
std::size_t workspace_bytes(const LinearGeluBackward<T>& p) {
  return std::max(workspace_bytes(product_of(p)), workspace_bytes(gelu_of(p)));
}

#define HH_LINEAR_GELU_OF(T)                                         \
  template void run(const LinearGeluForward<T>&);                    \
  template void run(const LinearGeluBackward<T>&);                   \
  template std::size_t workspace_bytes(const LinearGeluForward<T>&); \
  template std::size_t workspace_bytes(const LinearGeluBackward<T>&);
HH_LINEAR_GELU_OF(float)
HH_LINEAR_GELU_OF(bf16)
#undef HH_LINEAR_GELU_OF

}  // namespace hh::cpu
