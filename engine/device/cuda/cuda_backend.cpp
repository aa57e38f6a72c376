// SPDX-License-Identifier: Apache-2.0
#include "engine/device/cuda/cuda_backend.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "engine/device/cuda/machine_code.h"
#include "engine/device/cuda/timeline.h"
#include "kernels/conv/cudnn.cuh"
#include "kernels/core/cuda_check.h"
#include "kernels/gemm/gemm.cuh"

namespace hh {
namespace {

constexpr int kOldestMajor = 8;  // our kernels use mma.sync, ldmatrix and cp.async of sm_80

/// Rounded up: no more than that was asked for.
std::string mebibytes(std::size_t bytes) {
  return std::to_string((bytes + (std::size_t{1} << 20) - 1) >> 20) + " MiB";
}

/// Of a GPU that is here: in use by another program that has it for itself, broken, or full.
DeviceUnavailable unusable(int index, cudaError_t why) {
  return DeviceUnavailable("GPU " + std::to_string(index) + " can't be used (" +
                           cudaGetErrorString(why) +
                           "); see what nvidia-smi says of it, or use --device cpu");
}

cudaStream_t new_stream() {
  cudaStream_t stream = nullptr;
  HH_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}

}  // namespace

int CudaBackend::usable(int index) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    throw DeviceUnavailable(
        "no NVIDIA driver here, or one older than CUDA 13 needs; install or update it, or use "
        "--device cpu");
  }
  if (status != cudaSuccess || count == 0) {
    throw DeviceUnavailable(
        std::string("no usable NVIDIA GPU here (") +
        (count == 0 && status == cudaSuccess ? "none found" : cudaGetErrorString(status)) +
        "); use --device cpu");
  }
  if (index >= count) {
    throw DeviceUnavailable("GPU " + std::to_string(index) + " of " + std::to_string(count) +
                            ": use cuda:0 to cuda:" + std::to_string(count - 1));
  }
  cudaDeviceProp properties{};
  HH_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  if (properties.major < kOldestMajor) {
    throw DeviceUnavailable(std::string(properties.name) + " has compute capability " +
                            std::to_string(properties.major) + "." +
                            std::to_string(properties.minor) +
                            ", but 8.0 is the least our kernels run on; use --device cpu");
  }
  return index;
}

CudaBackend::CudaBackend(const UseGpu& in_use)
    : index_(in_use.index()),
      stream_{new_stream()},
      uploads_(stream_.handle),
      readbacks_(stream_.handle) {}

CudaBackend::~CudaBackend() { cudaStreamSynchronize(stream_.handle); }

int CudaBackend::make_current() { return UseGpu::enter(index_); }
void CudaBackend::restore_current(int before) noexcept { UseGpu::leave(index_, before); }

void* CudaBackend::allocate(std::size_t bytes) {
  const UseGpu current(index_);
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, std::max<std::size_t>(bytes, 1));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // it isn't sticky, but the next check would report it
    std::size_t free = 0, total = 0;
    HH_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    throw OutOfMemory("out of memory on the GPU: " + mebibytes(bytes) + " asked for, " +
                      mebibytes(free) + " free of " + mebibytes(total) +
                      "; use a smaller batch, train.recompute or bf16");
  }
  gpu::check(status, "cudaMalloc");
  return memory;
}

void CudaBackend::release(void* memory) noexcept { cudaFree(memory); }  // of whichever GPU

bool CudaBackend::use_less_scratch() { return gpu::use_no_gemm_workspace(); }

void CudaBackend::queue_copy_from_host(void* to, const void* from, std::size_t bytes) {
  uploads_.copy(to, from, bytes);
}

void CudaBackend::queue_copy_to_host(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  HH_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_.handle));
}

std::unique_ptr<PendingFloat> CudaBackend::queue_read(const float* value) {
  return readbacks_.read(value);
}

void CudaBackend::queue_copy_within(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  HH_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_.handle));
}

void CudaBackend::queue_zero(void* memory, std::size_t bytes) {
  if (bytes == 0) return;
  HH_CUDA_CHECK(cudaMemsetAsync(memory, 0, bytes, stream_.handle));
}

std::string CudaBackend::name() const {
  cudaDeviceProp properties{};
  HH_CUDA_CHECK(cudaGetDeviceProperties(&properties, index_));
  return properties.name;
}

std::string CudaBackend::machine_code() const {
  cudaDeviceProp properties{};
  HH_CUDA_CHECK(cudaGetDeviceProperties(&properties, index_));
  return machine_code_for(HH_CUDA_SASS, properties.major, properties.minor);
}

std::unique_ptr<DeviceTimeline> CudaBackend::timeline() {
  return std::make_unique<CudaTimeline>(index_, stream_.handle);
}

void CudaBackend::synchronize() { HH_CUDA_CHECK(cudaStreamSynchronize(stream_.handle)); }

}  // namespace hh

extern "C" __attribute__((visibility("default"))) hh::Backend* hh_create_cuda_backend(int index) {
  try {
    return new hh::CudaBackend(index);
  } catch (const hh::DeviceUnavailable&) {
    throw;
  } catch (const hh::DeviceError&) {
    throw hh::unusable(index, cudaGetLastError());
  }
}

extern "C" __attribute__((visibility("default"))) const char* hh_cuda_note() {
  const char* wish = std::getenv("HH_CUDNN");
  const bool unwanted = wish != nullptr && std::string(wish) == "0";
  return unwanted ? "" : hh::gpu::cudnn_missing().c_str();
}
