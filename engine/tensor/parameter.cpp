// SPDX-License-Identifier: Apache-2.0
#include "engine/tensor/parameter.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/device/launch.h"
#include "kernels/core/parallel.h"
#include "kernels/core/philox.h"
#include "kernels/core/simd.h"
#include "kernels/elementwise/cast.h"
#include "kernels/gemm/instructions.h"
#include "kernels/linear/int8_linear.h"
#include "kernels/linear/linear.h"

namespace hh {
namespace {

constexpr std::int64_t kAlignment = 64;  // elements: each parameter starts on a cache line

std::uint32_t name_hash(const std::string& name) {
  std::uint32_t h = 2166136261u;  // FNV-1a
  for (const char c : name) h = (h ^ std::uint8_t(c)) * 16777619u;
  return h;
}

}  // namespace

Parameter& Parameters::add(std::string name, Shape shape, Initialisation initialisation) {
  assert(!weights_ && find(name) == nullptr);
  Parameter& p = all_.emplace_back();
  p.name_ = std::move(name);
  p.shape_ = shape;
  p.initialisation_ = initialisation;
  p.begin_ = flat_count_;
  flat_count_ += (shape.count() + kAlignment - 1) / kAlignment * kAlignment;
  return p;
}

void Parameters::place(Device device, DType compute, bool trainable) {
  assert(!weights_);
  weights_ = Tensor::zeros({flat_count_}, DType::f32, device);
  if (trainable) gradients_ = Tensor::zeros({flat_count_}, DType::f32, device);
  if (compute != DType::f32) copies_ = Tensor::zeros({flat_count_}, compute, device);
  for (Parameter& p : all_) {
    p.weight_ = weights_.part(p.begin_, p.shape_);
    p.compute_ = copies_ ? copies_.part(p.begin_, p.shape_) : p.weight_;
    if (trainable) p.gradient_ = gradients_.part(p.begin_, p.shape_);
  }
}

void Parameters::initialise(std::uint64_t seed, const InitialWidth& width) {
  for (const Parameter& p : all_) {
    std::vector<float> values(std::size_t(p.shape_.count()));
    if (p.initialisation_ == Initialisation::kOne) std::fill(values.begin(), values.end(), 1.0f);
    if (p.initialisation_ == Initialisation::kNormal) {
      // The reference cuts at +-2, a hundred standard deviations: nothing is ever cut.
      const Philox random(seed, RandomPurpose::kInitialisation, name_hash(p.name_));
      const bool matrix = p.name_.find("pos_embed") == std::string::npos;
      const double inputs = double(p.shape_.count()) / double(p.shape_[0]);
      const double std = width.fan_in && matrix ? 1 / std::sqrt(inputs) : double(width.std);
      // On the host, whose logarithms and cosines are the same bits for every device.
      cpu::parallel_for(p.shape_.count(), 4096, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const Philox::Block block = random.block(std::uint64_t(i));
          const double u = (double(block.v[0]) + 1) * 0x1p-32, angle = double(block.v[1]) * 0x1p-32;
          values[std::size_t(i)] =
              float(std * std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * angle));
        }
      });
    }
    p.weight_.copy_from(std::span<const float>(values));
  }
  refresh_compute();
}

const Parameter* Parameters::find(const std::string& name) const {
  const auto it =
      std::find_if(all_.begin(), all_.end(), [&](const Parameter& p) { return p.name_ == name; });
  return it == all_.end() ? nullptr : &*it;
}

std::int64_t Parameters::count() const {
  std::int64_t n = 0;
  for (const Parameter& p : all_) n += p.shape_.count();
  return n;
}

void Parameters::set(const Parameter& parameter, std::span<const float> values) {
  HH_PRECONDITION(std::int64_t(values.size()) == parameter.shape_.count(),
                  parameter.name_ << " takes " << parameter.shape_.count() << " values of shape "
                                  << to_string(parameter.shape_) << ", not " << values.size());
  parameter.weight_.copy_from(values);
}

void Parameters::refresh_compute() {
  if (!copies_) return;
  const auto cast = [&](auto t) {
    using T = decltype(t);
    launch(
        weights_.device(),
        Cast<float, T>{.from = weights_.data<float>(), .to = copies_.data<T>(), .n = flat_count_});
  };
  copies_.dtype() == DType::bf16 ? cast(bf16()) : cast(f16());
}

namespace {

bool is_position_embedding(const Parameter& p) {
  return p.name().find("pos_embed") != std::string::npos;
}

/// [O, I, kh, kw] on the CPU to [O, kh, kw, I].
Tensor channels_last(const Tensor& weight) {
  const Shape& s = weight.shape();
  const std::int64_t taps = s[2] * s[3];
  Tensor to({s[0], s[2], s[3], s[1]}, DType::f32, kCpu);
  const float* const from = weight.data<float>();
  for (std::int64_t o = 0; o < s[0]; ++o) {
    for (std::int64_t i = 0; i < s[1]; ++i) {
      for (std::int64_t t = 0; t < taps; ++t) {
        to.data<float>()[(o * taps + t) * s[1] + i] = from[(o * s[1] + i) * taps + t];
      }
    }
  }
  return to;
}

}  // namespace

void Parameters::quantise() {
  HH_REQUIRE(weights_.device() == kCpu,
             "dtype int8 is for the CPU: use --device cpu, or f32, bf16 or f16 on a GPU");
  HH_REQUIRE(cpu::has_int8_products(),
             "dtype int8 needs a CPU with AVX512_VNNI or AMX, and this one has ("
                 << cpu::simd_in_use() << "): " << cpu::product_instructions() << "; use f32 here");
  HH_PRECONDITION(!copies_, "bytes are made of float32 networks");
  for (Parameter& p : all_) {
    const bool kernel = p.shape_.axes() == 4 && !is_position_embedding(p);
    if (p.shape_.axes() != 2 && !kernel) continue;
    const int out = int(p.shape_[0]), in = int(p.shape_.count() / out);
    const Tensor weight = kernel ? channels_last(p.weight_) : p.weight_;
    p.int8_ = Tensor({std::int64_t(cpu::int8_packed_bytes(in, out))}, DType::u8, kCpu);
    launch(kCpu,
           Int8Pack{.weight = weight.data<float>(), .packed = p.int8_.raw(), .in = in, .out = out});
  }
}

void Parameters::pack() {
  if (weights_.device() != kCpu || copies_) return;
  for (Parameter& p : all_) {
    if (p.shape_.axes() != 2) continue;
    const int out = int(p.shape_[0]), in = int(p.shape_[1]);
    p.packed_ = Tensor({std::int64_t(cpu::linear_packed_bytes(in, out))}, DType::u8, kCpu);
    launch(kCpu,
           LinearPack{
               .weight = p.weight_.data<float>(), .packed = p.packed_.raw(), .in = in, .out = out});
  }
}

void Parameters::zero_gradients() { gradients_.zero(); }

std::vector<OptimizerSegment> Parameters::segments(float decay, bool matrices_only) const {
  std::vector<OptimizerSegment> segments;
  for (std::size_t i = 0; i < all_.size(); ++i) {
    const Parameter& p = all_[i];
    const std::int64_t end = i + 1 < all_.size() ? all_[i + 1].begin_ : flat_count_;
    const bool exempt = p.shape_.axes() == 1 || is_position_embedding(p);
    const float own = matrices_only && exempt ? 0 : decay;
    if (!segments.empty() && segments.back().weight_decay == own) {
      segments.back().count = end - segments.back().begin;
    } else {
      segments.push_back({.begin = p.begin_, .count = end - p.begin_, .weight_decay = own});
    }
  }
  return segments;
}

}  // namespace hh
