// SPDX-License-Identifier: Apache-2.0
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/gemm/algorithm_choice.cuh"
#include "kernels/gemm/gemm.cuh"
#include "kernels/gemm/plan_store.cuh"
#include "kernels/gemm/row_bias.cuh"

namespace hh::gpu {
namespace {

void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) throw failed_call(call, cublasLtGetStatusString(status));
}
#define HH_CUBLASLT_CHECK(call) check((call), #call)

std::atomic<std::size_t> workspace_in_use = std::size_t{32} << 20;

template <class T>
constexpr cudaDataType_t kType = CUDA_R_32F;
template <>
constexpr cudaDataType_t kType<bf16> = CUDA_R_16BF;
template <>
constexpr cudaDataType_t kType<f16> = CUDA_R_16F;

template <class T>
constexpr const char* type_name = "f32";
template <>
constexpr const char* type_name<bf16> = "bf16";
template <>
constexpr const char* type_name<f16> = "f16";

cublasComputeType_t compute_type(cudaDataType_t input) {
  return input == CUDA_R_32F && tf32_allowed() ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

std::uint32_t alignment(const void* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  return std::uint32_t(std::min<std::uintptr_t>(address & (~address + 1), 256));
}

/// What decides the algorithm. Pointers count by their alignment: an algorithm chosen for aligned
/// ones may refuse others.
struct Key {
  int device;
  cudaDataType_t in, out;
  bool a_transposed, b_transposed, bias, a_sums, accumulate;
  std::int64_t rows, cols, inner;
  std::uint32_t a_alignment, b_alignment, d_alignment, vector_alignment;
  std::size_t workspace;
  auto operator<=>(const Key&) const = default;
};

/// What one run of a plan reads and writes.
struct Operands {
  const void *a, *b;
  void* d;
  const void* vector;  // the bias or a_sums; may be null
  bool accumulate;
  void* workspace;
  std::size_t workspace_bytes;
};

/// A product made ready: kept for the life of the process.
class Plan {
 public:
  /// `vector`: the bias or a_sums, if the key has either; its alignment is what counts here.
  Plan(cublasLtHandle_t handle, const Key& k, const void* vector) : handle_(handle) {
    // cuBLASLt counts columns first: our row-major D is its transpose, so B comes first.
    HH_CUBLASLT_CHECK(cublasLtMatmulDescCreate(&product_, compute_type(k.in), CUDA_R_32F));
    set(CUBLASLT_MATMUL_DESC_TRANSA, k.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, k.a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (k.bias || k.a_sums) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE,
          k.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_BGRADB);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, k.out);  // other types have no algorithms
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector);
    }
    const auto layout = [](cublasLtMatrixLayout_t& to, cudaDataType_t type, std::int64_t rows,
                           std::int64_t cols) {
      HH_CUBLASLT_CHECK(
          cublasLtMatrixLayoutCreate(&to, type, std::uint64_t(rows), std::uint64_t(cols), rows));
    };
    layout(first_, k.in, k.b_transposed ? k.inner : k.cols, k.b_transposed ? k.cols : k.inner);
    layout(second_, k.in, k.a_transposed ? k.rows : k.inner, k.a_transposed ? k.inner : k.rows);
    layout(result_, k.out, k.cols, k.rows);
    cublasLtMatmulPreference_t preference = nullptr;
    HH_CUBLASLT_CHECK(cublasLtMatmulPreferenceCreate(&preference));
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      HH_CUBLASLT_CHECK(
          cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value));
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t(k.workspace));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, k.b_alignment);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, k.a_alignment);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, k.d_alignment);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, k.d_alignment);
    std::array<cublasLtMatmulHeuristicResult_t, kCandidates> list{};
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle_, product_, first_, second_, result_, result_,
                                       preference, kCandidates, list.data(), &found_);
    HH_CUBLASLT_CHECK(cublasLtMatmulPreferenceDestroy(preference));
    if (status != CUBLAS_STATUS_SUCCESS) found_ = 0;
    for (std::size_t i = 0; i < kCandidates; ++i) algorithms_[i] = list[i].algo;
  }

  /// Their names, in order: all that tells them apart, in hexadecimal digits.
  std::vector<std::string> algorithms() const {
    std::vector<std::string> names;
    for (int i = 0; i < found_; ++i) {
      std::ostringstream name;
      for (const std::uint64_t word : algorithms_[std::size_t(i)].data)
        name << std::hex << word << '.';
      names.push_back(name.str());
    }
    return names;
  }
  /// Tries algorithm i before the others. Before the first run().
  void prefer(std::size_t i) {
    std::rotate(algorithms_.begin(), algorithms_.begin() + i, algorithms_.begin() + i + 1);
  }

  /// False when cuBLASLt has no algorithm, or none is left that it doesn't refuse: nothing was
  /// queued then. One that was refused isn't tried again.
  bool run(const Operands& o, StreamHandle stream) {
    for (; next_ < found_; ++next_) {
      if (run(std::size_t(next_), o, stream)) return true;
    }
    return false;
  }
  /// By the algorithm of that position. False: refused.
  bool run(std::size_t i, const Operands& o, StreamHandle stream) {
    if (o.vector != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, o.vector);
    const float alpha = 1, beta = o.accumulate ? 1 : 0;
    const cublasStatus_t status =
        cublasLtMatmul(handle_, product_, &alpha, o.b, first_, o.a, second_, &beta, o.d, result_,
                       o.d, result_, &algorithms_[i], o.workspace, o.workspace_bytes, stream);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) return false;
    check(status, "cublasLtMatmul");
    return true;
  }

 private:
  template <class V>
  void set(cublasLtMatmulDescAttributes_t attribute, V value) {
    HH_CUBLASLT_CHECK(cublasLtMatmulDescSetAttribute(product_, attribute, &value, sizeof value));
  }

  cublasLtHandle_t handle_;
  cublasLtMatmulDesc_t product_ = nullptr;
  cublasLtMatrixLayout_t first_ = nullptr, second_ = nullptr, result_ = nullptr;
  static constexpr std::size_t kCandidates = 8;
  std::array<cublasLtMatmulAlgo_t, kCandidates> algorithms_{};  // best first
  int found_ = 0, next_ = 0;
};

using Plans = PlanStore<cublasLtHandle_t, Key, Plan>;

ChooseAlgorithm* algorithm_choice = nullptr;  // while the store's mutex is held

std::string text_of(const Key& k) {
  const auto type = [](cudaDataType_t t) {
    return t == CUDA_R_32F ? type_name<float> : t == CUDA_R_16BF ? type_name<bf16> : type_name<f16>;
  };
  std::ostringstream text;
  text << k.rows << 'x' << k.inner << 'x' << k.cols << ' ' << type(k.in) << ' ' << type(k.out)
       << (k.in == CUDA_R_32F && tf32_allowed() ? " tf32" : "") << ' '
       << (k.a_transposed ? 't' : 'n') << (k.b_transposed ? 't' : 'n') << (k.bias ? " bias" : "")
       << (k.a_sums ? " sums" : "") << (k.accumulate ? " accumulate" : "") << " aligned "
       << k.a_alignment << ' ' << k.b_alignment << ' ' << k.d_alignment << ' ' << k.vector_alignment
       << (k.workspace == 0 ? " no workspace" : "");
  return text.str();
}

/// Lets whoever chooses put the algorithms of a new plan in order.
void choose_algorithm(Plan& plan, const Key& k, const Operands& o, StreamHandle stream) {
  const std::vector<std::string> algorithms = plan.algorithms();
  if (algorithm_choice == nullptr || algorithms.empty()) return;
  const auto run = [&](std::size_t i, void* d, void* sums) {
    Operands trial = o;
    trial.d = d;
    if (k.a_sums) trial.vector = sums;
    return plan.run(i, trial, stream);
  };
  plan.prefer(
      algorithm_choice({.product = text_of(k),
                        .algorithms = algorithms,
                        .d_bytes = std::size_t(k.rows * k.cols) * (k.out == CUDA_R_32F ? 4 : 2),
                        .sums_bytes = k.a_sums ? std::size_t(k.rows) * sizeof(float) : 0,
                        .stream = stream,
                        .run = run}));
}

/// Of a plan that is made on first use. False: nothing was queued. While the store's mutex is held.
bool run_plan(const Key& key, const Operands& o, StreamHandle stream) {
  Plans& plans = Plans::instance();
  bool made = false;
  Plan& plan = plans.find(key, [&] {
    made = true;
    const auto create = [](cublasLtHandle_t* handle) { HH_CUBLASLT_CHECK(cublasLtCreate(handle)); };
    return Plan(plans.handle(key.device, create), key, o.vector);
  });
  if (made) choose_algorithm(plan, key, o, stream);
  return plan.run(o, stream);
}

}  // namespace

std::size_t gemm_workspace_bytes() { return workspace_in_use; }
bool use_no_gemm_workspace() { return workspace_in_use.exchange(0) != 0; }

void set_algorithm_choice(ChooseAlgorithm* choose) {
  const std::scoped_lock lock(Plans::instance().mutex);
  algorithm_choice = choose;
}

template <class TIn, class TOut>
bool gemm(const Gemm<TIn, TOut>& g, void* workspace, StreamHandle stream) {
  if (g.rows == 0 || g.cols == 0) return false;
  assert(g.bias == nullptr || (g.a_sums == nullptr && !g.accumulate));
  const void* const vector = g.bias != nullptr ? static_cast<const void*>(g.bias) : g.a_sums;
  Key key{.device = current_gpu(),
          .in = kType<TIn>,
          .out = kType<TOut>,
          .a_transposed = g.a_transposed,
          .b_transposed = g.b_transposed,
          .bias = g.bias != nullptr,
          .a_sums = g.a_sums != nullptr,
          .accumulate = g.accumulate,
          .rows = g.rows,
          .cols = g.cols,
          .inner = g.inner,
          .a_alignment = alignment(g.a),
          .b_alignment = alignment(g.b),
          .d_alignment = alignment(g.d),
          .vector_alignment = vector != nullptr ? alignment(vector) : 0,
          .workspace = gemm_workspace_bytes()};
  const std::scoped_lock lock(Plans::instance().mutex);  // a plan's vector is set for each call
  Operands operands{g.a, g.b, g.d, vector, g.accumulate, workspace, key.workspace};
  if (run_plan(key, operands, stream)) return key.a_sums;
  // Not every product has an algorithm with an epilogue. The bias is then written to all rows and
  // the product added to it, so that the sum is rounded once all the same.
  if (g.bias != nullptr) fill_with_bias(g.d, g.bias, g.rows, int(g.cols), stream);
  key.accumulate = g.accumulate || g.bias != nullptr;
  key.bias = key.a_sums = false;
  key.vector_alignment = 0;
  operands.vector = nullptr;
  operands.accumulate = key.accumulate;
  if (!run_plan(key, operands, stream)) {
    throw DeviceError("cuBLASLt has no algorithm for a product of " + std::to_string(g.rows) +
                      " x " + std::to_string(g.inner) + " x " + std::to_string(g.cols) + " in " +
                      type_name<TIn> + "; use another type, or a newer cuBLASLt 13");
  }
  return false;
}

template bool gemm(const Gemm<float, float>&, void*, StreamHandle);
template bool gemm(const Gemm<bf16, bf16>&, void*, StreamHandle);
template bool gemm(const Gemm<bf16, float>&, void*, StreamHandle);
template bool gemm(const Gemm<f16, f16>&, void*, StreamHandle);
template bool gemm(const Gemm<f16, float>&, void*, StreamHandle);

}  // namespace hh::gpu
