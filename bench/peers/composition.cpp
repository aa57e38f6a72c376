// SPDX-License-Identifier: Apache-2.0
#include "bench/peers/composition.h"

#include <cudnn_frontend.h>

#include <bit>
#include <map>
#include <string>
#include <unordered_map>

#include "kernels/core/cuda_check.h"

namespace hh::bench {
namespace {

namespace fe = cudnn_frontend;
using Attributes = std::shared_ptr<fe::graph::Tensor_attributes>;

void check(bool good, const std::string& what) {
  if (!good) throw DeviceError("peer: " + what);
}
void check(fe::error_t status) { check(status.is_good(), status.get_message()); }
void check(cudnnStatus_t status, const char* call) {
  check(status == CUDNN_STATUS_SUCCESS, std::string(call) + ": " + cudnnGetErrorString(status));
}
#define HH_PEER_CHECK(call) check((call), #call)

fe::DataType_t frontend_type(cudnnDataType_t type) {
  if (type == CUDNN_DATA_UINT8) return fe::DataType_t::UINT8;
  return type == CUDNN_DATA_BFLOAT16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::FLOAT;
}

fe::PointwiseMode_t mode(Unary f) {
  using enum fe::PointwiseMode_t;
  switch (f) {
    case Unary::kCopy:
      return IDENTITY;
    case Unary::kGelu:
      return GELU_FWD;  // by erf
    case Unary::kReciprocal:
      return RECIPROCAL;
    case Unary::kSoftplus:
      return SOFTPLUS_FWD;
    case Unary::kSigmoid:
      return SIGMOID_FWD;
    case Unary::kSqrt:
      return SQRT;
    case Unary::kTanh:
      return TANH_FWD;
  }
  throw std::logic_error("no such function");
}

fe::PointwiseMode_t mode(Binary f) {
  using enum fe::PointwiseMode_t;
  switch (f) {
    case Binary::kAdd:
      return ADD;
    case Binary::kSubtract:
      return SUB;
    case Binary::kMultiply:
      return MUL;
    case Binary::kDivide:
      return DIV;
    case Binary::kGreater:
      return CMP_GT;
    case Binary::kGeluGradient:
      return GELU_BWD;
  }
  throw std::logic_error("no such function");
}

/// [rows, columns] as cuDNN's norms want it: columns are channels, channels are last.
View as_channels(const View& x) {
  const auto rows = x.dim.at(0), columns = x.dim.at(1);
  return {x.data, x.type, {rows, columns, 1, 1}, {columns, 1, columns, columns}};
}
View parameter(const float* p, std::int64_t columns) { return as_channels(dense(p, {1, columns})); }
View statistic(const float* p, std::int64_t rows) { return dense(p, {rows, 1, 1, 1}); }

using Descriptor = std::shared_ptr<cudnnTensorStruct>;
Descriptor descriptor(const View& v) {
  cudnnTensorDescriptor_t raw = nullptr;
  HH_PEER_CHECK(cudnnCreateTensorDescriptor(&raw));
  Descriptor owned(raw, cudnnDestroyTensorDescriptor);
  std::vector<int> dim(v.dim.begin(), v.dim.end()), stride(v.stride.begin(), v.stride.end());
  while (dim.size() < 4) dim.push_back(1), stride.push_back(1);
  HH_PEER_CHECK(
      cudnnSetTensorNdDescriptor(raw, v.type, int(dim.size()), dim.data(), stride.data()));
  return owned;
}
/// [B, h, h, C] as [B, C, h, h] whose channels are last.
Descriptor image_descriptor(const View& v) {
  return descriptor({v.data,
                     v.type,
                     {v.dim.at(0), v.dim.at(3), v.dim.at(1), v.dim.at(2)},
                     {v.stride.at(0), v.stride.at(3), v.stride.at(1), v.stride.at(2)}});
}

using Pooling = std::shared_ptr<cudnnPoolingStruct>;
Pooling pooling() {
  cudnnPoolingDescriptor_t raw = nullptr;
  HH_PEER_CHECK(cudnnCreatePoolingDescriptor(&raw));
  Pooling owned(raw, cudnnDestroyPoolingDescriptor);
  HH_PEER_CHECK(cudnnSetPooling2dDescriptor(raw, CUDNN_POOLING_MAX_DETERMINISTIC,
                                            CUDNN_PROPAGATE_NAN, 3, 3, 1, 1, 2, 2));
  return owned;
}

constexpr float kOne = 1, kZero = 0;

}  // namespace

View dense(const void* data, cudnnDataType_t type, const Extents& dim) {
  View v{const_cast<void*>(data), type, dim, Extents(dim.size(), 1)};
  for (std::size_t i = dim.size(); i-- > 1;) v.stride[i - 1] = v.stride[i] * dim[i];
  return v;
}

View strided(const View& of, const Extents& dim, const Extents& stride) {
  return {of.data, of.type, dim, stride};
}

View transposed(View v) {
  const auto last = v.dim.size() - 1;
  std::swap(v.dim[last - 1], v.dim[last]);
  std::swap(v.stride[last - 1], v.stride[last]);
  return v;
}

/// A cuDNN graph of one operation, and which array each of its tensors is.
class Composition::Graph {
 public:
  /// `operation` and what follows it here tell it from all other graphs.
  explicit Graph(std::string operation) : key_(std::move(operation)) {
    graph_->set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
  }
  fe::graph::Graph* operator->() { return graph_.get(); }

  Attributes input(const View& v) {
    auto t = graph_->tensor(fe::graph::Tensor_attributes());
    place(t, v);
    return t;
  }
  Attributes scalar(float value) {
    key_ += " scalar " + std::to_string(std::bit_cast<unsigned>(value));
    return graph_->tensor(value);
  }
  Attributes pointwise(Binary f, const Attributes& a, const Attributes& b) {
    return graph_->pointwise(a, b, fe::graph::Pointwise_attributes().set_mode(mode(f)));
  }
  void output(const Attributes& t, const View& v) {
    t->set_output(true);
    place(t, v);
  }

  /// The graph with its plans, which are made once for all graphs of this key: that takes seconds
  /// on a GPU, and every round of a benchmark wants them for other arrays.
  const std::shared_ptr<fe::graph::Graph>& built(cudnnHandle_t handle) {
    static auto& ready = *new std::map<std::string, std::shared_ptr<fe::graph::Graph>>;
    auto& of_key = ready[key_];
    if (!of_key) {
      check(graph_->build(handle, {fe::HeurMode_t::A}));
      ++Composition::plans_made;
      of_key = graph_;
    }
    return of_key;
  }
  const std::unordered_map<std::int64_t, void*>& arrays() const { return arrays_; }

 private:
  /// The next tensor by number, the same in all graphs of a key.
  void place(const Attributes& t, const View& v) {
    const auto number = std::int64_t(arrays_.size()) + 1;
    t->set_uid(number).set_dim(v.dim).set_stride(v.stride).set_data_type(frontend_type(v.type));
    arrays_[number] = v.data;
    key_ += " array " + std::to_string(int(v.type));
    for (const auto extent : v.dim) key_ += " " + std::to_string(extent);
    for (const auto stride : v.stride) key_ += " " + std::to_string(stride);
  }

  std::string key_;
  std::shared_ptr<fe::graph::Graph> graph_ = std::make_shared<fe::graph::Graph>();
  std::unordered_map<std::int64_t, void*> arrays_;
};

int Composition::plans_made = 0;

namespace {

/// One for each stream, since plans are kept for it; for the life of the process.
cudnnHandle_t handle_of(StreamHandle stream) {
  static auto& handles = *new std::map<StreamHandle, cudnnHandle_t>;
  cudnnHandle_t& handle = handles[stream];
  if (handle == nullptr) {
    HH_PEER_CHECK(cudnnCreate(&handle));
    HH_PEER_CHECK(cudnnSetStream(handle, stream));
  }
  return handle;
}

}  // namespace

Composition::Composition(StreamHandle stream) : handle_(handle_of(stream)), stream_(stream) {}

std::shared_ptr<void> Composition::allocate(std::size_t bytes) {
  void* raw = nullptr;
  HH_CUDA_CHECK(cudaMalloc(&raw, std::max(bytes, std::size_t{16})));
  return memory_.emplace_back(raw, cudaFree);
}

View Composition::scratch(cudnnDataType_t type, const Extents& dim) {
  std::size_t bytes = type == CUDNN_DATA_FLOAT ? 4 : 2;
  for (const auto extent : dim) bytes *= std::size_t(extent);
  return dense(allocate(bytes).get(), type, dim);
}

View Composition::constant(const std::vector<float>& values, const Extents& dim) {
  const View v = scratch(CUDNN_DATA_FLOAT, dim);
  HH_CUDA_CHECK(cudaMemcpy(v.data, values.data(), values.size() * 4, cudaMemcpyHostToDevice));
  return v;
}

void Composition::add(Graph& graph) {
  const auto& built = graph.built(handle_);
  std::int64_t bytes = 0;
  check(built->get_workspace_size(bytes));
  void* workspace = allocate(std::size_t(bytes)).get();
  calls_.emplace_back([g = built, arrays = graph.arrays(), handle = handle_, workspace]() mutable {
    check(g->execute(handle, arrays, workspace));
  });
}

void Composition::unary(Unary f, const View& x, const View& y) {
  Graph g("unary " + std::to_string(int(f)));
  g.output(g->pointwise(g.input(x), fe::graph::Pointwise_attributes().set_mode(mode(f))), y);
  add(g);
}

void Composition::binary(Binary f, const View& a, const View& b, const View& y) {
  Graph g("binary " + std::to_string(int(f)));
  const auto left = g.input(a), right = g.input(b);
  g.output(g.pointwise(f, left, right), y);
  add(g);
}

void Composition::binary(Binary f, const View& a, float b, const View& y) {
  binary(f, a, constant({b}, Extents(a.dim.size(), 1)), y);
}

void Composition::add_scaled(const View& a, float factor, const View& x, const View& y) {
  Graph g("add_scaled");
  const auto left = g.input(a), right = g.input(x);
  g.output(g.pointwise(Binary::kAdd, left, g.pointwise(Binary::kMultiply, right, g.scalar(factor))),
           y);
  add(g);
}

void Composition::add_scaled(const View& a, float factor, Binary f, const View& b, const View& c,
                             const View& y) {
  Graph g("add_scaled " + std::to_string(int(f)));
  const auto left = g.input(a), first = g.input(b), second = b.data == c.data ? first : g.input(c);
  const auto product =
      g.pointwise(Binary::kMultiply, g.pointwise(f, first, second), g.scalar(factor));
  g.output(g.pointwise(Binary::kAdd, left, product), y);
  add(g);
}

void Composition::reduce(bool mean, const View& x, const View& y) {
  using enum fe::ReductionMode_t;
  Graph g(mean ? "mean" : "sum");
  const auto how = fe::graph::Reduction_attributes().set_mode(mean ? AVG : ADD);
  g.output(g->reduction(g.input(x), how), y);
  add(g);
}
void Composition::sum(const View& x, const View& y) { reduce(false, x, y); }
void Composition::mean(const View& x, const View& y) { reduce(true, x, y); }

void Composition::product(const View& a, const View& b, const View& c) {
  Graph g("product");
  const auto left = g.input(a), right = g.input(b);
  g.output(g->matmul(left, right, fe::graph::Matmul_attributes()), c);
  add(g);
}

void Composition::layer_norm(const View& x, const float* gamma, const float* beta, float eps,
                             const View& y, float* mean, float* rstd) {
  Graph g("layer_norm");
  const auto rows = x.dim.at(0), columns = x.dim.at(1);
  const auto in = g.input(as_channels(x)), scale = g.input(parameter(gamma, columns)),
             shift = g.input(parameter(beta, columns));
  auto epsilon = g.scalar(eps);
  const auto [out, m, r] = g->layernorm(in, scale, shift,
                                        fe::graph::Layernorm_attributes()
                                            .set_forward_phase(fe::NormFwdPhase_t::TRAINING)
                                            .set_epsilon(epsilon));
  g.output(out, as_channels(y));
  g.output(m, statistic(mean, rows));
  g.output(r, statistic(rstd, rows));
  add(g);
}

void Composition::layer_norm_backward(const View& dy, const View& x, const float* gamma,
                                      const float* mean, const float* rstd, const View& dx,
                                      float* dgamma, float* dbeta) {
  Graph g("layer_norm_backward");
  const auto rows = x.dim.at(0), columns = x.dim.at(1);
  const auto gradient = g.input(as_channels(dy)), in = g.input(as_channels(x)),
             scale = g.input(parameter(gamma, columns)), m = g.input(statistic(mean, rows)),
             r = g.input(statistic(rstd, rows));
  const auto [dinput, dscale, dshift] = g->layernorm_backward(
      gradient, in, scale,
      fe::graph::Layernorm_backward_attributes().set_saved_mean_and_inv_variance(m, r));
  g.output(dinput, as_channels(dx));
  g.output(dscale, parameter(dgamma, columns));
  g.output(dshift, parameter(dbeta, columns));
  add(g);
}

void Composition::attention(const View& q, const View& k, const View& v, float scale,
                            const View& out, const View& lse) {
  Graph g("attention " + std::to_string(std::bit_cast<unsigned>(scale)));
  const auto q_ = g.input(q), k_ = g.input(k), v_ = g.input(v);
  const auto [o, stats] = g->sdpa(
      q_, k_, v_, fe::graph::SDPA_attributes().set_generate_stats(true).set_attn_scale(scale));
  g.output(o, out);
  g.output(stats, lse);
  add(g);
}

void Composition::softmax(const View& x, const View& y) {
  calls_.emplace_back([=, h = handle_, dx = descriptor(x), dy = descriptor(y)] {
    HH_PEER_CHECK(cudnnSoftmaxForward(h, CUDNN_SOFTMAX_ACCURATE, CUDNN_SOFTMAX_MODE_CHANNEL, &kOne,
                                      dx.get(), x.data, &kZero, dy.get(), y.data));
  });
}

void Composition::softmax_backward(const View& y, const View& dy, const View& dx) {
  calls_.emplace_back(
      [=, h = handle_, y_ = descriptor(y), dy_ = descriptor(dy), dx_ = descriptor(dx)] {
        HH_PEER_CHECK(cudnnSoftmaxBackward(h, CUDNN_SOFTMAX_ACCURATE, CUDNN_SOFTMAX_MODE_CHANNEL,
                                           &kOne, y_.get(), y.data, dy_.get(), dy.data, &kZero,
                                           dx_.get(), dx.data));
      });
}

void Composition::max_pool(const View& x, const View& y) {
  calls_.emplace_back(
      [=, h = handle_, pool = pooling(), x_ = image_descriptor(x), y_ = image_descriptor(y)] {
        HH_PEER_CHECK(
            cudnnPoolingForward(h, pool.get(), &kOne, x_.get(), x.data, &kZero, y_.get(), y.data));
      });
}

void Composition::max_pool_backward(const View& y, const View& dy, const View& x, const View& dx) {
  calls_.emplace_back([=, h = handle_, pool = pooling(), x_ = image_descriptor(x),
                       y_ = image_descriptor(y), dy_ = image_descriptor(dy),
                       dx_ = image_descriptor(dx)] {
    HH_PEER_CHECK(cudnnPoolingBackward(h, pool.get(), &kOne, y_.get(), y.data, dy_.get(), dy.data,
                                       x_.get(), x.data, &kZero, dx_.get(), dx.data));
  });
}

void Composition::copy(const View& from, const View& to) {
  calls_.emplace_back([=, h = handle_, from_ = descriptor(from), to_ = descriptor(to)] {
    HH_PEER_CHECK(
        cudnnTransformTensor(h, &kOne, from_.get(), from.data, &kZero, to_.get(), to.data));
  });
}

void Composition::run_and_forget() {
  for (const auto& call : calls_) call();
  HH_CUDA_CHECK(cudaStreamSynchronize(stream_));
  calls_.clear();
}

Peer Composition::finish(std::shared_ptr<Composition> composition) {
  const int calls = int(composition->calls_.size());
  return {calls, [composition] {
            for (const auto& call : composition->calls_) call();
          }};
}

}  // namespace hh::bench
