// SPDX-License-Identifier: Apache-2.0
#include "engine/distributed/communicator.h"

#include <algorithm>
#include <limits>

#include "engine/device/backend.h"
#include "engine/device/profiler.h"
#include "engine/tensor/tensor.h"

namespace hh {
namespace {

/// What a message may hold: MPI counts in ints.
void check_bytes(std::size_t bytes) {
  HH_REQUIRE(bytes <= std::size_t(std::numeric_limits<std::int32_t>::max()),
             "a message of " << bytes
                             << " bytes to the other ranks: 2 GiB - 1 is the most; use a smaller "
                                "batch or network");
}

void check_parts(std::span<const Part> parts, int size) {
  HH_PRECONDITION(parts.size() == std::size_t(size), parts.size()
                                                         << " parts for " << size << " ranks");
  for (const Part& part : parts) check_bytes(part.begin + part.bytes);
}

class SingleRank final : public Communicator {
 public:
  SingleRank() : Communicator({}, kCpu) {}
  std::string name() const override { return "one process"; }
  void abort(int status) noexcept override { std::_Exit(status); }

 private:
  void queue_all_gather(const void*, void*, std::size_t) override {}
  void queue_all_gather(void*, std::span<const Part>) override {}
  void queue_all_to_all(const void*, void*, std::span<const Part>) override {}
  void queue_all_reduce(void*, std::size_t, Reduction) override {}
  void queue_broadcast(void*, std::size_t, int) override {}
  void wait_for_all() override {}
};

}  // namespace

void Communicator::all_gather(const void* in, void* out, std::size_t bytes) {
  check_bytes(bytes);
  if (bytes == 0) return;
  if (size() == 1) {
    if (in != out) backend(device_).copy_within(out, in, bytes);
    return;
  }
  const ProfileLaunch timed(backend(device_).stream(), "all_gather", bytes * std::size_t(size()));
  queue_all_gather(in, out, bytes);
}

void Communicator::all_gather(void* data, std::span<const Part> parts) {
  check_parts(parts, size());
  if (size() == 1) return;
  std::size_t bytes = 0;
  for (const Part& part : parts) bytes += part.bytes;
  const ProfileLaunch timed(backend(device_).stream(), "all_gather", bytes);
  queue_all_gather(data, parts);
}

void Communicator::all_to_all(const void* data, void* out, std::span<const Part> parts) {
  check_parts(parts, size());
  const Part& own = parts[std::size_t(rank())];
  if (size() == 1) {
    const auto* from = static_cast<const std::byte*>(data) + own.begin;
    return backend(device_).copy_within(out, from, own.bytes);
  }
  std::size_t bytes = 0;
  for (const Part& part : parts) bytes += part.bytes;
  const ProfileLaunch timed(backend(device_).stream(), "all_to_all", bytes);
  queue_all_to_all(data, out, parts);
}

void Communicator::all_reduce(void* data, std::size_t count, Reduction reduction) {
  check_bytes(count * sizeof(std::int64_t));
  if (size() == 1 || count == 0) return;
  const ProfileLaunch timed(backend(device_).stream(), "all_reduce", count * sizeof(std::int64_t));
  queue_all_reduce(data, count, reduction);
}

void Communicator::broadcast(void* data, std::size_t bytes, int root) {
  HH_PRECONDITION(root >= 0 && root < size(), "a broadcast of rank " << root << " of " << size());
  check_bytes(bytes);
  if (size() == 1 || bytes == 0) return;
  const ProfileLaunch timed(backend(device_).stream(), "broadcast", bytes);
  queue_broadcast(data, bytes, root);
}

void Communicator::barrier() {
  if (size() > 1) wait_for_all();
}

std::vector<std::int64_t> Communicator::gather(std::span<const std::int64_t> values) {
  if (size() == 1) return {values.begin(), values.end()};
  const auto count = std::int64_t(values.size());
  const Tensor own = Tensor::from(values, {count}, device_);
  const Tensor all({std::int64_t{size()} * count}, DType::i64, device_);
  all_gather(own.raw(), all.raw(), own.bytes());
  return all.to_host<std::int64_t>();
}

std::vector<std::vector<std::byte>> Communicator::gather(std::span<const std::byte> bytes) {
  if (size() == 1) return {{bytes.begin(), bytes.end()}};
  const auto own_bytes = std::int64_t(bytes.size());
  const std::vector<std::int64_t> counts = gather(std::span(&own_bytes, 1));
  const std::int64_t most = *std::max_element(counts.begin(), counts.end());
  if (most == 0) return std::vector<std::vector<std::byte>>(counts.size());
  std::vector<std::uint8_t> padded(std::size_t(most), 0);
  std::transform(bytes.begin(), bytes.end(), padded.begin(),
                 [](std::byte b) { return std::uint8_t(b); });
  const Tensor own = Tensor::from(padded, {most}, device_);
  const Tensor all({std::int64_t{size()} * most}, DType::u8, device_);
  all_gather(own.raw(), all.raw(), own.bytes());
  const std::vector<std::uint8_t> values = all.to_host<std::uint8_t>();
  std::vector<std::vector<std::byte>> result;
  for (std::size_t r = 0; r < counts.size(); ++r) {
    const auto row = std::as_bytes(std::span(values).subspan(r * std::size_t(most)));
    result.emplace_back(row.begin(), row.begin() + std::ptrdiff_t(counts[r]));
  }
  return result;
}

std::int64_t Communicator::largest(std::int64_t value) {
  const std::vector<std::int64_t> values = gather(std::span<const std::int64_t>(&value, 1));
  return *std::max_element(values.begin(), values.end());
}

Communicator& single_rank() {
  static SingleRank alone;
  return alone;
}

}  // namespace hh
