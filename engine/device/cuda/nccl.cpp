// SPDX-License-Identifier: Apache-2.0
#include "engine/device/cuda/nccl.h"

#include <dlfcn.h>

#include "engine/device/device.h"
#include "kernels/core/cuda_check.h"

namespace hh {

const Nccl& Nccl::instance() {
  static const auto& library = *new Nccl;  // never unloaded
  return library;
}

Nccl::Nccl() {
  void* const library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw DeviceUnavailable(std::string("NCCL can't be loaded: ") + dlerror() +
                            "; install it for CUDA 13 (libnccl2), or use --device cpu");
  }
#define X(name)                                                                        \
  name = reinterpret_cast<decltype(name)>(dlsym(library, #name));                      \
  if (name == nullptr) {                                                               \
    throw DeviceUnavailable("this NCCL has no " #name "; install NCCL 2.18 or later"); \
  }
  HH_NCCL_FUNCTIONS(X)
#undef X
}

void Nccl::check(ncclResult_t status, std::string_view call) const {
  if (status != ncclSuccess) throw gpu::failed_call(call, ncclGetErrorString(status));
}

}  // namespace hh
