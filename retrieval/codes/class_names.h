// SPDX-License-Identifier: Apache-2.0
// Classes by their names: of one set of items, and of two that number them differently.
#pragma once
#include <string>
#include <vector>

#include "retrieval/codes/code_file.h"

namespace hh::retrieval {

/// A class of an index by its name or number. Throws std::invalid_argument.
int class_named(const std::string& name, int classes, const std::vector<std::string>& names);
/// The name of a class, or its number.
std::string class_text(int c, const std::vector<std::string>& names);

/// For each class of `from` its number in `to`, -1 where it has no counterpart.
std::vector<int> class_counterparts(const std::vector<std::string>& from,
                                    const std::vector<std::string>& to);

/// How the classes of a set become those of an index that has some already.
struct EnteredClasses {
  int classes = 0;                 // of the index from then on
  std::vector<std::string> names;  // [classes], or empty: neither has any
  std::vector<int> to;             // [set.classes]: the set's class c is the index's to[c]
  std::string note;                // what the user must know of it, in words; may be empty
};

/// By name where both have names that differ: classes that the index lacks are put behind its own.
/// Otherwise equal numbers are the same class. Throws std::invalid_argument.
EnteredClasses enter_classes(const CodeSet& set, int classes,
                             const std::vector<std::string>& names);

/// One numbering for the labels of both: the database's classes as they are, then those that only
/// the queries have.
struct JoinedClasses {
  int classes = 0;
  std::vector<std::string> names;                // [classes], or empty: neither side has any
  std::vector<std::uint64_t> queries, database;  // labels, [n, ceil(classes / 64)]
  std::vector<std::string> queries_only, database_only;  // names without a counterpart
  std::string note;  // what a reader of figures must know of it, in words; may be empty
};

/// By name where both have names. Otherwise numbers are taken to mean the same on both sides.
/// Both have labels. Throws std::invalid_argument where no name is shared, or where a name that
/// must be matched stands for two classes.
JoinedClasses join_classes(const CodeSet& queries, const CodeSet& database);

}  // namespace hh::retrieval
