// The peers, one file an op.
#pragma once
#include <memory>
#include <vector>

#include "bench/peers/composition.h"

namespace hh::bench {

template <class T>
Peer make(const BiasGeluForward<T>& p, StreamHandle stream);
template <class T>
Peer make(const BiasGeluBackward<T>& p, StreamHandle stream);
template <class T>
Peer make(const InteractionMergeForward<T>& p, StreamHandle stream);
template <class T>
Peer make(const InteractionMergeBackward<T>& p, StreamHandle stream);
template <class T>
Peer make(const ResidualLayerNormForward<T>& p, StreamHandle stream);
template <class T>
Peer make(const ResidualLayerNormBackward<T>& p, StreamHandle stream);
template <class T>
Peer make(const WindowAttentionForward<T>& p, StreamHandle stream);
template <class T>
Peer make(const WindowAttentionBackward<T>& p, StreamHandle stream);
Peer make(const WmlLoss<float>& p, StreamHandle stream);

}  // namespace hh::bench
