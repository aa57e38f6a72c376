// SPDX-License-Identifier: Apache-2.0
// What the wrappers of cuBLASLt and cuDNN share: plans made ready once, and the one setting of how
// float32 is multiplied.
#pragma once
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

#include "kernels/core/cuda_check.h"

namespace hh::gpu {

/// Whether HH_TF32=1 allows TF32's shorter factors in products of float32.
inline bool tf32_allowed() {
  static const bool allowed = [] {
    const char* value = std::getenv("HH_TF32");
    return value != nullptr && std::string(value) == "1";
  }();
  return allowed;
}

inline int current_gpu() {
  int device = 0;
  HH_CUDA_CHECK(cudaGetDevice(&device));
  return device;
}

/// A library's plans by what decides them, and its handle for each GPU. Hold `mutex` while using
/// either.
template <class Handle, class Key, class Plan>
class PlanStore {
 public:
  /// Never destroyed: the driver may be gone by then.
  static PlanStore& instance() {
    static auto& store = *new PlanStore;
    return store;
  }

  std::mutex mutex;

  /// The GPU's handle, which create(&handle) makes on first use.
  template <class Create>
  Handle handle(int device, const Create& create) {
    Handle& handle = handles_[device];
    if (handle == nullptr) create(&handle);
    return handle;
  }
  /// The key's plan, which make() gives on first use.
  template <class Make>
  Plan& find(const Key& key, const Make& make) {
    auto it = plans_.find(key);
    if (it == plans_.end()) it = plans_.emplace(key, make()).first;
    return it->second;
  }

 private:
  std::map<int, Handle> handles_;
  std::map<Key, Plan> plans_;
};

}  // namespace hh::gpu
