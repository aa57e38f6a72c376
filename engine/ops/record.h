// SPDX-License-Identifier: Apache-2.0
// What the files of this folder share: launching, and leaving a step on the tape. Private to them.
#pragma once
#include <functional>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "engine/device/launch.h"
#include "engine/tensor/tape.h"
#include "engine/tensor/tensor.h"

namespace hh {

/// Whether this call leaves a step on the tape. Parameters count through their gradients, so a
/// layer is recorded even when its input is a constant.
inline bool records(std::initializer_list<const Tensor*> inputs) {
  if (Tape::current() == nullptr) return false;
  for (const Tensor* input : inputs) {
    if (*input && input->gradient()) return true;
  }
  return false;
}
inline bool records_parameters() { return Tape::current() != nullptr; }

inline void record(std::function<void()> step) { Tape::current()->record(std::move(step)); }

/// New memory of the same type on the same device.
inline Tensor like(const Tensor& t, Shape shape) { return Tensor(shape, t.dtype(), t.device()); }
inline Tensor like(const Tensor& t) { return like(t, t.shape()); }

template <class T>
const T* data_or_null(const Tensor& t) {
  return t ? t.data<T>() : nullptr;
}

/// `a` if its memory may be overwritten, else `b` if that may, else new memory.
inline Tensor reusable(const Tensor& a, const Tensor& b) {
  if (a && a.unique()) return a;
  if (b && b.unique()) return b;
  return like(a ? a : b);
}

inline Shape with_last(const Shape& shape, std::int64_t last) {
  std::vector<std::int64_t> extents = shape.to_vector();
  extents.back() = last;
  return Shape(std::span<const std::int64_t>(extents));
}

}  // namespace hh
