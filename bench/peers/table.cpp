// SPDX-License-Identifier: Apache-2.0
#include "bench/peers/make.h"

namespace hh::bench {
namespace {

template <class... Args>
void fill(PeersOf<Args...>& table) {
  ((static_cast<PeerOf<Args>&>(table) = {
        [](const Args& args, StreamHandle stream) { return make(args, stream); },
        [](const Args& args, StreamHandle stream) { return make_library(args, stream); }}),
   ...);
}

}  // namespace

extern "C" [[gnu::visibility("default")]] const PeerTable* hh_bench_peers() {
  static const PeerTable table = [] {
    PeerTable all;
    fill(static_cast<ActivationPeers&>(all));
    fill(static_cast<OtherPeers&>(all));
    return all;
  }();
  return &table;
}

}  // namespace hh::bench
