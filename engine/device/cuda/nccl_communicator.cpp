// SPDX-License-Identifier: Apache-2.0
#include "engine/device/cuda/nccl_communicator.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "engine/distributed/interface_identity.h"
#include "kernels/core/cuda_check.h"

namespace hh {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(100);  // of the watch
constexpr int kOthersGone = 4;                              // exit status

std::byte* at(void* data, std::size_t offset) { return static_cast<std::byte*>(data) + offset; }
const std::byte* at(const void* data, std::size_t offset) {
  return static_cast<const std::byte*>(data) + offset;
}

}  // namespace

#define HH_NCCL_CHECK(function, ...) nccl_.check(nccl_.function(__VA_ARGS__), #function)

NcclCommunicator::NcclCommunicator(const GpuRank& rank)
    : Communicator({rank.rank, rank.size, rank.local_rank, rank.local_size},
                   {DeviceKind::kCuda, rank.index}),
      nccl_(Nccl::instance()),
      index_(rank.index),
      stream_(rank.stream) {
  const UseGpu current(index_);
  ncclUniqueId id;
  static_assert(sizeof id == sizeof rank.meeting);
  std::memcpy(&id, rank.meeting.data(), sizeof id);
  HH_NCCL_CHECK(ncclCommInitRank, &communicator_, rank.size, id, rank.rank);
  HH_CUDA_CHECK(cudaMalloc(&token_, sizeof(std::int64_t)));
  HH_CUDA_CHECK(cudaMemsetAsync(token_, 0, sizeof(std::int64_t), stream_));
  HH_CUDA_CHECK(cudaEventCreateWithFlags(&watched_, cudaEventDisableTiming));
}

NcclCommunicator::~NcclCommunicator() {
  stop_ = true;
  if (watcher_.joinable()) watcher_.join();
  const UseGpu current(index_);
  cudaStreamSynchronize(stream_);
  nccl_.ncclCommDestroy(communicator_);
  cudaEventDestroy(watched_);
  cudaFree(token_);
}

std::string NcclCommunicator::name() const {
  int version = 0;
  HH_NCCL_CHECK(ncclGetVersion, &version);
  // 22809 is 2.28.9.
  return "NCCL " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) +
         "." + std::to_string(version % 100);
}

void NcclCommunicator::abort(int status) noexcept {
  nccl_.ncclCommAbort(communicator_);
  std::_Exit(status);
}

void NcclCommunicator::queue_all_gather(const void* in, void* out, std::size_t bytes) {
  const UseGpu current(index_);
  HH_NCCL_CHECK(ncclAllGather, in, out, bytes, ncclInt8, communicator_, stream_);
  watch();
}

void NcclCommunicator::queue_all_gather(void* data, std::span<const Part> parts) {
  const UseGpu current(index_);
  HH_NCCL_CHECK(ncclGroupStart);
  for (int r = 0; r < size(); ++r) {
    const Part& part = parts[std::size_t(r)];
    if (part.bytes == 0) continue;
    HH_NCCL_CHECK(ncclBroadcast, at(data, part.begin), at(data, part.begin), part.bytes, ncclInt8,
                  r, communicator_, stream_);
  }
  HH_NCCL_CHECK(ncclGroupEnd);
  watch();
}

void NcclCommunicator::queue_all_to_all(const void* data, void* out, std::span<const Part> parts) {
  const UseGpu current(index_);
  const std::size_t own = parts[std::size_t(rank())].bytes;
  HH_NCCL_CHECK(ncclGroupStart);
  for (int r = 0; r < size(); ++r) {
    const Part& part = parts[std::size_t(r)];
    if (part.bytes != 0) {
      HH_NCCL_CHECK(ncclSend, at(data, part.begin), part.bytes, ncclInt8, r, communicator_,
                    stream_);
    }
    if (own != 0) {
      HH_NCCL_CHECK(ncclRecv, at(out, std::size_t(r) * own), own, ncclInt8, r, communicator_,
                    stream_);
    }
  }
  HH_NCCL_CHECK(ncclGroupEnd);
  watch();
}

void NcclCommunicator::queue_all_reduce(void* data, std::size_t count, Reduction reduction) {
  const UseGpu current(index_);
  HH_NCCL_CHECK(ncclAllReduce, data, data, count,
                reduction == Reduction::kSumF64 ? ncclDouble : ncclInt64,
                reduction == Reduction::kMaxI64 ? ncclMax : ncclSum, communicator_, stream_);
  watch();
}

void NcclCommunicator::queue_broadcast(void* data, std::size_t bytes, int root) {
  const UseGpu current(index_);
  HH_NCCL_CHECK(ncclBroadcast, data, data, bytes, ncclInt8, root, communicator_, stream_);
  watch();
}

void NcclCommunicator::wait_for_all() {
  const UseGpu current(index_);
  HH_NCCL_CHECK(ncclAllReduce, token_, token_, 1, ncclInt64, ncclMax, communicator_, stream_);
  watch();
  HH_CUDA_CHECK(cudaStreamSynchronize(stream_));
}

void NcclCommunicator::watch() {
  const std::scoped_lock lock(mutex_);
  behind_ = pending_ && cudaEventQuery(watched_) == cudaErrorNotReady;
  if (!behind_) watch_all();
}

void NcclCommunicator::watch_all() {
  HH_CUDA_CHECK(cudaEventRecord(watched_, stream_));
  since_ = Clock::now();
  pending_ = true;
  behind_ = false;
}

void NcclCommunicator::limit_wait(double seconds) {
  {
    const std::scoped_lock lock(mutex_);
    limit_ = seconds;
    since_ = Clock::now();
  }
  if (watcher_.joinable()) return;
  watcher_ = std::thread([this] {
    cudaSetDevice(index_);
    while (!stop_) {
      std::this_thread::sleep_for(kInterval);
      check_others();
    }
  });
}

void NcclCommunicator::check_others() {
  ncclResult_t state = ncclSuccess;
  nccl_.ncclCommGetAsyncError(communicator_, &state);
  if (state != ncclSuccess && state != ncclInProgress) {
    give_up(std::string("another rank is gone (") + nccl_.ncclGetErrorString(state) + ")");
  }
  const std::scoped_lock lock(mutex_);
  if (!pending_) return;
  if (cudaEventQuery(watched_) != cudaErrorNotReady) {
    pending_ = false;
    // This process may wait for those by now, and queue nothing more.
    if (behind_) watch_all();
    return;
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - since_).count();
  if (seconds > limit_) {
    give_up("the other ranks haven't answered for " + std::to_string(int(seconds)) +
            " s (train.timeout_s)");
  }
}

void NcclCommunicator::give_up(const std::string& why) noexcept {
  std::fprintf(stderr, "hybridhash: rank %d: %s: start again with --resume\n", rank(), why.c_str());
  abort(kOthersGone);
}

}  // namespace hh

extern "C" __attribute__((visibility("default"))) void hh_make_gpu_meeting(
    hh::GpuMeeting& meeting) {
  const hh::Nccl& nccl = hh::Nccl::instance();
  ncclUniqueId id;
  nccl.check(nccl.ncclGetUniqueId(&id), "ncclGetUniqueId");
  std::memcpy(meeting.data(), &id, sizeof id);
}

extern "C" __attribute__((visibility("default"))) hh::Communicator* hh_create_gpu_communicator(
    const hh::GpuRank& rank) {
  return new hh::NcclCommunicator(rank);
}

extern "C" __attribute__((visibility("default"))) std::uint64_t hh_gpu_communicator_identity() {
  return hh::kCommunicatorIdentity;
}
