// SPDX-License-Identifier: Apache-2.0
#include <cublasLt.h>

#include <algorithm>
#include <mutex>
#include <string>

#include "kernels/gemm/add_bias.cuh"
#include "kernels/gemm/gemm.cuh"
#include "kernels/gemm/plan_store.cuh"

namespace hh::gpu {
namespace {

void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw DeviceError(std::string("cuBLASLt: ") + call + ": " + cublasLtGetStatusString(status));
  }
}
#define HH_CUBLASLT_CHECK(call) check((call), #call)

template <class T>
constexpr cudaDataType_t kType = CUDA_R_32F;
template <>
constexpr cudaDataType_t kType<bf16> = CUDA_R_16BF;
template <>
constexpr cudaDataType_t kType<f16> = CUDA_R_16F;

cublasComputeType_t compute_type(cudaDataType_t input) {
  return input == CUDA_R_32F && tf32_allowed() ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

std::uint32_t alignment(const void* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  return std::uint32_t(std::min<std::uintptr_t>(address & (~address + 1), 256));
}

/// What decides the algorithm.
struct Key {
  int device;
  cudaDataType_t in, out;
  bool a_transposed, b_transposed, bias, a_sums, accumulate;
  std::int64_t rows, cols, inner;
  std::uint32_t a_alignment, b_alignment, d_alignment;
  auto operator<=>(const Key&) const = default;
};

/// A product made ready: kept for the life of the process.
class Plan {
 public:
  Plan(cublasLtHandle_t handle, const Key& k) : handle_(handle) {
    // cuBLASLt counts columns first: our row-major D is its transpose, so B comes first.
    HH_CUBLASLT_CHECK(cublasLtMatmulDescCreate(&product_, compute_type(k.in), CUDA_R_32F));
    set(CUBLASLT_MATMUL_DESC_TRANSA, k.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, k.a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (k.bias || k.a_sums) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE,
          k.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_BGRADB);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
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
    cublasLtMatmulHeuristicResult_t best{};
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle_, product_, first_, second_, result_, result_, preference, 1, &best, &found_);
    HH_CUBLASLT_CHECK(cublasLtMatmulPreferenceDestroy(preference));
    if (status != CUBLAS_STATUS_SUCCESS) found_ = 0;
    algorithm_ = best.algo;
  }

  /// Whether cuBLASLt has an algorithm for this product.
  bool usable() const { return found_ > 0; }

  /// `vector`: the bias or a_sums, if the plan has either.
  void run(const void* a, const void* b, void* d, const float* vector, bool accumulate,
           void* workspace, StreamHandle stream) const {
    if (vector != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector);
    const float alpha = 1, beta = accumulate ? 1 : 0;
    HH_CUBLASLT_CHECK(cublasLtMatmul(handle_, product_, &alpha, b, first_, a, second_, &beta, d,
                                     result_, d, result_, &algorithm_, workspace, kGemmWorkspace,
                                     stream));
  }

 private:
  template <class V>
  void set(cublasLtMatmulDescAttributes_t attribute, V value) const {
    HH_CUBLASLT_CHECK(cublasLtMatmulDescSetAttribute(product_, attribute, &value, sizeof value));
  }

  cublasLtHandle_t handle_;
  cublasLtMatmulDesc_t product_ = nullptr;
  cublasLtMatrixLayout_t first_ = nullptr, second_ = nullptr, result_ = nullptr;
  cublasLtMatmulAlgo_t algorithm_{};
  int found_ = 0;
};

using Plans = PlanStore<cublasLtHandle_t, Key, Plan>;

/// While the store's mutex is held.
const Plan& plan_of(const Key& key) {
  Plans& plans = Plans::instance();
  return plans.find(key, [&] {
    const auto create = [](cublasLtHandle_t* handle) { HH_CUBLASLT_CHECK(cublasLtCreate(handle)); };
    return Plan(plans.handle(key.device, create), key);
  });
}

}  // namespace

template <class TIn, class TOut>
bool gemm(const Gemm<TIn, TOut>& g, void* workspace, StreamHandle stream) {
  if (g.rows == 0 || g.cols == 0) return false;
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
          .d_alignment = alignment(g.d)};
  const std::scoped_lock lock(Plans::instance().mutex);  // a plan's vector is set for each call
  if (const Plan& plan = plan_of(key); plan.usable()) {
    plan.run(g.a, g.b, g.d, key.bias ? g.bias : g.a_sums, g.accumulate, workspace, stream);
    return key.a_sums;
  }
  // Some versions take no float32 bias with a 16-bit result: it is added in a pass of its own. Nor
  // has every product an algorithm that makes sums.
  key.bias = key.a_sums = false;
  const Plan& plan = plan_of(key);
  if (!plan.usable()) {
    throw DeviceError("cuBLASLt has no algorithm for a product of " + std::to_string(g.rows) +
                      " x " + std::to_string(g.inner) + " x " + std::to_string(g.cols));
  }
  plan.run(g.a, g.b, g.d, nullptr, g.accumulate, workspace, stream);
  if (g.bias != nullptr) add_bias(g.d, g.bias, g.rows, int(g.cols), stream);
  return false;
}

template bool gemm(const Gemm<float, float>&, void*, StreamHandle);
template bool gemm(const Gemm<bf16, bf16>&, void*, StreamHandle);
template bool gemm(const Gemm<bf16, float>&, void*, StreamHandle);
template bool gemm(const Gemm<f16, f16>&, void*, StreamHandle);
template bool gemm(const Gemm<f16, float>&, void*, StreamHandle);

}  // namespace hh::gpu
