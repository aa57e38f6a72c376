// SPDX-License-Identifier: Apache-2.0
// One test body for every device: arrays with guards around them, and kernels found in the device's
// table, so a test names neither cpu:: nor gpu::.
#pragma once
#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/device/backend.h"
#include "engine/device/kernel_table.h"
#include "tests/support/variants.h"

namespace Catch {
template <>
struct StringMaker<hh::Device> {
  static std::string convert(const hh::Device& device) { return hh::to_string(device); }
};
}  // namespace Catch

namespace hh::testing {

/// What HH_TEST_DEVICES lists ("cpu", "cuda", "cpu,cuda"); the CPU when it isn't set.
std::vector<Device> devices();

/// Those of them that have kernels for activations of type T: the CPU has none in f16.
template <class T>
std::vector<Device> devices_of() {
  std::vector<Device> list = devices();
  if constexpr (std::is_same_v<T, f16>) std::erase(list, kCpu);
  return list;
}

/// Device memory with kGuard bytes on both sides, which nothing may change.
class GuardedBytes {
 public:
  GuardedBytes(Device device, std::size_t bytes);
  ~GuardedBytes();
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;

  std::byte* data() const { return memory_ + kGuard; }
  void write(const void* from) const;
  void fill(std::byte value) const;
  /// Waits for the device and fails the test when a guard has changed.
  void look_at_guards() const;
  /// Waits for the device, fails the test when a guard has changed, and copies the bytes.
  void read(void* to) const;

 private:
  /// Keeps the alignment that GPU memory has and cuBLASLt demands of its workspace.
  static constexpr std::size_t kGuard = 256;
  Device device_;
  std::size_t bytes_;
  std::byte* memory_;
};

/// Values on a device. Copies share the memory.
template <class T>
class Array {
 public:
  Array(Device device, const std::vector<T>& values)
      : count_(values.size()),
        bytes_(std::make_shared<GuardedBytes>(device, values.size() * sizeof(T))) {
    bytes_->write(values.data());
  }
  T* data() const { return reinterpret_cast<T*>(bytes_->data()); }
  std::vector<T> host() const {
    std::vector<T> values(count_);
    bytes_->read(values.data());
    return values;
  }

 private:
  std::size_t count_;
  std::shared_ptr<GuardedBytes> bytes_;
};

/// Memory full of NaN bytes, guarded; null for none.
inline std::unique_ptr<GuardedBytes> scratch(Device device, std::size_t bytes) {
  if (bytes == 0) return nullptr;
  auto memory = std::make_unique<GuardedBytes>(device, bytes);
  memory->fill(std::byte{0xff});
  return memory;
}

/// Runs the device's kernel for `args`, or another version of it (variants.h), and waits. Its workspace is exactly as large as it asked
/// for, full of NaN bytes, and guarded.
template <class Args>
void run(Device device, Args args) {
  Backend& on = backend(device);
  const UseDevice current(on);
  const Kernel<Args> kernel = kernel_under_test(device, on.kernels().of<Args>());
  std::unique_ptr<GuardedBytes> workspace;
  if constexpr (requires { args.workspace; }) {
    workspace = scratch(device, kernel.workspace_bytes ? kernel.workspace_bytes(args) : 0);
    if (workspace) args.workspace = workspace->data();
  }
  kernel.run(args, on.stream());
  on.synchronize();
  if (workspace) workspace->look_at_guards();
}

}  // namespace hh::testing
