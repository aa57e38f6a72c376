// SPDX-License-Identifier: Apache-2.0
// The name of what made codes: 16 hexadecimal digits of the weights' SHA-256, with kInt8Suffix behind
// them where its products were of bytes (--dtype int8), which changes some of the bits.
#pragma once
#include <string>
#include <string_view>

namespace hh::retrieval {

inline constexpr std::string_view kInt8Suffix = "-int8";

/// Whether codes of one model, made in int8 and otherwise, may meet.
enum class Int8Codes { kApart, kMixed };

/// Whether these codes may be compared. Unknown models, empty, go with any.
inline bool same_model(std::string_view a, std::string_view b, Int8Codes int8 = Int8Codes::kApart) {
  if (a.empty() || b.empty() || a == b) return true;
  if (int8 == Int8Codes::kApart) return false;
  const auto weights = [](std::string_view hash) {
    return hash.ends_with(kInt8Suffix) ? hash.substr(0, hash.size() - kInt8Suffix.size()) : hash;
  };
  return weights(a) == weights(b);
}

/// What decides whether codes may be compared.
struct CodeKind {
  int bits = 0;
  std::string model_hash;
};
/// Throws std::invalid_argument unless these codes may join those of an index or the like (`what`).
void check_codes_meet(const CodeKind& codes, const CodeKind& held, const char* what,
                      Int8Codes int8 = Int8Codes::kApart);

/// The end of the sentence that says they may not.
inline std::string how_to_meet(std::string_view a, std::string_view b) {
  return same_model(a, b, Int8Codes::kMixed)
             ? "encode both with one --dtype, or let them meet by --mix-int8"
             : "encode both with one model";
}

}  // namespace hh::retrieval
