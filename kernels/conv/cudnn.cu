// SPDX-License-Identifier: Apache-2.0
// Numerics  float32 sums; float products are exact float32 ones unless HH_TF32=1, as in gemm.cuh.
//           Only algorithms that cuDNN calls deterministic are taken.
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
  X(cudnnSetConvolution2dDescriptor)               \
  X(cudnnSetConvolutionMathType)                   \
  X(cudnnGetConvolutionForwardAlgorithm_v7)        \
  X(cudnnGetConvolutionBackwardDataAlgorithm_v7)   \
  X(cudnnGetConvolutionBackwardFilterAlgorithm_v7) \
  X(cudnnConvolutionForward)                       \
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
  throw DeviceError(std::string("cuDNN: ") + call + ": " +
                    Cudnn::instance().cudnnGetErrorString(status));
}
#define HH_CUDNN_CHECK(call) check((call), #call)

template <class T>
constexpr cudnnDataType_t kType = CUDNN_DATA_FLOAT;
template <>
constexpr cudnnDataType_t kType<bf16> = CUDNN_DATA_BFLOAT16;
template <>
constexpr cudnnDataType_t kType<f16> = CUDNN_DATA_HALF;

cudnnMathType_t math_type(cudnnDataType_t type) {
  return type == CUDNN_DATA_FLOAT && !tf32_allowed() ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH;
}

/// The first algorithm of a list, best first, that works, repeats its bits, and needs no more
/// scratch memory than `limit`.
template <class Performance>
const Performance* choose(const std::vector<Performance>& list, std::size_t limit) {
  for (const Performance& p : list) {
    if (p.status == CUDNN_STATUS_SUCCESS && p.determinism == CUDNN_DETERMINISTIC &&
        p.memory <= limit) {
      return &p;
    }
  }
  return nullptr;
}

constexpr std::size_t kLimit = std::size_t{256} << 20;
constexpr int kCandidates = 8;

/// A pass made ready: kept for the life of the process.
struct Plan {
  cudnnTensorDescriptor_t x = nullptr, y = nullptr;
  cudnnFilterDescriptor_t weight = nullptr;
  cudnnConvolutionDescriptor_t convolution = nullptr;
  int algorithm = -1;  // -1: none
  std::size_t scratch = 0;

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
    HH_CUDNN_CHECK(lib.cudnnSetConvolutionMathType(convolution, math_type(type)));
    int found = 0;
    const auto pick = [&]<class Performance>(std::vector<Performance> list, cudnnStatus_t status) {
      // A shape or layout that this cuDNN doesn't know is no error: we have another way.
      if (status != CUDNN_STATUS_SUCCESS) return;
      list.resize(std::size_t(found));
      const Performance* best = choose(list, kLimit);
      if (best == nullptr) return;
      algorithm = int(best->algo);
      scratch = best->memory;
    };
    if (pass == ConvPass::kForward) {
      std::vector<cudnnConvolutionFwdAlgoPerf_t> list(kCandidates);
      const auto status = lib.cudnnGetConvolutionForwardAlgorithm_v7(
          handle, x, weight, convolution, y, kCandidates, &found, list.data());
      pick(list, status);
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
};

using Key = std::tuple<int, ConvPass, cudnnDataType_t, int, int, int, int, int, int, int>;
using Plans = PlanStore<cudnnHandle_t, Key, Plan>;

// Both while the store's mutex is held.

cudnnHandle_t handle_of_gpu() {
  return Plans::instance().handle(current_gpu(), [](cudnnHandle_t* handle) {
    HH_CUDNN_CHECK(Cudnn::instance().cudnnCreate(handle));
  });
}

const Plan& plan_of(ConvPass pass, const Conv2dShape& s, cudnnDataType_t type) {
  const Key key(current_gpu(), pass, type, s.images, s.height, s.width, s.in_channels,
                s.out_channels, s.kernel_h, s.kernel_w);
  return Plans::instance().find(
      key, [&] { return Plan(Cudnn::instance(), handle_of_gpu(), pass, s, type); });
}

}  // namespace

const std::string& cudnn_missing() { return Cudnn::instance().missing; }

template <class T>
bool cudnn_takes(ConvPass pass, const Conv2dShape& s) {
  if (!cudnn_missing().empty() || s.images == 0) return false;
  if (pass == ConvPass::kBackwardWeight && !std::is_same_v<T, float>) return false;
  const std::scoped_lock lock(Plans::instance().mutex);
  return plan_of(pass, s, kType<T>).algorithm >= 0;
}

template <class T>
std::size_t cudnn_workspace_bytes(ConvPass pass, const Conv2dShape& s) {
  const std::scoped_lock lock(Plans::instance().mutex);
  return plan_of(pass, s, kType<T>).scratch;
}

template <class T>
void cudnn_convolve(ConvPass pass, const Conv2dShape& s, const T* left, const T* right, T* to,
                    void* scratch, StreamHandle stream) {
  const Cudnn& lib = Cudnn::instance();
  const std::scoped_lock lock(Plans::instance().mutex);  // the handle's stream is set for the call
  const Plan& plan = plan_of(pass, s, kType<T>);
  const cudnnHandle_t handle = handle_of_gpu();
  HH_CUDNN_CHECK(lib.cudnnSetStream(handle, stream));
  const float one = 1, zero = 0;
  if (pass == ConvPass::kForward) {
    HH_CUDNN_CHECK(lib.cudnnConvolutionForward(
        handle, &one, plan.x, left, plan.weight, right, plan.convolution,
        cudnnConvolutionFwdAlgo_t(plan.algorithm), scratch, plan.scratch, &zero, plan.y, to));
  } else if (pass == ConvPass::kBackwardInput) {
    HH_CUDNN_CHECK(lib.cudnnConvolutionBackwardData(
        handle, &one, plan.weight, right, plan.y, left, plan.convolution,
        cudnnConvolutionBwdDataAlgo_t(plan.algorithm), scratch, plan.scratch, &zero, plan.x, to));
  } else {
    HH_CUDNN_CHECK(lib.cudnnConvolutionBackwardFilter(
        handle, &one, plan.x, left, plan.y, right, plan.convolution,
        cudnnConvolutionBwdFilterAlgo_t(plan.algorithm), scratch, plan.scratch, &zero, plan.weight,
        to));
  }
}

#else  // built without cuDNN's header

const std::string& cudnn_missing() {
  static const std::string why = "this build had no cudnn.h; convolutions are matrix products";
  return why;
}
template <class T>
bool cudnn_takes(ConvPass, const Conv2dShape&) {
  return false;
}
template <class T>
std::size_t cudnn_workspace_bytes(ConvPass, const Conv2dShape&) {
  return 0;
}
template <class T>
void cudnn_convolve(ConvPass, const Conv2dShape&, const T*, const T*, T*, void*, StreamHandle) {
  throw DeviceError(cudnn_missing());
}

#endif

#define HH_CUDNN_OF(T)                                                                      \
  template bool cudnn_takes<T>(ConvPass, const Conv2dShape&);                               \
  template std::size_t cudnn_workspace_bytes<T>(ConvPass, const Conv2dShape&);              \
  template void cudnn_convolve(ConvPass, const Conv2dShape&, const T*, const T*, T*, void*, \
                               StreamHandle);
HH_CUDNN_OF(float)
HH_CUDNN_OF(bf16)
HH_CUDNN_OF(f16)
#undef HH_CUDNN_OF

}  // namespace hh::gpu
