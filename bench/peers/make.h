// SPDX-License-Identifier: Apache-2.0
// The peers, one file an op.
#pragma once
#include "bench/peers/composition.h"

namespace hh::bench {

template <class T>
Peer make(const BiasGeluForward<T>& p, StreamHandle stream);
template <class T>
Peer make(const BiasGeluBackward<T>& p, StreamHandle stream);
template <class T>
Peer make(const BlockifyLayerNormForward<T>& p, StreamHandle stream);
template <class T>
Peer make(const BlockifyLayerNormBackward<T>& p, StreamHandle stream);
template <class T>
Peer make(const DeblockifyResidualForward<T>& p, StreamHandle stream);
template <class T>
Peer make(const DeblockifyResidualBackward<T>& p, StreamHandle stream);
template <class T>
Peer make(const HashHeadForward<T>& p, StreamHandle stream);
template <class T>
Peer make(const HashHeadBackward<T>& p, StreamHandle stream);
template <class T>
Peer make(const HashPoolForward<T>& p, StreamHandle stream);
template <class T>
Peer make(const InteractionMergeForward<T>& p, StreamHandle stream);
template <class T>
Peer make(const InteractionMergeBackward<T>& p, StreamHandle stream);
template <class T>
Peer make(const InteractionTokensForward<T>& p, StreamHandle stream);
template <class T>
Peer make(const InteractionTokensBackward<T>& p, StreamHandle stream);
template <class T>
Peer make(const PatchifyForward<T>& p, StreamHandle stream);
template <class T>
Peer make(const PatchifyBackward<T>& p, StreamHandle stream);
template <class T>
Peer make(const PatchifyPixels<T>& p, StreamHandle stream);
template <class T>
Peer make(const ResidualLayerNormForward<T>& p, StreamHandle stream);
template <class T>
Peer make(const ResidualLayerNormBackward<T>& p, StreamHandle stream);
template <class T>
Peer make(const WindowAttentionForward<T>& p, StreamHandle stream);
template <class T>
Peer make(const WindowAttentionBackward<T>& p, StreamHandle stream);
Peer make(const AdamwUpdate& p, StreamHandle stream);
Peer make(const RmspropUpdate& p, StreamHandle stream);
Peer make(const SgdUpdate& p, StreamHandle stream);
Peer make(const WmlLoss<float>& p, StreamHandle stream);

template <class Args>
Peer make_library(const Args&, StreamHandle) {
  return {};
}
template <class T>
Peer make_library(const WindowAttentionForward<T>& p, StreamHandle stream);

}  // namespace hh::bench
