// SPDX-License-Identifier: Apache-2.0
// Another version of an op, beside the product's: docs/kernels/your-own.md. A file of the folder that
// HH_VARIANTS names has, behind a function that takes an op's arguments,
//
//   HH_VARIANT("plain", plain_gelu<float>);                    // void(const BiasGeluForward<float>&): on the CPU
//   HH_VARIANT("plain", plain_gelu<float>, plain_bytes<float>);  // and its workspace_bytes
//
// In a .cu file it takes a StreamHandle too, and runs on the GPU. The op's tests run it in place of the product's
// with HH_VARIANT=plain; hh_bench times it beside that, as CASE/plain.
#pragma once
#include <cstddef>
#include <typeinfo>

#include "kernels/core/check.h"

namespace hh {

/// One version of one op for one type of its arguments. Lives as long as what it is linked into.
struct Variant {
  const char* name;
  const char* arguments;  // typeid(Args).name()
  bool on_gpu;
  void (*run)();              // void(const Args&, StreamHandle)
  void (*workspace_bytes)();  // std::size_t(const Args&); null: none
  const Variant* next;

  /// Of this program, or this library: each has its own.
  static inline const Variant* first = nullptr;

  template <class Args>
  Variant(const char* its_name, bool gpu, void (*runs)(const Args&, StreamHandle),
          std::size_t (*bytes)(const Args&))
      : name(its_name),
        arguments(typeid(Args).name()),
        on_gpu(gpu),
        run(reinterpret_cast<void (*)()>(runs)),
        workspace_bytes(reinterpret_cast<void (*)()>(bytes)),
        next(first) {
    first = this;
  }
  Variant(const Variant&) = delete;
  Variant& operator=(const Variant&) = delete;
};

/// The same, from functions.
template <class Function, Function function, auto bytes = nullptr>
struct VariantOf;
template <class Args, void (*function)(const Args&), auto bytes>
struct VariantOf<void (*)(const Args&), function, bytes> : Variant {
  explicit VariantOf(const char* its_name)
      : Variant(
            its_name, false, +[](const Args& args, StreamHandle) { function(args); },
            static_cast<std::size_t (*)(const Args&)>(bytes)) {}
};
template <class Args, void (*function)(const Args&, StreamHandle), auto bytes>
struct VariantOf<void (*)(const Args&, StreamHandle), function, bytes> : Variant {
  explicit VariantOf(const char* its_name)
      : Variant(
            its_name, true, +[](const Args& args, StreamHandle s) { function(args, s); },
            static_cast<std::size_t (*)(const Args&)>(bytes)) {}
};

}  // namespace hh

#define HH_VARIANT_JOIN(a, b) a##b
#define HH_VARIANT_NAME(counter) HH_VARIANT_JOIN(variant_, counter)
/// HH_VARIANT("name", function[, workspace_bytes]);
#define HH_VARIANT(its_name, function, ...)                                              \
  static const hh::VariantOf<decltype(&function), &function __VA_OPT__(, &) __VA_ARGS__> \
  HH_VARIANT_NAME(__COUNTER__)(its_name)
