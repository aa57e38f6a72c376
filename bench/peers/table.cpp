#include "bench/peers/make.h"

namespace hh::bench {
namespace {

template <class... Args>
PeerTable filled(PeersOf<Args...>) {
  PeerTable table;
  ((static_cast<PeerOf<Args>&>(table).make =
        [](const Args& args, StreamHandle stream) { return make(args, stream); }),
   ...);
  return table;
}

}  // namespace

extern "C" [[gnu::visibility("default")]] const PeerTable* hh_bench_peers() {
  static const PeerTable table = filled(AllPeers{});
  return &table;
}

}  // namespace hh::bench
