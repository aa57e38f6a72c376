// SPDX-License-Identifier: Apache-2.0
// Tensor: a dense, row-major array of one type on one device; a view of a Storage.
#pragma once
#include <array>
#include <cassert>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/device/memory.h"
#include "engine/tensor/dtype.h"

namespace hh {

/// Up to six extents, outermost first. Empty: a scalar.
class Shape {
 public:
  static constexpr int kMaxAxes = 6;
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) : Shape(std::span(extents)) {}
  explicit Shape(std::span<const std::int64_t> extents);

  int axes() const { return axes_; }
  std::int64_t operator[](int axis) const {
    assert(axis >= 0 && axis < axes_);
    return extents_[std::size_t(axis)];
  }
  std::int64_t count() const;  // product of the extents
  std::vector<std::int64_t> to_vector() const { return {begin(), end()}; }
  const std::int64_t* begin() const { return extents_.data(); }
  const std::int64_t* end() const { return extents_.data() + axes_; }
  bool operator==(const Shape& other) const;

 private:
  std::array<std::int64_t, kMaxAxes> extents_{};
  int axes_ = 0;
};

std::string to_string(const Shape& shape);  // "[2, 3]"

class Gradient;

/// Copying a Tensor shares its Storage and its gradient. An empty Tensor has no Storage.
class Tensor {
 public:
  Tensor() = default;
  /// Uninitialised. Throws OutOfMemory.
  Tensor(Shape shape, DType dtype, Device device);

  static Tensor zeros(Shape shape, DType dtype, Device device);
  /// A copy of host values; their number must be the shape's.
  template <class T>
  static Tensor from(std::span<const T> values, Shape shape, Device device);
  template <class T>
  static Tensor from(const std::vector<T>& values, Shape shape, Device device) {
    return from(std::span<const T>(values), shape, device);
  }

  explicit operator bool() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  std::int64_t dim(int axis) const { return shape_[axis < 0 ? axis + shape_.axes() : axis]; }
  std::int64_t count() const { return shape_.count(); }
  std::size_t bytes() const { return std::size_t(count()) * size_bytes(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_->device(); }

  /// The first element. Device memory: not for host code unless the device is the CPU.
  std::byte* raw() const { return storage_->data() + offset_; }
  template <class T>
  T* data() const {
    assert(dtype_ == dtype_of<T>());
    return reinterpret_cast<T*>(raw());
  }

  /// The same elements under another shape of the same count; shares Storage and gradient.
  Tensor reshaped(Shape shape) const;
  /// Elements [begin, begin + shape.count()) under `shape`; shares Storage, not the gradient.
  Tensor part(std::int64_t begin, Shape shape) const;
  /// Whether no other Tensor shares the Storage: it may be overwritten in place.
  bool unique() const { return storage_.use_count() == 1; }

  /// The values, converted to T (float, double, or the tensor's own type); waits for the device.
  template <class T>
  std::vector<T> to_host() const;
  /// Overwrites with host values of the same type and count.
  template <class T>
  void copy_from(std::span<const T> values) const;
  void copy_from(const Tensor& other) const;  // same device, type and count
  void zero() const;
  /// A copy with its own Storage and no gradient.
  Tensor clone() const;

  /// Where backward adds up dLoss/dTensor; null when none is wanted.
  const std::shared_ptr<Gradient>& gradient() const { return gradient_; }
  /// From now on a gradient is wanted. The slot starts empty.
  void want_gradient();
  /// The same tensor without its gradient: a constant.
  Tensor detached() const;

 private:
  friend class Gradient;
  std::shared_ptr<Storage> storage_;
  std::size_t offset_ = 0;  // bytes
  Shape shape_;
  DType dtype_ = DType::f32;
  std::shared_ptr<Gradient> gradient_;
};

/// The gradient of one Tensor while backward runs: empty, then a Tensor of the same count and type.
class Gradient {
 public:
  /// value += g. The first g is kept as it is; later ones are added into memory of our own.
  void add(const Tensor& g);
  /// The sum so far, leaving the slot empty. An empty Tensor if nothing arrived.
  Tensor take() { return std::exchange(value_, Tensor()); }
  const Tensor& value() const { return value_; }

 private:
  Tensor value_;
};

/// Calls f(T()) with the activation type of `dtype`: float, bf16 or f16.
template <class F>
decltype(auto) with_activation_type(DType dtype, F&& f) {
  if (dtype == DType::f32) return f(float());
  if (dtype == DType::f16) return f(f16());
  HH_REQUIRE(dtype == DType::bf16, "activations are f32, bf16 or f16, not " << name(dtype));
  return f(bf16());
}

}  // namespace hh
