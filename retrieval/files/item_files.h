// SPDX-License-Identifier: Apache-2.0
// Items of an index in other programs' formats. docs/formats.md has each with its bit order.
#pragma once
#include <filesystem>
#include <string>

#include "retrieval/index/index.h"

namespace hh::retrieval {

/// How codes stand in text.
enum class CodeFormat { kAuto, kHex, kBits };
/// auto, hex or bits. Throws std::invalid_argument.
CodeFormat code_format_named(const std::string& name);

/// What is known of codes before their text is read.
struct CodeText {
  CodeFormat format = CodeFormat::kAuto;
  int bits = 0;  // of a code; 0: unknown, and for files that have whole bytes all of them
};

/// From a code file, an .npy array, a FAISS binary index, or a .csv file: by the first bytes and
/// the name. Where code_text.bits fill the codes' bytes but for their last bits, the codes have so
/// many. Throws std::runtime_error with the file and the place, also where those last bits aren't 0.
ItemSet read_items(const std::filesystem::path& path, const CodeText& code_text = {});

enum class ItemFormat { kCodes, kNpy, kFaiss, kCsv, kPgvector, kMilvus };
inline constexpr const char* kItemFormats = "codes, npy, faiss, csv, pgvector or milvus";

/// By its name, or, when that is empty, by the ending of `path`: .npy .faiss .csv .copy .jsonl, and
/// a code file for any other. Throws std::invalid_argument.
ItemFormat item_format(const std::string& name, const std::filesystem::path& path);

/// Atomically. npy has the codes only. Throws std::runtime_error.
void write_items(const std::filesystem::path& path, const ItemSet& items, ItemFormat format);

// One format each, as text; items of [begin, end).

/// A header id,code,labels,path,metadata; codes in hexadecimal, byte 0 first; labels as numbers
/// with a blank between. Quoted as RFC 4180 says.
std::string csv_header();
std::string to_csv(const ItemSet& items, std::int64_t begin, std::int64_t end);
/// The same, columns in any order; all but the code may lack (ids are then 0, 1, ...). A column
/// `hex` or `bits` says how its codes are written, as code_text.format does; those of `code` are
/// hexadecimal under the header above, and otherwise told apart by their digits and by the number of
/// bits. Text that could be either is refused.
ItemSet parse_csv(const std::string& text, const std::string& name, const CodeText& code_text = {});

/// Rows for PostgreSQL's COPY ... (id, code, path, labels, metadata) FROM STDIN, code being
/// bit(BITS) with bit 0 first, as pgvector's <~> takes it.
std::string to_copy_text(const ItemSet& items, std::int64_t begin, std::int64_t end);

/// Milvus' rows for bulk insert, a JSON object a line; the binary vector `code` is a list of bytes.
std::string to_milvus_rows(const ItemSet& items, std::int64_t begin, std::int64_t end);

/// "0fa0...", two digits a byte, byte 0 first.
std::string code_to_hex(CodesView codes, std::int64_t row);
/// "0110...", bit 0 first.
std::string code_to_bits(CodesView codes, std::int64_t row);
/// Either of the two, told apart by its length. bits = 0: any width, and hexadecimal only.
/// Throws std::invalid_argument.
PackedCodes parse_code(const std::string& text, int bits);
/// "0110...", as many bits as there are characters. Throws std::invalid_argument.
PackedCodes parse_code_bits(const std::string& text);

}  // namespace hh::retrieval
