// SPDX-License-Identifier: Apache-2.0
// Timing for microbenchmarks.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bench/peers/peers.h"
#include "bench/support/calls.h"
#include "bench/support/rotation.h"
#include "engine/device/launch.h"
#include "engine/tensor/tensor.h"
#include "tests/support/values.h"
#include "tests/support/variants.h"

namespace hh::bench {

/// Whether this case is to be measured. When the cases are only listed, it names it and says no.
bool wanted(const std::string& name);

/// Times `call`, which does the work once, or on a GPU queues it, in each of the run's rounds.
/// Reports it beside a copy (or read) of the same bytes and the library's GEMM, both measured in
/// this run.
void time_case(const std::string& name, Device device, Work work,
               const std::function<void()>& call);

/// The same of calls on arrays of their own, whatever way a cold run keeps those out of the caches.
void time_case(const std::string& name, Device device, Work work, const Calls& calls);

/// Whether a GPU's calls are to take turns on copies of their arrays (rotation.h).
bool rotates(Device device);

/// A call of a kernel, which a GPU is left to do, in `workspace`.
template <class Args>
std::function<void()> prepared(Device device, Args args, const Kernel<Args>& kernel,
                               const Tensor& workspace) {
  if constexpr (requires { args.workspace; }) {
    if (workspace) args.workspace = workspace.raw();
  }
  return [&on = backend(device), kernel, args, workspace] {
    const UseDevice same(on);
    kernel.run(args, on.stream());
  };
}

/// Scratch memory for a call; empty if it needs none.
template <class Args>
Tensor workspace_of(Device device, const Args& args, const Kernel<Args>& kernel) {
  const UseDevice current(backend(device));
  if constexpr (requires { args.workspace; }) {
    const std::size_t bytes = kernel.workspace_bytes ? kernel.workspace_bytes(args) : 0;
    if (bytes != 0) return Tensor({std::int64_t(bytes)}, DType::u8, device);
  }
  return {};
}

/// A call of the kernel of the device's table. Its workspace is lent now, outside the timing.
template <class Args>
std::function<void()> prepared(Device device, const Args& args) {
  const Kernel<Args>& kernel = backend(device).kernels().of<Args>();
  return prepared(device, args, kernel, workspace_of(device, args, kernel));
}

/// make(args) as calls: one, or one for each set of a rotation.
template <class Args>
Calls calls_of(Device device, const Args& args, double bytes,
               const std::function<std::function<void()>(const Args&)>& make) {
  if (!rotates(device) || LentBlocks::current() == nullptr) return {.each = {make(args)}};
  const auto object = std::as_bytes(std::span(&args, 1));
  auto rotation = std::make_shared<Rotation>(device, object, bytes, *LentBlocks::current());
  Calls calls{.beyond_caches = rotation->beyond_caches(), .arrays = rotation};
  for (std::size_t set = 0; set < rotation->sets(); ++set) {
    calls.each.push_back(make(rotation->at(set, args)));
  }
  return calls;
}

/// Whether --peers was given.
bool with_peers();

/// Times a kernel of the device's table, and other versions of it (tests/support/variants.h) as
/// NAME/VERSION; on a GPU, if asked, also its peers, as NAME/unfused and NAME/library.
template <class Args>
void measure(const std::string& name, Device device, const Args& args) {
  if (!wanted(name)) return;
  const Work work = args.work();
  const auto time = [&](const std::string& as, const Kernel<Args>& kernel) {
    const Tensor workspace = workspace_of(device, args, kernel);
    time_case(as, device, work, calls_of<Args>(device, args, work.bytes, [&](const Args& each) {
                return prepared(device, each, kernel, workspace);
              }));
  };
  time(name, backend(device).kernels().of<Args>());
  for (const auto& variant : testing::variants_of<Args>(device)) {
    time(name + "/" + variant.name, variant.kernel);
  }
  if (device == kCpu || !with_peers()) return;
  Backend& on = backend(device);
  const auto beside = [&](const char* as, typename PeerOf<Args>::Make PeerOf<Args>::*which) {
    if (make_peer(args, on.stream(), which).calls == 0) return;
    time_case(name + as, device, work,
              calls_of<Args>(device, args, work.bytes, [&](const Args& each) {
                return make_peer(each, on.stream(), which).run;
              }));
  };
  beside("/unfused", &PeerOf<Args>::unfused);
  beside("/library", &PeerOf<Args>::library);
}

/// The cases are only named: arrays need no memory.
bool listing();

/// n normally distributed values on a device.
template <class T>
Tensor normal(Device device, std::size_t n, std::uint64_t seed) {
  if (listing()) return Tensor({1}, dtype_of<T>(), device);
  // Repeated: a normal distribution's values cost far more than most benchmarks.
  constexpr std::size_t kPeriod = 1 << 14;
  std::vector<T> values = testing::normal<T>(std::min(n, kPeriod), seed);
  values.resize(n);
  for (std::size_t i = kPeriod; i < n; ++i) values[i] = values[i - kPeriod];
  return Tensor::from(std::span<const T>(values), {std::int64_t(n)}, device);
}

/// n zeros on a device.
inline Tensor zeros(Device device, std::int64_t n, DType type = DType::f32) {
  return Tensor::zeros({listing() ? 1 : n}, type, device);
}

/// run(T(), name) for each type that activations may have; the CPU has no kernels for f16.
template <class Run>
void for_each_type(Device device, const Run& run) {
  run(float(), "f32");
  run(bf16(), "bf16");
  if (device != kCpu) run(f16(), "f16");
}

/// The shapes of the preset asked for. `extents` has a letter for each column: --B 4 puts 4 in
/// column B of all shapes; shapes that then are the same are taken once.
void choose(const std::string& extents, std::vector<std::vector<int>>& micro,
            const std::vector<std::vector<int>>& paper);
template <std::size_t N>
std::vector<std::array<int, N>> shapes(const char (&extents)[N + 1],
                                       std::vector<std::vector<int>> micro,
                                       const std::vector<std::vector<int>>& paper) {
  choose(extents, micro, paper);
  std::vector<std::array<int, N>> chosen(micro.size());
  for (std::size_t i = 0; i < micro.size(); ++i) {
    for (std::size_t c = 0; c < N; ++c) chosen[i][c] = micro[i].at(c);
  }
  return chosen;
}

using Function = void (*)(Device);
inline std::map<std::string, Function>& registry() {
  static std::map<std::string, Function> functions;
  return functions;
}

}  // namespace hh::bench

/// HH_BENCHMARK(stem) { ... bench::measure(..., device, ...) }: one per op, named by its stem.
#define HH_BENCHMARK(name)                                       \
  static void name##_bench(hh::Device device);                   \
  [[maybe_unused]] static const bool name##_known =              \
      hh::bench::registry().emplace(#name, name##_bench).second; \
  static void name##_bench(hh::Device device)
