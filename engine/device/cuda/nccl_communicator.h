// SPDX-License-Identifier: Apache-2.0
// Ranks on GPUs, one each, by NCCL.
#pragma once
#include <atomic>
#include <mutex>
#include <thread>

#include "engine/device/cuda/nccl.h"
#include "engine/device/cuda/use_gpu.h"
#include "engine/distributed/communicator.h"
#include "engine/distributed/gpu_ranks.h"

namespace hh {

class NcclCommunicator final : public Communicator {
 public:
  /// Meets the others. Throws DeviceUnavailable (no NCCL) and DeviceError.
  explicit NcclCommunicator(const GpuRank& rank);
  ~NcclCommunicator() override;

  std::string name() const override;
  [[noreturn]] void abort(int status) noexcept override;
  void limit_wait(double seconds) override;

 private:
  using Clock = std::chrono::steady_clock;

  void queue_all_gather(const void* in, void* out, std::size_t bytes) override;
  void queue_all_gather(void* data, std::span<const Part> parts) override;
  void queue_all_to_all(const void* data, void* out, std::span<const Part> parts) override;
  void queue_all_reduce(void* data, std::size_t count, Reduction reduction) override;
  void queue_broadcast(void* data, std::size_t bytes, int root) override;
  void wait_for_all() override;

  /// After something was queued: unless the last one watched is still under way, this one is.
  void watch();
  /// All that is queued by now is watched. With mutex_ held.
  void watch_all();
  /// Of the watch thread: whether the watched one is late, or NCCL has seen an error.
  void check_others();
  [[noreturn]] void give_up(const std::string& why) noexcept;

  const Nccl& nccl_;
  const int index_;
  const cudaStream_t stream_;
  ncclComm_t communicator_ = nullptr;
  void* token_ = nullptr;  // device memory of 8 bytes, for the barrier

  std::mutex mutex_;
  cudaEvent_t watched_ = nullptr;
  bool pending_ = false;  // whether watched_ has been recorded and not been seen to be done
  bool behind_ = false;   // whether something was queued behind what is watched
  Clock::time_point since_;
  double limit_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread watcher_;
};

}  // namespace hh
