// SPDX-License-Identifier: Apache-2.0
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <mutex>
#include <string>

#include "kernels/gemm/gemm.cuh"
#include "kernels/gemm/plan_store.cuh"
#include "kernels/gemm/row_bias.cuh"

namespace hh::gpu {
namespace {

void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) throw failed_call(call, cublasLtGetStatusString(status));
}
#define HH_CUBLASLT_CHECK(call) check((call), #call)

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
  auto operator<=>(const Key&) const = default;
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
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t(kGemmWorkspace));
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

  /// False when cuBLASLt has no algorithm, or none is left that it doesn't refuse: nothing was
  /// queued then. One that was refused isn't tried again.
  bool run(const void* a, const void* b, void* d, const void* vector, bool accumulate,
           void* workspace, StreamHandle stream) {
    if (vector != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector);
    const float alpha = 1, beta = accumulate ? 1 : 0;
    for (; next_ < found_; ++next_) {
      const cublasStatus_t status = cublasLtMatmul(
          handle_, product_, &alpha, b, first_, a, second_, &beta, d, result_, d, result_,
          &algorithms_[std::size_t(next_)], workspace, kGemmWorkspace, stream);
      if (status == CUBLAS_STATUS_NOT_SUPPORTED) continue;
      check(status, "cublasLtMatmul");
      return true;
    }
    return false;
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

/// While the store's mutex is held.
Plan& plan_of(const Key& key, const void* vector) {
  Plans& plans = Plans::instance();
  return plans.find(key, [&] {
    const auto create = [](cublasLtHandle_t* handle) { HH_CUBLASLT_CHECK(cublasLtCreate(handle)); };
    return Plan(plans.handle(key.device, create), key, vector);
  });
}

}  // namespace

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
          .vector_alignment = vector != nullptr ? alignment(vector) : 0};
  const std::scoped_lock lock(Plans::instance().mutex);  // a plan's vector is set for each call
  if (plan_of(key, vector).run(g.a, g.b, g.d, vector, g.accumulate, workspace, stream)) {
    return key.a_sums;
  }
  // Not every product has an algorithm with an epilogue. The bias is then written to all rows and
  // the product added to it, so that the sum is rounded once all the same.
  if (g.bias != nullptr) fill_with_bias(g.d, g.bias, g.rows, int(g.cols), stream);
  key.accumulate = g.accumulate || g.bias != nullptr;
  key.bias = key.a_sums = false;
  key.vector_alignment = 0;
  if (!plan_of(key, nullptr).run(g.a, g.b, g.d, nullptr, key.accumulate, workspace, stream)) {
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
