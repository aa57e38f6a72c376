// SPDX-License-Identifier: Apache-2.0
// What processes that train together say to each other. Each is a rank; all call the same function
// in the same order, and none goes on before it has what it needs of the others. Memory is the
// device's, and the work is in order with the kernels of its stream.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/device/device.h"

namespace hh {

/// Part of an array, in bytes.
struct Part {
  std::size_t begin = 0, bytes = 0;
};

enum class Reduction {
  kSumF64,  // in the library's order: not for what must have the same bits
  kSumI64,
  kMaxI64,
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return place_.rank; }  // 0 <= rank() < size()
  int size() const { return place_.size; }
  /// The same among the ranks of this machine.
  int local_rank() const { return place_.local_rank; }
  int local_size() const { return place_.local_size; }
  /// Whose memory the functions below take.
  Device device() const { return device_; }
  /// What carries the messages, for people.
  virtual std::string name() const = 0;

  /// out [size, bytes] = in [bytes] of each rank. `in` may be the own row of `out`. All of these
  /// throw std::invalid_argument for more than 2 GiB - 1 in one message.
  void all_gather(const void* in, void* out, std::size_t bytes);
  /// The same of parts of an array, in place: afterwards part r of `data` is rank r's on all.
  /// parts [size], the same on all ranks.
  void all_gather(void* data, std::span<const Part> parts);
  /// out [size, own bytes] = the part of each rank's `data` that is this rank's. parts [size].
  void all_to_all(const void* data, void* out, std::span<const Part> parts);
  /// data [count] of 8 bytes each becomes the reduction over the ranks.
  void all_reduce(void* data, std::size_t count, Reduction reduction);
  /// data [bytes] becomes `root`'s.
  void broadcast(void* data, std::size_t bytes, int root);
  /// Returns when all ranks have called it.
  void barrier();
  /// Ends all ranks at once, this one with `status`, without waiting for any.
  [[noreturn]] virtual void abort(int status) noexcept = 0;
  /// From now on this process ends, with status 4, when the others haven't answered for so long, or
  /// are gone. Where a launcher sees to that it does nothing.
  virtual void limit_wait(double /*seconds*/) {}

  // The same for values of the host; they wait for the device.

  /// [size] vectors: the bytes of each rank, which may be of different numbers.
  std::vector<std::vector<std::byte>> gather(std::span<const std::byte> bytes);
  /// [size, values]: the numbers of each rank, of which there are as many on all.
  std::vector<std::int64_t> gather(std::span<const std::int64_t> values);
  std::int64_t largest(std::int64_t value);

  /// All ranks know that they end, and why: leave_ranks() need not end the others.
  void end_together() { ends_together_ = true; }
  bool ends_together() const { return ends_together_; }

 protected:
  struct Place {
    int rank = 0, size = 1, local_rank = 0, local_size = 1;
  };
  Communicator(const Place& place, Device device) : place_(place), device_(device) {}

 private:
  // The functions above, which a profiler times. Never called with one rank alone.
  virtual void queue_all_gather(const void* in, void* out, std::size_t bytes) = 0;
  virtual void queue_all_gather(void* data, std::span<const Part> parts) = 0;
  virtual void queue_all_to_all(const void* data, void* out, std::span<const Part> parts) = 0;
  virtual void queue_all_reduce(void* data, std::size_t count, Reduction reduction) = 0;
  virtual void queue_broadcast(void* data, std::size_t bytes, int root) = 0;
  virtual void wait_for_all() = 0;

  Place place_;
  Device device_;
  bool ends_together_ = false;
};

/// A process alone: rank 0 of 1. What it gathers is what it gave.
Communicator& single_rank();

/// Another rank failed, and says why. What it ends has nothing to say.
struct OtherRankFailed {};

}  // namespace hh
