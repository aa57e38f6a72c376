// SPDX-License-Identifier: Apache-2.0
// Conditions in Milvus' language, with the meaning that Index::select() gives them. Everything of a
// user's is quoted or left out: what Milvus 2.3.5 can't say exactly (globs with more than one * at the end,
// null, members with odd names) is left to the caller.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "retrieval/engines/collection.h"

namespace hh::retrieval {

inline constexpr const char *kIdField = "id", *kCodeField = "code", *kItemField = "item";

struct MilvusCondition {
  std::string text;                           // empty: all items
  std::vector<const CollectionFilter*> rest;  // what it doesn't say, or says but in part
};

/// Of a collection's items, what makes an index's comparisons of text differ from Milvus'.
struct MilvusItems {
  /// Whether a member of some item is a list or an object, which an index compares as its text. Asked where that
  /// matters.
  std::function<bool(const std::string&)> has_lists;
  /// Whether there may be a character 0, where text ends for an index.
  bool has_zeros = false;
};
MilvusCondition milvus_condition(std::span<const CollectionFilter> filters,
                                 const MilvusItems& items);

/// op: == != < <= > >=
std::string id_condition(const std::string& op, std::int64_t id);
std::string ids_condition(std::span<const std::int64_t> ids);
/// Both; either may be empty.
std::string both_conditions(const std::string& a, const std::string& b);

/// Whether items have a member, and what it is. Nothing for names that Milvus can't say.
struct MemberConditions {
  std::string exists, number, text;
  std::string scalar;  // a number, a text, true or false: no list, object or null
};
std::optional<MemberConditions> member_conditions(const std::string& key);

}  // namespace hh::retrieval
