// SPDX-License-Identifier: Apache-2.0
#include <cxxabi.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <typeinfo>

#include "bench/peers/make.h"

namespace hh::bench {
namespace {

/// What cuDNN refuses costs this peer, not the run: a line says so, once for each reason.
template <class Args, class Make>
Peer or_none(const char* kind, const Make& make_peer) {
  try {
    return make_peer();
  } catch (const DeviceError& refusal) {
    static std::set<std::string> said;
    if (said.insert(std::string(kind) + typeid(Args*).name() + refusal.what()).second) {
      // A pointer's type has a name where its target, as here, is only declared.
      const std::unique_ptr<char, decltype(&std::free)> pointer(
          abi::__cxa_demangle(typeid(Args*).name(), nullptr, nullptr, nullptr), std::free);
      const std::string name(pointer.get(), std::strlen(pointer.get()) - 1), why = refusal.what();
      std::fprintf(stderr, "hh_bench: no %s peer for %s: %s\n", kind, name.c_str(),
                   why.substr(0, why.find('\n')).c_str());
    }
    return {};
  }
}

template <class... Args>
void fill(PeersOf<Args...>& table) {
  ((static_cast<PeerOf<Args>&>(table) = {
        [](const Args& args, StreamHandle stream) {
          return or_none<Args>("unfused", [&] { return make(args, stream); });
        },
        [](const Args& args, StreamHandle stream) {
          return or_none<Args>("library", [&] { return make_library(args, stream); });
        }}),
   ...);
}

}  // namespace

extern "C" [[gnu::visibility("default")]] const PeerTable* hh_bench_peers() {
  static const PeerTable table = [] {
    PeerTable all;
    fill(static_cast<ActivationPeers&>(all));
    fill(static_cast<OtherPeers&>(all));
    all.plans_made = [] { return Composition::plans_made; };
    return all;
  }();
  return &table;
}

}  // namespace hh::bench
