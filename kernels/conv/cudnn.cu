// SPDX-License-Identifier: Apache-2.0
// Numerics  float32 sums; float products are exact float32 ones unless HH_TF32=1, as in gemm.cuh.
//           Only algorithms that cuDNN calls deterministic are taken.
// Failure   A pass for which cuDNN has nothing, or whose call it refuses, is done by conv2d.cu's
//           products from then on: no error of cuDNN's ends the program.
#include <dlfcn.h>

#include <cstdlib>
#include <mutex>
#include <tuple>
#include <vector>

#include "kernels/conv/cudnn.cuh"
#include "kernels/core/device.cuh"
#include "kernels/gemm/plan_store.cuh"

#if __has_include(<cudnn.h>)
#include <cudnn.h>
#define HH_HAS_CUDNN
#endif

namespace hh::gpu {

#ifdef HH_HAS_CUDNN
namespace {

/// The functions we call, found by name in the loaded library.
struct Cudnn {
#define HH_CUDNN_FUNCTIONS(X)                      \
  X(cudnnGetErrorString)                           \
  X(cudnnCreate)                                   \
  X(cudnnSetStream)                                \
  X(cudnnCreateTensorDescriptor)                   \
  X(cudnnSetTensor4dDescriptor)                    \
  X(cudnnCreateFilterDescriptor)                   \
  X(cudnnSetFilter4dDescriptor)                    \
  X(cudnnCreateConvolutionDescriptor)              \
  X(cudnnCreateActivationDescriptor)               \
  X(cudnnSetActivationDescriptor)                  \
  X(cudnnSetConvolution2dDescriptor)               \
  X(cudnnSetConvolutionMathType)                   \
  X(cudnnGetConvolutionForwardAlgorithm_v7)        \
  X(cudnnGetConvolutionBackwardDataAlgorithm_v7)   \
  X(cudnnGetConvolutionBackwardFilterAlgorithm_v7) \
  X(cudnnConvolutionForward)                       \
  X(cudnnConvolutionBiasActivationForward)         \
  X(cudnnConvolutionBackwardData)                  \
  X(cudnnConvolutionBackwardFilter)
#define X(name) decltype(&::name) name = nullptr;
  HH_CUDNN_FUNCTIONS(X)
#undef X
  std::string missing;  // why it can't be used

  static const Cudnn& instance() {
    static const auto& library = *new Cudnn;  // never unloaded
    return library;
  }

 private:
  Cudnn() {
    const char* wish = std::getenv("HH_CUDNN");
    if (wish != nullptr && std::string(wish) == "0") {
      missing = "HH_CUDNN=0 turns cuDNN off";
      return;
    }
    void* library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      missing = std::string("cuDNN 9 can't be loaded: ") + dlerror() +
                "; install it for CUDA 13 (libcudnn9-cuda-13) for faster convolutions";
      return;
    }
#define X(name)                                                   \
  name = reinterpret_cast<decltype(name)>(dlsym(library, #name)); \
  if (name == nullptr) missing = "this cuDNN has no " #name "; install cuDNN 9";
    HH_CUDNN_FUNCTIONS(X)
#undef X
  }
};

void check(cudnnStatus_t status, const char* call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw failed_call(call, Cudnn::instance().cudnnGetErrorString(status));
}
#define HH_CUDNN_CHECK(call) check((call), #call)

template <class T>
constexpr cudnnDataType_t kType = CUDNN_DATA_FLOAT;
template <>
constexpr cudnnDataType_t kType<bf16> = CUDNN_DATA_BFLOAT16;
template <>
constexpr cudnnDataType_t kType<f16> = CUDNN_DATA_HALF;

/// Whether products of this type must not be shortened to TF32.
bool exact(cudnnDataType_t type) { return type == CUDNN_DATA_FLOAT && !tf32_allowed(); }

/// The first algorithm of a list, best first, that works, repeats its bits, keeps float32 exact
/// where it must, and needs no more scratch memory than `limit`.
template <class Performance>
const Performance* choose(const std::vector<Performance>& list, bool exact, std::size_t limit) {
  for (const Performance& p : list) {
    const bool fma = p.mathType == CUDNN_FMA_MATH || p.mathType == CUDNN_DEFAULT_MATH;
    if (p.status == CUDNN_STATUS_SUCCESS && p.determinism == CUDNN_DETERMINISTIC &&
        p.memory <= limit && (fma || !exact)) {
      return &p;
    }
  }
  return nullptr;
}

constexpr std::size_t kLimit = std::size_t{256} << 20;
constexpr int kCandidates = 8;

/// A pass made ready: kept for the life of the process. Made by default, it has no algorithm.
struct Plan {
  cudnnTensorDescriptor_t x = nullptr, y = nullptr;
  cudnnFilterDescriptor_t weight = nullptr;
  cudnnConvolutionDescriptor_t convolution = nullptr;
  int algorithm = -1;  // -1: none, or it was refused
  // Forward's bias in the same call; null: this algorithm has none, or it was refused.
  cudnnTensorDescriptor_t bias = nullptr;
  cudnnActivationDescriptor_t identity = nullptr;
  std::size_t scratch = 0;

  Plan() = default;
  Plan(const Cudnn& lib, cudnnHandle_t handle, ConvPass pass, const Conv2dShape& s,
       cudnnDataType_t type) {
    HH_CUDNN_CHECK(lib.cudnnCreateTensorDescriptor(&x));
    HH_CUDNN_CHECK(lib.cudnnCreateTensorDescriptor(&y));
    HH_CUDNN_CHECK(lib.cudnnCreateFilterDescriptor(&weight));
    HH_CUDNN_CHECK(lib.cudnnCreateConvolutionDescriptor(&convolution));
    HH_CUDNN_CHECK(lib.cudnnSetTensor4dDescriptor(x, CUDNN_TENSOR_NHWC, type, s.images,
                                                  s.in_channels, s.height, s.width));
    HH_CUDNN_CHECK(lib.cudnnSetTensor4dDescriptor(y, CUDNN_TENSOR_NHWC, type, s.images,
                                                  s.out_channels, s.height, s.width));
    HH_CUDNN_CHECK(lib.cudnnSetFilter4dDescriptor(weight, type, CUDNN_TENSOR_NHWC, s.out_channels,
                                                  s.in_channels, s.kernel_h, s.kernel_w));
    HH_CUDNN_CHECK(lib.cudnnSetConvolution2dDescriptor(convolution, s.kernel_h / 2, s.kernel_w / 2,
                                                       1, 1, 1, 1, CUDNN_CROSS_CORRELATION,
                                                       CUDNN_DATA_FLOAT));
    const auto set_math = [&](cudnnMathType_t math) {
      HH_CUDNN_CHECK(lib.cudnnSetConvolutionMathType(convolution, math));
    };
    // Without TF32 it stays with FMA, whatever an entry says; else the entry's own is set, without
    // which cuDNN may run the algorithm otherwise, or refuse it.
    set_math(exact(type) ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH);
    int found = 0;
    const auto pick = [&]<class Performance>(std::vector<Performance> list, cudnnStatus_t status) {
      // A shape or layout that this cuDNN doesn't know is no error: we have another way.
      if (status != CUDNN_STATUS_SUCCESS) return;
      list.resize(std::size_t(found));
      const Performance* best = choose(list, exact(type), kLimit);
      if (best == nullptr) return;
      if (!exact(type)) set_math(best->mathType);
      algorithm = int(best->algo);
      scratch = best->memory;
    };
    if (pass == ConvPass::kForward) {
      std::vector<cudnnConvolutionFwdAlgoPerf_t> list(kCandidates);
      const auto status = lib.cudnnGetConvolutionForwardAlgorithm_v7(
          handle, x, weight, convolution, y, kCandidates, &found, list.data());
      pick(list, status);
      // Without an activation cuDNN has the bias with this one only.
      if (algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM)
        describe_bias(lib, s, type);
    } else if (pass == ConvPass::kBackwardInput) {
      std::vector<cudnnConvolutionBwdDataAlgoPerf_t> list(kCandidates);
      const auto status = lib.cudnnGetConvolutionBackwardDataAlgorithm_v7(
          handle, weight, y, convolution, x, kCandidates, &found, list.data());
      pick(list, status);
    } else {
      std::vector<cudnnConvolutionBwdFilterAlgoPerf_t> list(kCandidates);
      const auto status = lib.cudnnGetConvolutionBackwardFilterAlgorithm_v7(
          handle, x, y, convolution, weight, kCandidates, &found, list.data());
      pick(list, status);
    }
  }

 private:
  void describe_bias(const Cudnn& lib, const Conv2dShape& s, cudnnDataType_t type) {
    HH_CUDNN_CHECK(lib.cudnnCreateTensorDescriptor(&bias));
    HH_CUDNN_CHECK(
        lib.cudnnSetTensor4dDescriptor(bias, CUDNN_TENSOR_NHWC, type, 1, s.out_channels, 1, 1));
    HH_CUDNN_CHECK(lib.cudnnCreateActivationDescriptor(&identity));
    HH_CUDNN_CHECK(lib.cudnnSetActivationDescriptor(identity, CUDNN_ACTIVATION_IDENTITY,
                                                    CUDNN_PROPAGATE_NAN, 0));
  }
};

using Key = std::tuple<int, ConvPass, cudnnDataType_t, int, int, int, int, int, int, int>;
using Plans = PlanStore<cudnnHandle_t, Key, Plan>;

// Both while the store's mutex is held.

cudnnHandle_t handle_of_gpu() {
  return Plans::instance().handle(current_gpu(), [](cudnnHandle_t* handle) {
    HH_CUDNN_CHECK(Cudnn::instance().cudnnCreate(handle));
  });
}

Plan& plan_of(ConvPass pass, const Conv2dShape& s, cudnnDataType_t type) {
  const Key key(current_gpu(), pass, type, s.images, s.height, s.width, s.in_channels,
                s.out_channels, s.kernel_h, s.kernel_w);
  return Plans::instance().find(key, [&] {
    try {
      return Plan(Cudnn::instance(), handle_of_gpu(), pass, s, type);
    } catch (const DeviceError&) {
      return Plan();
    }
  });
}

/// Whether cuDNN may be asked. A 16-bit weight gradient it would round to 16 bits; ours is float32.
template <class T>
bool may_take(ConvPass pass, const Conv2dShape& s) {
  return cudnn_missing().empty() && s.images != 0 &&
         (pass != ConvPass::kBackwardWeight || std::is_same_v<T, float>);
}

}  // namespace

const std::string& cudnn_missing() { return Cudnn::instance().missing; }

template <class T>
std::size_t cudnn_workspace_bytes(ConvPass pass, const Conv2dShape& s) {
  if (!may_take<T>(pass, s)) return 0;
  const std::scoped_lock lock(Plans::instance().mutex);
  return plan_of(pass, s, kType<T>).scratch;
}

template <class T>
CudnnDid cudnn_convolve(ConvPass pass, const Conv2dShape& s, const T* left, const T* right,
                        const T* bias, T* to, void* scratch, StreamHandle stream) {
  if (!may_take<T>(pass, s)) return CudnnDid::kNothing;
  const Cudnn& lib = Cudnn::instance();
  const std::scoped_lock lock(Plans::instance().mutex);  // the handle's stream is set for the call
  Plan& plan = plan_of(pass, s, kType<T>);
  if (plan.algorithm < 0) return CudnnDid::kNothing;
  const cudnnHandle_t handle = handle_of_gpu();
  const float one = 1, zero = 0;
  if (lib.cudnnSetStream(handle, stream) != CUDNN_STATUS_SUCCESS) return CudnnDid::kNothing;
  if (bias != nullptr && plan.bias != nullptr) {
    const cudnnStatus_t status = lib.cudnnConvolutionBiasActivationForward(
        handle, &one, plan.x, left, plan.weight, right, plan.convolution,
        cudnnConvolutionFwdAlgo_t(plan.algorithm), scratch, plan.scratch, &zero, plan.y, to,
        plan.bias, bias, plan.identity, plan.y, to);
    if (status == CUDNN_STATUS_SUCCESS) return CudnnDid::kAll;
    plan.bias = nullptr;
  }
  const auto call = [&] {
    if (pass == ConvPass::kForward) {
      return lib.cudnnConvolutionForward(
          handle, &one, plan.x, left, plan.weight, right, plan.convolution,
          cudnnConvolutionFwdAlgo_t(plan.algorithm), scratch, plan.scratch, &zero, plan.y, to);
    }
    if (pass == ConvPass::kBackwardInput) {
      return lib.cudnnConvolutionBackwardData(
          handle, &one, plan.weight, right, plan.y, left, plan.convolution,
          cudnnConvolutionBwdDataAlgo_t(plan.algorithm), scratch, plan.scratch, &zero, plan.x, to);
    }
    return lib.cudnnConvolutionBackwardFilter(handle, &one, plan.x, left, plan.y, right,
                                              plan.convolution,
                                              cudnnConvolutionBwdFilterAlgo_t(plan.algorithm),
                                              scratch, plan.scratch, &zero, plan.weight, to);
  };
  if (call() != CUDNN_STATUS_SUCCESS) {
    plan.algorithm = -1;
    return CudnnDid::kNothing;
  }
  return bias != nullptr ? CudnnDid::kAllButBias : CudnnDid::kAll;
}

#else  // built without cuDNN's header

const std::string& cudnn_missing() {
  static const std::string why = "this build had no cudnn.h; convolutions are matrix products";
  return why;
}
template <class T>
std::size_t cudnn_workspace_bytes(ConvPass, const Conv2dShape&) {
  return 0;
}
template <class T>
CudnnDid cudnn_convolve(ConvPass, const Conv2dShape&, const T*, const T*, const T*, T*, void*,
                        StreamHandle) {
  return CudnnDid::kNothing;
}

#endif

#define HH_CUDNN_OF(T)                                                                             \
  template std::size_t cudnn_workspace_bytes<T>(ConvPass, const Conv2dShape&);                     \
  template CudnnDid cudnn_convolve(ConvPass, const Conv2dShape&, const T*, const T*, const T*, T*, \
                                   void*, StreamHandle);
HH_CUDNN_OF(float)
HH_CUDNN_OF(bf16)
HH_CUDNN_OF(f16)
#undef HH_CUDNN_OF

}  // namespace hh::gpu
