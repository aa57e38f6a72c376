// SPDX-License-Identifier: Apache-2.0
// FAISS's files of exact binary indexes: IndexBinaryFlat ("IBxF"), alone or in an IndexBinaryIDMap
// ("IBMp", read also as "IBM2"). Little-endian, nothing aligned:
//   header  fourcc, d i32, code_size i32, ntotal i64, is_trained u8, metric_type i32
//   IBxF    header, size u64 = ntotal * code_size, the codes: our bytes (codes.h) as they are
//   IBMp    header, an IBxF, size u64 = ntotal, the ids i64
// Source: https://github.com/facebookresearch/faiss, faiss/impl/index_write.cpp,
// write_index_binary().
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "retrieval/codes/codes.h"

namespace hh::retrieval {

struct FaissCodes {
  PackedCodes codes;
  std::vector<std::int64_t> ids;  // 0, 1, ... for a plain IBxF
};

bool is_faiss_file(std::span<const std::byte> bytes);

/// Throws std::runtime_error, starting with `name`: another kind of index, sizes that don't fit.
FaissCodes parse_faiss_file(std::span<const std::byte> bytes, const std::string& name);
FaissCodes read_faiss_file(const std::filesystem::path& path);

/// Atomically. A plain IBxF where the ids are 0, 1, ..., and otherwise an IBMp.
void write_faiss_file(const std::filesystem::path& path, CodesView codes,
                      std::span<const std::int64_t> ids);

}  // namespace hh::retrieval
