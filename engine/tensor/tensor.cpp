// SPDX-License-Identifier: Apache-2.0
#include "engine/tensor/tensor.h"

#include <numeric>

#include "engine/device/backend.h"
#include "engine/device/launch.h"
#include "engine/tensor/extents.h"
#include "kernels/elementwise/add.h"

namespace hh {

Shape::Shape(std::span<const std::int64_t> extents) {
  HH_PRECONDITION(extents.size() <= kMaxAxes,
                  "a tensor has at most " << kMaxAxes << " axes, not " << extents.size());
  for (const std::int64_t extent : extents) {
    HH_PRECONDITION(extent >= 0, "a tensor's extent can't be negative: " << extent);
    extents_[std::size_t(axes_++)] = extent;
  }
}

std::int64_t Shape::count() const {
  return std::accumulate(begin(), end(), std::int64_t{1}, std::multiplies<>());
}

bool Shape::operator==(const Shape& other) const {
  return std::equal(begin(), end(), other.begin(), other.end());
}

std::string extents_text(std::span<const std::int64_t> extents) {
  std::string text = "[";
  for (const std::int64_t extent : extents) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(extent);
  }
  return text + "]";
}

std::string to_string(const Shape& shape) { return extents_text({shape.begin(), shape.end()}); }

Tensor::Tensor(Shape shape, DType dtype, Device device)
    : storage_(std::make_shared<Storage>(std::size_t(shape.count()) * size_bytes(dtype), device)),
      shape_(shape),
      dtype_(dtype) {}

Tensor Tensor::zeros(Shape shape, DType dtype, Device device) {
  Tensor t(shape, dtype, device);
  t.zero();
  return t;
}

template <class T>
Tensor Tensor::from(std::span<const T> values, Shape shape, Device device) {
  Tensor t(shape, dtype_of<T>(), device);
  t.copy_from(values);
  return t;
}

Tensor Tensor::reshaped(Shape shape) const {
  assert(shape.count() == count());
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::part(std::int64_t begin, Shape shape) const {
  assert(begin >= 0 && begin + shape.count() <= count());
  Tensor t = detached();
  t.offset_ += std::size_t(begin) * size_bytes(dtype_);
  t.shape_ = shape;
  return t;
}

template <class T>
void Tensor::copy_from(std::span<const T> values) const {
  assert(std::int64_t(values.size()) == count() && dtype_ == dtype_of<T>());
  backend(device()).copy_from_host(raw(), values.data(), bytes());
}

void Tensor::copy_from(const Tensor& other) const {
  assert(other.count() == count() && other.dtype() == dtype_ && other.device() == device());
  backend(device()).copy_within(raw(), other.raw(), bytes());
}

void Tensor::zero() const { backend(device()).zero(raw(), bytes()); }

Tensor Tensor::clone() const {
  Tensor t(shape_, dtype_, device());
  t.copy_from(*this);
  return t;
}

void Tensor::want_gradient() { gradient_ = std::make_shared<Gradient>(); }

Tensor Tensor::detached() const {
  Tensor t = *this;
  t.gradient_ = nullptr;
  return t;
}

namespace {

template <class Stored>
std::vector<Stored> stored_values(const Tensor& t) {
  std::vector<Stored> values(std::size_t(t.count()));
  backend(t.device()).copy_to_host(values.data(), t.raw(), t.bytes());
  backend(t.device()).synchronize();
  return values;
}

template <class T, class Stored>
std::vector<T> converted(const Tensor& t) {
  const std::vector<Stored> stored = stored_values<Stored>(t);
  std::vector<T> values(stored.size());
  for (std::size_t i = 0; i < stored.size(); ++i) {
    if constexpr (std::is_same_v<Stored, bf16> || std::is_same_v<Stored, f16>) {
      values[i] = T(to_float(stored[i]));
    } else {
      values[i] = T(stored[i]);
    }
  }
  return values;
}

}  // namespace

template <class T>
std::vector<T> Tensor::to_host() const {
  if (dtype_ == dtype_of<T>()) return stored_values<T>(*this);
  if constexpr (std::is_floating_point_v<T>) {
    switch (dtype_) {
      case DType::f32:
        return converted<T, float>(*this);
      case DType::bf16:
        return converted<T, bf16>(*this);
      case DType::f16:
        return converted<T, f16>(*this);
      case DType::f64:
        return converted<T, double>(*this);
      default:
        break;
    }
  }
  throw std::invalid_argument("a tensor of " + std::string(name(dtype_)) + " can't be read as " +
                              std::string(name(dtype_of<T>())));
}

void Gradient::add(const Tensor& g) {
  assert(g);
  if (!value_) {
    value_ = g.detached();
    return;
  }
  if (!value_.unique()) value_ = value_.clone();
  with_activation_type(g.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(g.device(), Add<T>{.x = g.data<T>(), .y = value_.data<T>(), .n = g.count()});
  });
}

#define HH_TENSOR_OF(T)                                            \
  template Tensor Tensor::from(std::span<const T>, Shape, Device); \
  template void Tensor::copy_from(std::span<const T>) const;       \
  template std::vector<T> Tensor::to_host() const;
HH_TENSOR_OF(float)
HH_TENSOR_OF(double)
HH_TENSOR_OF(bf16)
HH_TENSOR_OF(f16)
HH_TENSOR_OF(std::uint8_t)
HH_TENSOR_OF(std::int32_t)
HH_TENSOR_OF(std::int64_t)
HH_TENSOR_OF(std::uint64_t)
#undef HH_TENSOR_OF

}  // namespace hh
