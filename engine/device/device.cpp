// SPDX-License-Identifier: Apache-2.0
#include "engine/device/device.h"

#include <dlfcn.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "engine/device/backend.h"
#include "engine/device/kernel_table.h"
#include "engine/device/memory.h"
#include "engine/device/tuning/tuning.h"
#include "engine/text/log.h"
#include "kernels/core/simd.h"

namespace hh {
namespace {

/// The CPU's work is done when it is queued.
class FloatAtHand final : public PendingFloat {
 public:
  explicit FloatAtHand(float value) : value_(value) {}
  float wait() override { return value_; }

 private:
  float value_;
};

class CpuBackend final : public Backend {
 public:
  void* allocate(std::size_t bytes) override {
    void* memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == nullptr) {
      throw OutOfMemory("out of memory: no " + std::to_string(bytes) +
                        " bytes of host memory; use a smaller batch");
    }
    return memory;
  }
  void release(void* memory) noexcept override { std::free(memory); }
  bool use_less_scratch() override { return false; }
  std::unique_ptr<LaunchGraph> record(const std::function<void()>&) override { return nullptr; }
  bool recording() const override { return false; }
  void synchronize() override {}
  StreamHandle stream() override { return nullptr; }
  const KernelTable& kernels() const override { return cpu_kernels(); }
  std::string name() const override {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("model name")) return line.substr(line.find(": ") + 2);
    }
    return "CPU";
  }
  std::string machine_code() const override { return "machine code for " + cpu::simd_in_use(); }
  std::unique_ptr<DeviceTimeline> timeline() override { return nullptr; }

 private:
  int make_current() override { return 0; }
  void restore_current(int) noexcept override {}
  void queue_copy_from_host(void* to, const void* from, std::size_t bytes) override {
    if (bytes != 0) std::memcpy(to, from, bytes);
  }
  void queue_copy_to_host(void* to, const void* from, std::size_t bytes) override {
    queue_copy_from_host(to, from, bytes);
  }
  std::unique_ptr<PendingFloat> queue_read(const float* value) override {
    return std::make_unique<FloatAtHand>(*value);
  }
  void queue_copy_within(void* to, const void* from, std::size_t bytes) override {
    queue_copy_from_host(to, from, bytes);
  }
  void queue_zero(void* memory, std::size_t bytes) override { std::memset(memory, 0, bytes); }
};

/// This program was built without GPUs, or moved away from its library.
struct NoCudaLibrary : DeviceUnavailable {
  using DeviceUnavailable::DeviceUnavailable;
};

Backend* create_cuda_backend(int index) {
  void* library = dlopen(kCudaLibrary, RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) {
    throw NoCudaLibrary(std::string("the CUDA backend can't be loaded: ") + dlerror() +
                        "; build with the cuda preset, or use --device cpu");
  }
  void* const create = dlsym(library, kCreateCudaBackend);
  void* const identity = dlsym(library, kCudaBuildIdentity);
  if (create == nullptr || identity == nullptr ||
      reinterpret_cast<CudaBuildIdentity*>(identity)() != build_identity()) {
    throw DeviceUnavailable(std::string(kCudaLibrary) +
                            " is of another build than this program; build and copy the two "
                            "together, or use --device cpu");
  }
  Backend* const made = reinterpret_cast<CreateCudaBackend*>(create)(index);
  if (void* set = dlsym(library, kSetProductChoices); set != nullptr) {
    reinterpret_cast<SetProductChoices*>(set)(tuning());
  }
  if (void* note = dlsym(library, kCudaNote); note != nullptr) {
    const std::string text = reinterpret_cast<CudaNote*>(note)();
    if (!text.empty()) log(LogLevel::kWarning, text);
  }
  return made;
}

/// The GPUs' backends by index, made on first use. Never destroyed itself: static tensors may ask.
std::map<int, Backend*>& cuda_backends() {
  static auto& backends = *new std::map<int, Backend*>;
  return backends;
}

}  // namespace

Backend& backend(Device device) {
  if (device.kind == DeviceKind::kCpu) {
    static auto& cpu = *new CpuBackend;  // never destroyed, as the allocator
    return cpu;
  }
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  Backend*& slot = cuda_backends()[device.index];
  if (slot == nullptr) {
    slot = create_cuda_backend(device.index);
  }
  return *slot;
}

void close_devices() {
  for (auto& [index, made] : cuda_backends()) {
    if (made == nullptr) continue;
    try {
      release_cached_memory({DeviceKind::kCuda, index});
    } catch (const DeviceError&) {
      continue;  // a device that has failed takes its memory with it
    }
    delete std::exchange(made, nullptr);
  }
}

std::string to_string(Device device) {
  return device.kind == DeviceKind::kCpu ? "cpu" : "cuda:" + std::to_string(device.index);
}

Device parse_device(const std::string& name) {
  if (name == "cpu") return kCpu;
  if (name == "auto") {
    const Device cuda{DeviceKind::kCuda, 0};
    try {
      backend(cuda);
      return cuda;
    } catch (const NoCudaLibrary& why) {
      log(LogLevel::kInfo, std::string("running on the CPU: ") + why.what());
      return kCpu;
    } catch (const DeviceUnavailable& why) {
      log(LogLevel::kWarning, std::string("running on the CPU: ") + why.what());
      return kCpu;
    }
  }
  Device device{DeviceKind::kCuda, 0};
  bool known = name == "cuda";
  if (name.starts_with("cuda:")) {
    const char *begin = name.data() + 5, *end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(begin, end, device.index);
    known = error == std::errc{} && stop == end && device.index >= 0;
  }
  HH_REQUIRE(known, "device '" << name << "': use auto, cpu, cuda or cuda:N");
  backend(device);
  return device;
}

}  // namespace hh
