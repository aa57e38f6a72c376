// SPDX-License-Identifier: Apache-2.0
// Parameters: the trained tensors of a network, by name, in one flat array per purpose (weights,
// gradients, 16-bit copies), so that an optimiser step is one pass over memory.
#pragma once
#include <deque>
#include <string>
#include <vector>

#include "engine/tensor/tensor.h"
#include "kernels/optimizer/optimizer_update.h"

namespace hh {

/// How a parameter starts (docs/specification.md, section 1, "Initialisation").
enum class Initialisation { kZero, kOne, kNormal };

/// How wide the normal distribution of kNormal parameters is.
struct InitialWidth {
  float std = 0.02f;    // of all (the reference), or of position embeddings only with fan_in
  bool fan_in = false;  // weight matrices: 1 / sqrt(inputs of one output)
};

class Parameter {
 public:
  const std::string& name() const { return name_; }
  const Shape& shape() const { return shape_; }
  Initialisation initialisation() const { return initialisation_; }
  /// The first of its elements in the flat arrays.
  std::int64_t begin() const { return begin_; }

  /// The f32 weights, which the optimiser changes.
  const Tensor& weight() const { return weight_; }
  /// What the kernels of the network multiply by: the weights, or their 16-bit copy.
  const Tensor& compute() const { return compute_; }
  /// The weights as products of bytes take them (kernels/linear/int8_linear.h); empty unless
  /// Parameters::quantise() made them.
  const Tensor& int8() const { return int8_; }
  /// The weights as products of float32 on CPUs take them (kernels/linear/linear.h); empty unless
  /// Parameters::pack() made them.
  const Tensor& packed() const { return packed_; }
  /// dLoss/dweight, f32. Operations add to it; Parameters::zero_gradients() clears it.
  const Tensor& gradient() const { return gradient_; }

 private:
  friend class Parameters;
  std::string name_;
  Shape shape_;
  Initialisation initialisation_ = Initialisation::kZero;
  std::int64_t begin_ = 0;
  Tensor weight_, compute_, gradient_, int8_, packed_;
};

/// All parameters of a network. Modules declare theirs in their constructors and keep references,
/// which stay valid; then place() gives them memory.
class Parameters {
 public:
  Parameters() = default;
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;

  /// Declares a parameter. Its name must be new, and place() not yet called.
  Parameter& add(std::string name, Shape shape, Initialisation initialisation);

  /// Allocates the flat arrays. `compute` is f32, bf16 or (on a GPU) f16, the type the network runs
  /// in. Without `trainable` there are no gradients.
  void place(Device device, DType compute, bool trainable);

  /// Draws the initial weights: normal for weight matrices and position embeddings, 0 and 1 for the
  /// others. The same bits for one seed whatever the device and the order of parameters.
  void initialise(std::uint64_t seed, const InitialWidth& width = {});

  const std::deque<Parameter>& all() const { return all_; }
  /// Null if there is none of that name.
  const Parameter* find(const std::string& name) const;
  std::int64_t count() const;  // trained numbers, without padding

  /// Copies host values into a parameter's weights. Throws on a wrong count.
  void set(const Parameter& parameter, std::span<const float> values);
  /// After weights were changed other than by the optimiser: renews the 16-bit copies.
  void refresh_compute();
  /// From now on linear(), mlp() and conv2d() (engine/ops/linear.h) multiply the matrices [O, I] and the
  /// kernels [O, I, kh, kw] among them by bytes, where no tape records. Later changes of weights don't count. Throws std::invalid_argument,
  /// with a cure, where the parameters aren't f32 on a CPU that has such products.
  void quantise();
  /// The same for products of float32, which give the same results and needn't pack the matrices each
  /// time: a second copy of them. Does nothing where the parameters aren't f32 on a CPU.
  void pack();
  void zero_gradients();

  /// The flat arrays; elements between parameters are padding: zeros, whose gradients are zero.
  const Tensor& flat_weights() const { return weights_; }
  const Tensor& flat_gradients() const { return gradients_; }
  const Tensor& flat_copies() const { return copies_; }  // empty when computing in f32

  /// The flat arrays cut where the weight decay changes, so that a step is few launches: `decay`
  /// for all (as the reference does), or, with `matrices_only`, none for biases, LayerNorms and
  /// position embeddings. Padding goes with the parameter before it; an optimiser leaves its zeros
  /// as they are.
  std::vector<OptimizerSegment> segments(float decay, bool matrices_only) const;

 private:
  std::deque<Parameter> all_;
  std::int64_t flat_count_ = 0;
  Tensor weights_, gradients_, copies_;
};

}  // namespace hh
