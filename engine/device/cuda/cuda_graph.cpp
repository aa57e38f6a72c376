// SPDX-License-Identifier: Apache-2.0
// Recording a stream into a CUDA graph.
#include <utility>

#include "engine/device/cuda/cuda_backend.h"
#include "kernels/core/cuda_check.h"

namespace hh {
namespace {

class CudaGraph final : public LaunchGraph {
 public:
  CudaGraph(int gpu, cudaGraphExec_t ready, cudaStream_t stream)
      : gpu_(gpu), ready_(ready), stream_(stream) {}
  ~CudaGraph() override { cudaGraphExecDestroy(ready_); }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;
  void replay() override {
    const UseGpu current(gpu_);
    HH_CUDA_CHECK(cudaGraphLaunch(ready_, stream_));
  }

 private:
  int gpu_;
  cudaGraphExec_t ready_;
  cudaStream_t stream_;
};

}  // namespace

std::unique_ptr<LaunchGraph> CudaBackend::record(const std::function<void()>& work) {
#ifdef HH_SYNC_LAUNCHES
  return nullptr;  // each launch is waited for, which a capture forbids
#endif
  const UseGpu current(index_);
  // Relaxed: the allocator may ask the driver for memory meanwhile, which isn't part of the graph.
  if (cudaStreamBeginCapture(stream_.handle, cudaStreamCaptureModeRelaxed) != cudaSuccess) {
    cudaGetLastError();
    return nullptr;
  }
  cudaGraph_t graph = nullptr;
  recording_ = true;
  try {
    work();
    recording_ = false;
  } catch (...) {
    recording_ = false;
    if (cudaStreamEndCapture(stream_.handle, &graph) == cudaSuccess) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  cudaGraphExec_t ready = nullptr;
  const bool recorded = cudaStreamEndCapture(stream_.handle, &graph) == cudaSuccess &&
                        cudaGraphInstantiate(&ready, graph, 0) == cudaSuccess;
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (recorded) return std::make_unique<CudaGraph>(index_, ready, stream_.handle);
  cudaGetLastError();
  return nullptr;
}

}  // namespace hh
