// SPDX-License-Identifier: Apache-2.0
// hybridhash._kernels: kernels on addresses, for hybridhash.torch, which checks shapes, types and
// layouts and owns all memory. A kernel is called with the fields of its struct of arguments by
// name, arrays as addresses (0: null), and queues on the stream it is given; on the CPU it returns
// when done. The interpreter's lock is released meanwhile.
#include <nanobind/nanobind.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "api/python/calls.h"
#include "api/python/texts.h"
#include "engine/device/backend.h"
#include "engine/device/kernel_table.h"
#include "engine/device/memory.h"
#include "kernels/attention/window_attention.h"
#include "kernels/blockify/blockify_layer_norm.h"
#include "kernels/blockify/deblockify_residual.h"
#include "kernels/core/parallel.h"
#include "kernels/hamming/hamming_topk.h"
#include "kernels/hamming/pack_codes.h"
#include "kernels/interaction/interaction_merge.h"
#include "kernels/layer_norm/residual_layer_norm.h"
#include "kernels/linear/bias_gelu.h"
#include "kernels/loss/wml_loss.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

/// Where a kernel runs.
struct Place {
  hh::Device device;
  hh::StreamHandle stream = nullptr;
  int threads = 1;     // of the CPU, at most
  nb::object scratch;  // of a GPU: bytes -> address of memory that stays in stream order
};

template <class Args>
void launch(const Place& place, Args args) {
  const hh::cpu::ThreadLimit limit(place.threads);
  hh::Backend& on = hh::backend(place.device);
  const hh::UseDevice current(on);
  const hh::Kernel<Args>& kernel = on.kernels().of<Args>();
  std::optional<hh::Storage> memory;
  if constexpr (requires { args.workspace; }) {
    const std::size_t bytes = kernel.workspace_bytes ? kernel.workspace_bytes(args) : 0;
    if (bytes != 0 && place.device.kind == hh::DeviceKind::kCpu) {
      args.workspace = memory.emplace(bytes, place.device).data();
    } else if (bytes != 0) {
      args.workspace = reinterpret_cast<void*>(nb::cast<std::uintptr_t>(place.scratch(bytes)));
    }
  }
  const hh::python::Unlocked unlocked;
  kernel.run(args, place.stream);
}

template <class T>
void set(T*& field, nb::handle value) {
  field = reinterpret_cast<T*>(nb::cast<std::uintptr_t>(value));
}
template <class T>
void set(T& field, nb::handle value) {
  field = nb::cast<T>(value);
}

/// A field of a struct of arguments, by its last name: "windows" for shape.windows.
template <class Args>
struct Field {
  std::string_view name;
  void (*set)(Args&, nb::handle);
};

template <class Args>
struct Fields;
#define HH_FIELD(path)                                                      \
  Field<Args> {                                                             \
    std::string_view(#path).substr(std::string_view(#path).rfind('.') + 1), \
        +[](Args& args, nb::handle value) { set(args.path, value); }        \
  }

template <class T>
struct Fields<hh::WindowAttentionForward<T>> {
  using Args = hh::WindowAttentionForward<T>;
  static constexpr Field<Args> all[] = {HH_FIELD(qkv),           HH_FIELD(out),
                                        HH_FIELD(lse),           HH_FIELD(shape.windows),
                                        HH_FIELD(shape.tokens),  HH_FIELD(shape.heads),
                                        HH_FIELD(shape.head_dim)};
};
template <class T>
struct Fields<hh::WindowAttentionBackward<T>> {
  using Args = hh::WindowAttentionBackward<T>;
  static constexpr Field<Args> all[] = {
      HH_FIELD(qkv),          HH_FIELD(out),         HH_FIELD(lse),
      HH_FIELD(dout),         HH_FIELD(dqkv),        HH_FIELD(shape.windows),
      HH_FIELD(shape.tokens), HH_FIELD(shape.heads), HH_FIELD(shape.head_dim)};
};
template <class T>
struct Fields<hh::ResidualLayerNormForward<T>> {
  using Args = hh::ResidualLayerNormForward<T>;
  static constexpr Field<Args> all[] = {
      HH_FIELD(residual), HH_FIELD(branch), HH_FIELD(bias), HH_FIELD(image_scale),
      HH_FIELD(gamma),    HH_FIELD(beta),   HH_FIELD(z),    HH_FIELD(y),
      HH_FIELD(mean),     HH_FIELD(rstd),   HH_FIELD(rows), HH_FIELD(rows_per_image),
      HH_FIELD(cols),     HH_FIELD(eps)};
};
template <class T>
struct Fields<hh::ResidualLayerNormBackward<T>> {
  using Args = hh::ResidualLayerNormBackward<T>;
  static constexpr Field<Args> all[] = {HH_FIELD(dz),      HH_FIELD(dy),
                                        HH_FIELD(z),       HH_FIELD(image_scale),
                                        HH_FIELD(gamma),   HH_FIELD(mean),
                                        HH_FIELD(rstd),    HH_FIELD(dresidual),
                                        HH_FIELD(dbranch), HH_FIELD(dbias),
                                        HH_FIELD(dgamma),  HH_FIELD(dbeta),
                                        HH_FIELD(rows),    HH_FIELD(rows_per_image),
                                        HH_FIELD(cols)};
};
template <class T>
struct Fields<hh::BlockifyLayerNormForward<T>> {
  using Args = hh::BlockifyLayerNormForward<T>;
  static constexpr Field<Args> all[] = {
      HH_FIELD(x),          HH_FIELD(pos),        HH_FIELD(gamma),
      HH_FIELD(beta),       HH_FIELD(z),          HH_FIELD(y),
      HH_FIELD(mean),       HH_FIELD(rstd),       HH_FIELD(shape.images),
      HH_FIELD(shape.grid), HH_FIELD(shape.side), HH_FIELD(shape.channels),
      HH_FIELD(eps)};
};
template <class T>
struct Fields<hh::BlockifyLayerNormBackward<T>> {
  using Args = hh::BlockifyLayerNormBackward<T>;
  static constexpr Field<Args> all[] = {HH_FIELD(dz),
                                        HH_FIELD(dy),
                                        HH_FIELD(z),
                                        HH_FIELD(gamma),
                                        HH_FIELD(mean),
                                        HH_FIELD(rstd),
                                        HH_FIELD(dx),
                                        HH_FIELD(dpos),
                                        HH_FIELD(dgamma),
                                        HH_FIELD(dbeta),
                                        HH_FIELD(shape.images),
                                        HH_FIELD(shape.grid),
                                        HH_FIELD(shape.side),
                                        HH_FIELD(shape.channels)};
};
template <class T>
struct Fields<hh::DeblockifyResidualForward<T>> {
  using Args = hh::DeblockifyResidualForward<T>;
  static constexpr Field<Args> all[] = {
      HH_FIELD(z),           HH_FIELD(branch),     HH_FIELD(bias),
      HH_FIELD(image_scale), HH_FIELD(out),        HH_FIELD(shape.images),
      HH_FIELD(shape.grid),  HH_FIELD(shape.side), HH_FIELD(shape.channels)};
};
template <class T>
struct Fields<hh::DeblockifyResidualBackward<T>> {
  using Args = hh::DeblockifyResidualBackward<T>;
  static constexpr Field<Args> all[] = {
      HH_FIELD(dout),       HH_FIELD(image_scale), HH_FIELD(dz),
      HH_FIELD(dbranch),    HH_FIELD(dbias),       HH_FIELD(shape.images),
      HH_FIELD(shape.grid), HH_FIELD(shape.side),  HH_FIELD(shape.channels)};
};
template <class T>
struct Fields<hh::BiasGeluForward<T>> {
  using Args = hh::BiasGeluForward<T>;
  static constexpr Field<Args> all[] = {HH_FIELD(x), HH_FIELD(bias), HH_FIELD(y), HH_FIELD(rows),
                                        HH_FIELD(cols)};
};
template <class T>
struct Fields<hh::BiasGeluBackward<T>> {
  using Args = hh::BiasGeluBackward<T>;
  static constexpr Field<Args> all[] = {HH_FIELD(x),   HH_FIELD(bias),  HH_FIELD(dy),
                                        HH_FIELD(dx),  HH_FIELD(dbias), HH_FIELD(rows),
                                        HH_FIELD(cols)};
};
template <class T>
struct Fields<hh::InteractionMergeForward<T>> {
  using Args = hh::InteractionMergeForward<T>;
  static constexpr Field<Args> all[] = {
      HH_FIELD(local),      HH_FIELD(glob),         HH_FIELD(gamma),
      HH_FIELD(beta),       HH_FIELD(out),          HH_FIELD(argmax),
      HH_FIELD(mean),       HH_FIELD(rstd),         HH_FIELD(shape.images),
      HH_FIELD(shape.grid), HH_FIELD(shape.factor), HH_FIELD(shape.channels),
      HH_FIELD(eps)};
};
template <class T>
struct Fields<hh::InteractionMergeBackward<T>> {
  using Args = hh::InteractionMergeBackward<T>;
  static constexpr Field<Args> all[] = {
      HH_FIELD(dout),       HH_FIELD(argmax),       HH_FIELD(local),         HH_FIELD(glob),
      HH_FIELD(gamma),      HH_FIELD(mean),         HH_FIELD(rstd),          HH_FIELD(dlocal),
      HH_FIELD(dglob),      HH_FIELD(dgamma),       HH_FIELD(dbeta),         HH_FIELD(shape.images),
      HH_FIELD(shape.grid), HH_FIELD(shape.factor), HH_FIELD(shape.channels)};
};
template <class T>
struct Fields<hh::WmlLoss<T>> {
  using Args = hh::WmlLoss<T>;
  static constexpr Field<Args> all[] = {
      HH_FIELD(u),         HH_FIELD(labels), HH_FIELD(bank),        HH_FIELD(bank_labels),
      HH_FIELD(loss),      HH_FIELD(pairs),  HH_FIELD(du),          HH_FIELD(images),
      HH_FIELD(bank_rows), HH_FIELD(bits),   HH_FIELD(label_words), HH_FIELD(alpha)};
};
template <>
struct Fields<hh::HammingTopk> {
  using Args = hh::HammingTopk;
  static constexpr Field<Args> all[] = {
      HH_FIELD(queries),   HH_FIELD(database),  HH_FIELD(allowed),
      HH_FIELD(rows),      HH_FIELD(distances), HH_FIELD(query_count),
      HH_FIELD(row_count), HH_FIELD(k),         HH_FIELD(bits)};
};
template <>
struct Fields<hh::PackCodes> {
  using Args = hh::PackCodes;
  static constexpr Field<Args> all[] = {HH_FIELD(values), HH_FIELD(words), HH_FIELD(count),
                                        HH_FIELD(bits)};
};

template <class Args>
void call(const Place& place, const nb::kwargs& given) {
  Args args;
  for (const auto& [key, value] : given) {
    const auto name = nb::cast<std::string>(key);
    const Field<Args>* found = nullptr;
    for (const Field<Args>& field : Fields<Args>::all) {
      if (field.name == name) found = &field;
    }
    if (found == nullptr) throw std::invalid_argument("the kernel has no field " + name);
    found->set(args, value);
  }
  launch(place, args);
}

/// The kernel under `name`, for each storage type that `type` may say.
template <template <class> class Args>
void define(nb::module_& m, const char* name) {
  m.def(name, [](const Place& place, const std::string& type, const nb::kwargs& fields) {
    if (type == "float32") return call<Args<float>>(place, fields);
    if (type == "bfloat16") return call<Args<hh::bf16>>(place, fields);
    if (type == "float16") return call<Args<hh::f16>>(place, fields);
    throw std::invalid_argument("type " + type + ": use float32, bfloat16 or float16");
  });
}

}  // namespace

NB_MODULE(_kernels, m) {
  nb::set_leak_warnings(false);  // what a daemon thread still holds at the end is no leak of ours
  nb::class_<Place>(m, "Place")
      .def(
          "__init__",
          [](Place* self, int gpu, std::uintptr_t stream, int threads, nb::object scratch) {
            new (self)
                Place{gpu < 0 ? hh::kCpu : hh::Device{hh::DeviceKind::kCuda, gpu},
                      reinterpret_cast<hh::StreamHandle>(stream), threads, std::move(scratch)};
          },
          "gpu"_a, "stream"_a, "threads"_a, "scratch"_a.none());
  define<hh::WindowAttentionForward>(m, "window_attention_forward");
  define<hh::WindowAttentionBackward>(m, "window_attention_backward");
  define<hh::ResidualLayerNormForward>(m, "residual_layer_norm_forward");
  define<hh::ResidualLayerNormBackward>(m, "residual_layer_norm_backward");
  define<hh::BlockifyLayerNormForward>(m, "blockify_layer_norm_forward");
  define<hh::BlockifyLayerNormBackward>(m, "blockify_layer_norm_backward");
  define<hh::DeblockifyResidualForward>(m, "deblockify_residual_forward");
  define<hh::DeblockifyResidualBackward>(m, "deblockify_residual_backward");
  define<hh::BiasGeluForward>(m, "bias_gelu_forward");
  define<hh::BiasGeluBackward>(m, "bias_gelu_backward");
  define<hh::InteractionMergeForward>(m, "interaction_merge_forward");
  define<hh::InteractionMergeBackward>(m, "interaction_merge_backward");
  define<hh::WmlLoss>(m, "wml_loss");
  m.def("hamming_topk",
        [](const Place& place, const nb::kwargs& fields) { call<hh::HammingTopk>(place, fields); });
  m.def("pack_codes",
        [](const Place& place, const nb::kwargs& fields) { call<hh::PackCodes>(place, fields); });
  hh::python::wait_at_exit([] {});
}
