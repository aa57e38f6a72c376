// SPDX-License-Identifier: Apache-2.0
// Other versions of ops (kernels/core/variant.h), for tests and benchmarks.
#pragma once
#include <cstring>
#include <string>
#include <typeinfo>
#include <vector>

#include "engine/device/device.h"
#include "engine/device/kernel_table.h"
#include "kernels/core/variant.h"

namespace hh::testing {

/// Those that run on a device: this program's, or those of libhh_variants.so beside it, where that was
/// built. Throws std::runtime_error where it can't be loaded.
std::vector<const Variant*> variants(Device device);

template <class Args>
struct NamedKernel {
  std::string name;
  Kernel<Args> kernel;
};

/// Those of one op.
template <class Args>
std::vector<NamedKernel<Args>> variants_of(Device device) {
  std::vector<NamedKernel<Args>> found;
  for (const Variant* variant : variants(device)) {
    if (std::strcmp(variant->arguments, typeid(Args).name()) != 0) continue;
    Kernel<Args> kernel;
    kernel.run = reinterpret_cast<decltype(kernel.run)>(variant->run);
    kernel.workspace_bytes =
        reinterpret_cast<decltype(kernel.workspace_bytes)>(variant->workspace_bytes);
    found.push_back({variant->name, kernel});
  }
  return found;
}

/// The name in the variable HH_VARIANT, whose versions are tested in place of the product's; empty:
/// the product's are. Throws std::runtime_error where the device has none of that name. A program that
/// was given a name and ran none of it ends with status 1.
std::string wanted_variant(Device device);
/// One of that name was run.
void count_variant();

/// What a test of this op runs.
template <class Args>
Kernel<Args> kernel_under_test(Device device, const Kernel<Args>& of_product) {
  const std::string wanted = wanted_variant(device);
  if (wanted.empty()) return of_product;
  for (const NamedKernel<Args>& variant : variants_of<Args>(device)) {
    if (variant.name != wanted) continue;
    count_variant();
    return variant.kernel;
  }
  return of_product;
}

}  // namespace hh::testing
