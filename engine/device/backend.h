// SPDX-License-Identifier: Apache-2.0
// What the engine needs of a device: raw memory, copies in stream order, and its kernels. The CPU's
// is built in; the GPU's comes from the shared library libhh_cuda.so, so that one program also
// starts on machines without CUDA.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/device/device.h"
#include "engine/device/profiler.h"

namespace hh {

struct KernelTable;  // kernel_table.h

/// The device has no more memory. what() states the request, what is in use, and the cure.
struct OutOfMemory : DeviceError {
  using DeviceError::DeviceError;
};

/// Launches and copies recorded once, run again with one call to the driver.
class LaunchGraph {
 public:
  virtual ~LaunchGraph() = default;
  /// Queues them all on the backend's stream.
  virtual void replay() = 0;
};

/// A float on its way to the host.
class PendingFloat {
 public:
  virtual ~PendingFloat() = default;
  /// Waits for it, not for what was queued after it.
  virtual float wait() = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  /// 64-byte aligned memory of the driver or the C library. Throws OutOfMemory.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  /// Queued on stream(), in order with the kernels. Host memory is pageable: a copy from it has
  /// been read when the call returns, a copy to it is complete when synchronize() returns.
  void copy_from_host(void* to, const void* from, std::size_t bytes);
  void copy_to_host(void* to, const void* from, std::size_t bytes);
  /// Reads the float at `value` in stream order. The result must not outlive the backend.
  std::unique_ptr<PendingFloat> read_later(const float* value);
  void copy_within(void* to, const void* from, std::size_t bytes);
  void zero(void* memory, std::size_t bytes);
  /// For a device that is nearly full: kernels ask for less scratch memory from now on, and their sums
  /// may differ in the last bits. False: they can't do with less, or do so already.
  virtual bool use_less_scratch() = 0;
  /// Records what `work` queues on stream(), without running it. `work` must not copy from or to
  /// the host, nor wait; what it throws is passed on. Null where the device can't record: then
  /// nothing has been queued.
  virtual std::unique_ptr<LaunchGraph> record(const std::function<void()>& work) = 0;
  /// Whether `work` of record() runs now: then nothing may wait for the device.
  virtual bool recording() const = 0;
  /// Waits for everything queued.
  virtual void synchronize() = 0;
  virtual StreamHandle stream() = 0;
  /// To be run while a UseDevice names this backend.
  virtual const KernelTable& kernels() const = 0;
  /// The processor's name, for people.
  virtual std::string name() const = 0;
  /// What it runs of our kernels, for people.
  virtual std::string machine_code() const = 0;
  /// Times what is queued on stream(). Null where queued work is done at once: the host times it.
  virtual std::unique_ptr<DeviceTimeline> timeline() = 0;

 private:
  friend class UseDevice;
  /// Makes the device the calling thread's, and tells which was: CUDA keeps one for each thread.
  virtual int make_current() = 0;
  virtual void restore_current(int before) noexcept = 0;
  // The copies above, which a profiler times.
  virtual void queue_copy_from_host(void* to, const void* from, std::size_t bytes) = 0;
  virtual void queue_copy_to_host(void* to, const void* from, std::size_t bytes) = 0;
  virtual std::unique_ptr<PendingFloat> queue_read(const float* value) = 0;
  virtual void queue_copy_within(void* to, const void* from, std::size_t bytes) = 0;
  virtual void queue_zero(void* memory, std::size_t bytes) = 0;
};

/// Kernels of the calling thread run on this backend's device for its own lifetime.
class UseDevice {
 public:
  explicit UseDevice(Backend& backend) : backend_(backend), before_(backend.make_current()) {}
  ~UseDevice() { backend_.restore_current(before_); }
  UseDevice(const UseDevice&) = delete;
  UseDevice& operator=(const UseDevice&) = delete;

 private:
  Backend& backend_;
  int before_;
};

/// The device's backend, made on first use. Throws DeviceUnavailable.
Backend& backend(Device device);

/// What libhh_cuda.so exports under this name: its backend for GPU `index`, which the caller
/// deletes. Throws DeviceUnavailable.
using CreateCudaBackend = Backend*(int index);
inline constexpr const char* kCudaLibrary = "libhh_cuda.so";
inline constexpr const char* kCreateCudaBackend = "hh_create_cuda_backend";

/// Also exported: its build_identity() (kernel_table.h).
using CudaBuildIdentity = std::uint64_t();
inline constexpr const char* kCudaBuildIdentity = "hh_cuda_build_identity";

/// Also exported: what a user should know of an optional library that is missing, with the cure;
/// empty when nothing is.
using CudaNote = const char*();
inline constexpr const char* kCudaNote = "hh_cuda_note";

}  // namespace hh
