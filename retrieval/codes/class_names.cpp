// SPDX-License-Identifier: Apache-2.0
#include "retrieval/codes/class_names.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "engine/text/counted.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"

namespace hh::retrieval {
namespace {

/// Class c of each item becomes class to[c] of `classes`.
std::vector<std::uint64_t> renumbered(LabelsView labels, const std::vector<int>& to, int classes) {
  const auto words = std::size_t(label_words(classes));
  std::vector<std::uint64_t> all(std::size_t(labels.count) * words);
  for (std::int64_t i = 0; i < labels.count; ++i) {
    labels.for_each_class(
        i, [&](int c) { set_label(&all[std::size_t(i) * words], to[std::size_t(c)]); });
  }
  return all;
}

std::vector<int> as_they_are(int classes) {
  std::vector<int> to(std::size_t(classes), 0);
  std::iota(to.begin(), to.end(), 0);
  return to;
}

void check_each_once(std::vector<std::string> names, const char* whose) {
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  HH_REQUIRE(twice == names.end(), "two classes of the "
                                       << whose << " are called '" << *twice
                                       << "', so they can't be matched by name: give each a name "
                                          "of its own");
}

/// "'cat', 'dog' and 7 others".
std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kMost); ++i) {
    text += (i == 0 ? "'" : ", '") + names[i] + "'";
  }
  if (names.size() == kMost + 1) return text + " and 1 other";
  if (names.size() > kMost) text += " and " + std::to_string(names.size() - kMost) + " others";
  return text;
}

constexpr const char* kMatchedByName = "the classes are numbered differently, and matched by name";

/// Classes of `from` without a counterpart (-1 in `to`) are put behind `names`. Their names.
std::vector<std::string> append_missing(const std::vector<std::string>& from, std::vector<int>& to,
                                        std::vector<std::string>& names) {
  std::vector<std::string> added;
  for (std::size_t c = 0; c < to.size(); ++c) {
    if (to[c] >= 0) continue;
    to[c] = int(names.size());
    names.push_back(from[c]);
    added.push_back(from[c]);
  }
  return added;
}

std::string note_of(const JoinedClasses& joined) {
  std::string note = kMatchedByName;
  if (!joined.queries_only.empty()) {
    note += "; only the queries have " + listed(joined.queries_only) +
            ": such queries find nothing relevant and count 0";
  }
  if (!joined.database_only.empty()) {
    note += "; only the database has " + listed(joined.database_only);
  }
  return note;
}

}  // namespace

int class_named(const std::string& name, int classes, const std::vector<std::string>& names) {
  auto found = std::find(names.begin(), names.end(), name);
  // A folder's name as the shell gives it.
  if (found == names.end()) found = std::find(names.begin(), names.end(), as_utf8(name));
  if (found != names.end()) return int(found - names.begin());
  const bool digits = !name.empty() && name.size() <= 6 &&
                      name.find_first_not_of("0123456789") == std::string::npos;
  const int c = digits ? std::stoi(name) : -1;
  std::string known;
  for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 20); ++i) {
    known += (i > 0 ? ", " : "") + names[i];
  }
  HH_REQUIRE(c >= 0 && c < classes, "label '" << name << "': the index has "
                                              << counted(classes, "class", "classes")
                                              << (known.empty() ? ", from 0 on" : ": " + known));
  return c;
}

std::string class_text(int c, const std::vector<std::string>& names) {
  return std::size_t(c) < names.size() ? names[std::size_t(c)] : std::to_string(c);
}

std::vector<int> class_counterparts(const std::vector<std::string>& from,
                                    const std::vector<std::string>& to) {
  std::unordered_map<std::string, int> numbers;
  for (std::size_t c = 0; c < to.size(); ++c) numbers.emplace(to[c], int(c));
  std::vector<int> found;
  for (const std::string& name : from) {
    const auto at = numbers.find(name);
    found.push_back(at == numbers.end() ? -1 : at->second);
  }
  return found;
}

EnteredClasses enter_classes(const CodeSet& set, int classes,
                             const std::vector<std::string>& names) {
  EnteredClasses entered{.classes = std::max(classes, set.classes),
                         .names = names,
                         .to = as_they_are(set.classes),
                         .note = {}};
  if (names.empty() || set.class_names.empty() || names == set.class_names) {
    if (names.empty() && std::size_t(classes) <= set.class_names.size()) {
      entered.names = set.class_names;
    }
    HH_REQUIRE(entered.names.empty() || std::size_t(set.classes) <= entered.names.size(),
               "labels of " << set.classes << " classes without names, for an index of "
                            << entered.names.size() << " named ones: give labels from 0 to "
                            << entered.names.size() - 1 << ", or codes that name their classes");
    return entered;
  }
  check_each_once(set.class_names, "codes");
  check_each_once(names, "index");
  entered.to = class_counterparts(set.class_names, names);
  const auto added = append_missing(set.class_names, entered.to, entered.names);
  HH_REQUIRE(entered.names.size() <= std::size_t(kMaxClasses),
             "the index would have " << entered.names.size() << " classes, and the most is "
                                     << kMaxClasses << ": keep the items in another index");
  entered.classes = int(entered.names.size());
  entered.note = kMatchedByName;
  if (!added.empty()) entered.note += "; new in the index: " + listed(added);
  return entered;
}

JoinedClasses join_classes(const CodeSet& queries, const CodeSet& database) {
  JoinedClasses joined{.classes = std::max(queries.classes, database.classes), .names = {}};
  std::vector<int> to = as_they_are(queries.classes);
  const bool both = !queries.class_names.empty() && !database.class_names.empty();
  if (!both || queries.class_names == database.class_names) {
    // The longer of the two, where that has a name for every class.
    for (const auto* names : {&database.class_names, &queries.class_names}) {
      if (joined.names.empty() && names->size() == std::size_t(joined.classes)) {
        joined.names = *names;
      }
    }
    if (queries.classes != database.classes) {
      joined.note = "the queries have " + std::to_string(queries.classes) +
                    " classes, the database " + std::to_string(database.classes) +
                    ", and not both have names: equal numbers are taken for the same class";
    }
  } else {
    check_each_once(queries.class_names, "queries");
    check_each_once(database.class_names, "database");
    joined.names = database.class_names;
    to = class_counterparts(queries.class_names, database.class_names);
    joined.queries_only = append_missing(queries.class_names, to, joined.names);
    joined.classes = int(joined.names.size());
    const auto back = class_counterparts(database.class_names, queries.class_names);
    for (std::size_t c = 0; c < back.size(); ++c) {
      if (back[c] < 0) joined.database_only.push_back(database.class_names[c]);
    }
    HH_REQUIRE(joined.queries_only.size() < queries.class_names.size(),
               "queries and database share no class: the queries have "
                   << listed(queries.class_names) << ", the database "
                   << listed(database.class_names));
    joined.note = note_of(joined);
  }
  joined.queries = renumbered(queries.label_view(), to, joined.classes);
  joined.database =
      renumbered(database.label_view(), as_they_are(database.classes), joined.classes);
  return joined;
}

}  // namespace hh::retrieval
