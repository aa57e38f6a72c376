// SPDX-License-Identifier: Apache-2.0
// Times cuBLASLt's algorithms for products that are new, where the program keeps such times.
#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <vector>

#include "engine/device/tuning/product_choices.h"
#include "kernels/core/cuda_check.h"
#include "kernels/gemm/algorithm_choice.cuh"

namespace hh {
namespace {

constexpr int kRounds = 5;         // the least of them counts: what else runs only adds
constexpr double kRoundUs = 200;   // as many launches between two events as fill this,
constexpr int kMostLaunches = 20;  // but no more
constexpr double kHopeless = 1.5;  // times the best: not run again

/// Device memory; null when there is none left.
struct Scratch {
  explicit Scratch(std::size_t bytes) {
    if (bytes != 0 && cudaMalloc(&data, bytes) != cudaSuccess) {
      cudaGetLastError();
      data = nullptr;
    }
  }
  ~Scratch() { cudaFree(data); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* data = nullptr;
};

struct Events {
  Events() {
    HH_CUDA_CHECK(cudaEventCreate(&begin));
    HH_CUDA_CHECK(cudaEventCreate(&end));
  }
  ~Events() {
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
  }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;
  cudaEvent_t begin = nullptr, end = nullptr;
};

/// Microseconds of each algorithm, into outputs of its own; nothing when there is no memory for them.
std::vector<double> time_us(const gpu::GemmProposal& p) {
  const Scratch d(p.d_bytes), sums(p.sums_bytes);
  if (d.data == nullptr || (sums.data == nullptr && p.sums_bytes != 0)) return {};
  HH_CUDA_CHECK(cudaMemsetAsync(d.data, 0, p.d_bytes, p.stream));  // it may be added to
  const Events events;
  const auto run_us = [&](std::size_t i, int launches) {
    HH_CUDA_CHECK(cudaEventRecord(events.begin, p.stream));
    bool ran = true;
    for (int n = 0; n < launches && ran; ++n) ran = p.run(i, d.data, sums.data);
    HH_CUDA_CHECK(cudaEventRecord(events.end, p.stream));
    HH_CUDA_CHECK(cudaEventSynchronize(events.end));
    float ms = 0;
    HH_CUDA_CHECK(cudaEventElapsedTime(&ms, events.begin, events.end));
    return ran ? std::max(1e3 * double(ms) / launches, 1e-3) : 0;
  };
  std::vector<double> best(p.algorithms.size(), 0);
  double least = 0;
  for (std::size_t i = 0; i < best.size(); ++i) {
    if (run_us(i, 1) == 0) continue;  // its code is loaded by the first run
    best[i] = run_us(i, 1);
    if (best[i] > 0 && (least == 0 || best[i] < least)) least = best[i];
  }
  // In turns, so that a clock that changes meanwhile favours none.
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < best.size(); ++i) {
      if (best[i] == 0 || best[i] > kHopeless * least) continue;
      const int launches = std::clamp(int(kRoundUs / least), 1, kMostLaunches);
      const double us = run_us(i, launches);
      if (us > 0) best[i] = std::min(best[i], us);
    }
    for (const double us : best) {
      if (us > 0) least = std::min(least, us);
    }
  }
  return best;
}

ProductLibrary library_of_current_gpu() {
  int device = 0;
  cudaDeviceProp properties{};
  ProductLibrary library{.version = cublasLtGetVersion()};
  HH_CUDA_CHECK(cudaGetDevice(&device));
  HH_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
  HH_CUDA_CHECK(cudaDriverGetVersion(&library.driver));
  library.gpu = properties.name;
  return library;
}

/// While a stream is captured nothing may wait for it.
bool captured(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  HH_CUDA_CHECK(cudaStreamIsCapturing(stream, &status));
  return status != cudaStreamCaptureStatusNone;
}

std::atomic<ProductChoices*> choices = nullptr;

std::size_t choose(const gpu::GemmProposal& p) {
  // What is queued may wait for another rank, as NCCL does on this stream, and that rank for the folder's
  // lock: not while we hold it.
  if (!captured(p.stream)) HH_CUDA_CHECK(cudaStreamSynchronize(p.stream));
  const auto time = [&p] { return time_us(p); };
  return choices.load()->choose(library_of_current_gpu(), p.product,
                                {p.algorithms.begin(), p.algorithms.end()},
                                captured(p.stream) ? std::function<std::vector<double>()>() : time);
}

}  // namespace
}  // namespace hh

extern "C" __attribute__((visibility("default"))) void hh_set_product_choices(
    hh::ProductChoices* choices) {
  hh::choices = choices;
  hh::gpu::set_algorithm_choice(choices == nullptr ? nullptr : hh::choose);
}
