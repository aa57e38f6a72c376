// SPDX-License-Identifier: Apache-2.0
// The same op as separate calls of cuDNN, each reading and writing memory: what a fused kernel of
// ours is compared with on a GPU. A library of its own (libhh_bench_peers.so), so that hh_bench
// links neither CUDA nor cuDNN.
#pragma once
#include <filesystem>
#include <functional>
#include <type_traits>

#include "engine/device/kernel_list.h"
#include "kernels/core/check.h"

namespace hh::bench {

struct Peer {
  int calls = 0;              // library calls of one run; 0: there is no peer for these arguments
  std::function<void()> run;  // enqueues them on the stream that the peer was made for
};

/// Makes the peer of a kernel: plans, and scratch memory that lives as long as Peer::run. It writes
/// to the arguments' own arrays. Parameter gradients are written, not added to; statistics that
/// only backward wants may be missing. Throws DeviceError.
template <class Args>
struct PeerOf {
  using Make = Peer (*)(const Args&, StreamHandle);
  Make unfused = nullptr;  // a call for each elementary operation
  Make library = nullptr;  // cuDNN's own fused call, where it has one
};

template <class... Args>
struct PeersOf : PeerOf<Args>... {};
template <template <class> class... Args>
using BothTypes = PeersOf<Args<float>..., Args<bf16>...>;

using ActivationPeers =
    BothTypes<BiasGeluForward, BiasGeluBackward, BlockifyLayerNormForward,
              BlockifyLayerNormBackward, DeblockifyResidualForward, DeblockifyResidualBackward,
              HashHeadForward, HashHeadBackward, HashPoolForward, InteractionMergeForward,
              InteractionMergeBackward, InteractionTokensForward, InteractionTokensBackward,
              PatchifyForward, PatchifyBackward, PatchifyPixels, ResidualLayerNormForward,
              ResidualLayerNormBackward, WindowAttentionForward, WindowAttentionBackward>;
using OtherPeers = PeersOf<AdamwUpdate, RmspropUpdate, SgdUpdate, WmlLoss<float>>;
struct PeerTable : ActivationPeers, OtherPeers {
  /// Plans of cuDNN made so far: once for each graph and its extents, whatever the arrays.
  int (*plans_made)() = nullptr;
};

/// Beside the program, whether it was built or not.
std::filesystem::path peers_library();

/// The library's table; loads it on first use. Throws std::runtime_error with the cure when it, or
/// cuDNN, isn't there.
const PeerTable& peers();

/// `which` is a member of PeerOf. Empty where the table has none for these arguments.
template <class Args>
Peer make_peer(const Args& args, StreamHandle stream,
               typename PeerOf<Args>::Make PeerOf<Args>::*which = &PeerOf<Args>::unfused) {
  if constexpr (std::is_base_of_v<PeerOf<Args>, PeerTable>) {
    return (peers().*which)(args, stream);
  } else {
    return {};
  }
}

/// What the library exports.
using GetPeers = const PeerTable*();
inline constexpr const char* kGetPeers = "hh_bench_peers";

}  // namespace hh::bench
