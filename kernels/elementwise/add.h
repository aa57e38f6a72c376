// Accumulation of gradients: y[i] += x[i].
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"

namespace hh {

template <class T>  // float or bf16
struct Add {
  const T* x = nullptr;  // [n] in
  T* y = nullptr;        // [n] in/out
  std::int64_t n = 0;

  void validate() const;
};

namespace cpu {
template <class T>
void add(const Add<T>& p);
}  // namespace cpu

}  // namespace hh
