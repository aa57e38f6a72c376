// SPDX-License-Identifier: Apache-2.0
// What a file is that came in another's place, by its first bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace hh {

struct FileKind {
  std::string name;  // "a WebP image"; empty if nothing is recognised
  std::string cure;  // how its codes or weights get into a file of ours, where there is a way
  /// Codes in such a file are taken where its name ends so; empty: they never are.
  std::string ending{};
};

/// Of files that aren't text, and of those with a mark at their beginning.
FileKind kind_of_file(std::span<const std::byte> bytes);

/// "it is a gzip file, not a code file: unpack it by gunzip", also for text; empty if nothing is
/// recognised. `file` is its name.
std::string kind_text(std::span<const std::byte> bytes, const std::string& wanted,
                      const std::string& file = "");

}  // namespace hh
