// SPDX-License-Identifier: Apache-2.0
// XXH64, the check sum of an index's files: faster than the memory it reads.
// Source: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace hh::retrieval {

std::uint64_t xxh64(std::span<const std::byte> bytes, std::uint64_t seed = 0);

}  // namespace hh::retrieval
