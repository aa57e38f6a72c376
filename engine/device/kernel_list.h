// SPDX-License-Identifier: Apache-2.0
// All ops, by the types of their arguments: what a device's table of kernels holds. A new op is
// added here, and its header to fill_kernel_table.h. Only names, so that whoever launches an op
// includes that op's header and no other.
#pragma once
#include "kernels/core/half.h"

namespace hh {

template <class T>
struct Add;
template <class T>
struct BiasGeluForward;
template <class T>
struct BiasGeluBackward;
template <class T>
struct BlockAveragePoolForward;
template <class T>
struct BlockAveragePoolBackward;
template <class T>
struct BlockifyLayerNormForward;
template <class T>
struct BlockifyLayerNormBackward;
template <class T>
struct Conv2dForward;
template <class T>
struct Conv2dBackwardInput;
template <class T>
struct Conv2dBackwardWeight;
template <class T>
struct DeblockifyResidualForward;
template <class T>
struct DeblockifyResidualBackward;
template <class T>
struct HashHeadForward;
template <class T>
struct HashHeadBackward;
template <class T>
struct HashPoolForward;
template <class T>
struct HashPoolBackward;
template <class T>
struct InteractionMergeForward;
template <class T>
struct InteractionMergeBackward;
template <class T>
struct InteractionTokensForward;
template <class T>
struct InteractionTokensBackward;
template <class T>
struct LinearForward;
template <class T>
struct LinearBackwardInput;
template <class T>
struct LinearBackwardWeight;
template <class T>
struct LinearGeluForward;
template <class T>
struct LinearGeluBackward;
template <class T>
struct PatchifyForward;
template <class T>
struct PatchifyBackward;
template <class T>
struct PatchifyPixels;
template <class T>
struct ResidualLayerNormForward;
template <class T>
struct ResidualLayerNormBackward;
template <class T>
struct WindowAttentionForward;
template <class T>
struct WindowAttentionBackward;

template <class TB>
struct BankUpdate;
template <class TB>
struct WmlLoss;
template <class From, class To>
struct Cast;
struct AdamwUpdate;
struct AddPartialSums;
struct DropPathScale;
struct GradientNorm;
struct GradientSquares;
struct HammingAveragePrecision;
struct HammingRadius;
struct HammingTopk;
struct Int8Conv2dForward;
struct Int8LinearForward;
struct Int8MlpForward;
struct Int8Pack;
struct LinearPack;
struct PackCodes;
struct RmspropUpdate;
struct SgdUpdate;
struct ShardSum;

template <class... Args>
struct KernelList {};

/// The ops of the network, for activations of type T: float, bf16 or, on GPUs only, f16.
template <class T>
using ActivationKernels = KernelList<
    Add<T>, BiasGeluForward<T>, BiasGeluBackward<T>, BlockAveragePoolForward<T>,
    BlockAveragePoolBackward<T>, BlockifyLayerNormForward<T>, BlockifyLayerNormBackward<T>,
    Conv2dForward<T>, Conv2dBackwardInput<T>, Conv2dBackwardWeight<T>, DeblockifyResidualForward<T>,
    DeblockifyResidualBackward<T>, HashHeadForward<T>, HashHeadBackward<T>, HashPoolForward<T>,
    HashPoolBackward<T>, InteractionMergeForward<T>, InteractionMergeBackward<T>,
    InteractionTokensForward<T>, InteractionTokensBackward<T>, LinearForward<T>,
    LinearBackwardInput<T>, LinearBackwardWeight<T>, LinearGeluForward<T>, LinearGeluBackward<T>,
    PatchifyForward<T>, PatchifyBackward<T>, PatchifyPixels<T>, ResidualLayerNormForward<T>,
    ResidualLayerNormBackward<T>, WindowAttentionForward<T>, WindowAttentionBackward<T>>;

/// The others, which every device has.
using OtherKernels =
    KernelList<AdamwUpdate, AddPartialSums, BankUpdate<float>, BankUpdate<bf16>, BankUpdate<f16>,
               Cast<float, bf16>, Cast<bf16, float>, Cast<float, f16>, Cast<f16, float>,
               DropPathScale, GradientNorm, GradientSquares, HammingAveragePrecision, HammingRadius,
               HammingTopk, PackCodes, RmspropUpdate, SgdUpdate, ShardSum, WmlLoss<float>,
               WmlLoss<bf16>, WmlLoss<f16>>;

/// Those that only the CPU has.
using CpuKernels =
    KernelList<Int8Conv2dForward, Int8LinearForward, Int8MlpForward, Int8Pack, LinearPack>;

}  // namespace hh
