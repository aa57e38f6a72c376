// SPDX-License-Identifier: Apache-2.0
// What libhh_variants.so shows: the first of its versions of ops.
#include "kernels/core/variant.h"

extern "C" __attribute__((visibility("default"))) const hh::Variant* hh_first_variant() {
  return hh::Variant::first;
}
