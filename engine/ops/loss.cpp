// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/loss.h"

#include "engine/ops/record.h"
#include "kernels/loss/bank_update.h"
#include "kernels/loss/wml_loss.h"

namespace hh {
namespace {

/// Calls f(T()) with the bank's storage type.
template <class F>
void with_bank_type(DType dtype, F&& f) {
  if (dtype == DType::f32) return f(float());
  if (dtype == DType::f16) return f(f16());
  HH_REQUIRE(dtype == DType::bf16, "a memory bank is f32, f16 or bf16, not " << name(dtype));
  f(bf16());
}

}  // namespace

void bank_update(const BankView& bank, const Tensor& code, const Tensor& labels,
                 const Tensor& index) {
  with_bank_type(bank.codes.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(code.device(), BankUpdate<T>{.u = code.data<float>(),
                                        .labels = labels.data<std::uint64_t>(),
                                        .index = index.data<std::int64_t>(),
                                        .bank = bank.codes.data<T>(),
                                        .bank_labels = bank.labels.data<std::uint64_t>(),
                                        .images = int(code.dim(0)),
                                        .bank_rows = bank.codes.dim(0),
                                        .bits = int(code.dim(1)),
                                        .label_words = int(labels.dim(1))});
  });
}

WmlLossResult wml_loss(const Tensor& code, const Tensor& labels, const BankView& bank, float alpha,
                       const Tensor& gradient_scale) {
  const bool recording = records({&code});
  WmlLossResult out{Tensor({1}, DType::f32, code.device()), Tensor({2}, DType::i64, code.device())};
  const Tensor du = recording ? like(code.detached()) : Tensor();
  with_bank_type(bank.codes.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(code.device(),
           WmlLoss<T>{.u = code.data<float>(),
                      .labels = labels.data<std::uint64_t>(),
                      .bank = bank.codes.data<T>(),
                      .bank_labels = bank.labels.data<std::uint64_t>(),
                      .loss = out.loss.data<float>(),
                      .pairs = out.pairs.data<std::int64_t>(),
                      .du = recording ? du.data<float>() : nullptr,
                      .gradient_scale = gradient_scale ? gradient_scale.data<float>() : nullptr,
                      .images = int(code.dim(0)),
                      .bank_rows = bank.codes.dim(0),
                      .bits = int(code.dim(1)),
                      .label_words = int(labels.dim(1)),
                      .alpha = alpha});
  });
  if (recording) record([slot = code.gradient(), du] { slot->add(du); });
  return out;
}

}  // namespace hh
