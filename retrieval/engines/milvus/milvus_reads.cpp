// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "engine/text/utf8.h"
#include "kernels/core/check.h"
#include "retrieval/engines/milvus/item_json.h"
#include "retrieval/engines/milvus/milvus_collection.h"

namespace hh::retrieval {
namespace {

using Stub = MilvusConnection::Stub;
constexpr int kSeconds = 120;
constexpr std::int64_t kPage = 16'384;   // the most rows of one query
constexpr std::int64_t kLeastPage = 64;  // of the largest items 4 MB
constexpr std::int64_t kIdsOfRequest = 4'096;

void add_limit(milvus::QueryRequest& request, std::int64_t limit) {
  auto* const pair = request.add_query_params();
  pair->set_key("limit");
  pair->set_value(std::to_string(limit));
}

/// Which rows pass what Milvus couldn't say. The index's own table decides, so that an index and a
/// collection never differ.
std::vector<bool> passing_rows(const std::vector<Description>& descriptions,
                               const std::vector<const CollectionFilter*>& rest) {
  const auto n = std::int64_t(descriptions.size());
  std::vector<bool> pass(descriptions.size(), true);
  if (rest.empty() || n == 0) return pass;
  ItemTable table(":memory:", ItemTable::Mode::kCreate);
  table.insert(0, descriptions);
  for (const CollectionFilter* wanted : rest) {
    const IndexFilter& filter = wanted->filter;
    const bool negated = filter.op == "!=";
    const auto rows =
        filter.field == "path"
            ? table.rows_with_path(bytes_of_utf8(filter.value), filter.op == "~", n)
            : table.rows_with_metadata(filter.field, negated ? "=" : filter.op, filter.value, n);
    std::vector<bool> found(descriptions.size(), false);
    for (const std::int64_t row : rows) found[std::size_t(row)] = true;
    for (std::size_t i = 0; i < pass.size(); ++i) pass[i] = pass[i] && found[i] != negated;
  }
  return pass;
}

/// Codes without padding, items with what the whole set has.
ItemSet item_set(const CollectionAbout& about, std::vector<std::int64_t> ids, PackedCodes codes,
                 const std::vector<Description>& descriptions) {
  ItemSet items{.set = about.code_set(), .metadata = {}};
  CodeSet& set = items.set;
  if (codes.count() > 0) set.codes = std::move(codes);
  set.ids = std::move(ids);
  const auto any = [&](auto Description::*field) {
    return std::any_of(descriptions.begin(), descriptions.end(),
                       [&](const Description& d) { return !(d.*field).empty(); });
  };
  const bool paths = any(&Description::path), metadata = any(&Description::metadata);
  for (const Description& d : descriptions) {
    if (set.classes > 0) append_labels(set.labels, set.classes, d.labels);
    if (paths) set.names.push_back(d.path);
    if (metadata) items.metadata.push_back(d.metadata);
  }
  return items;
}

}  // namespace

milvus::QueryResults MilvusCollection::query(const std::string& condition,
                                             std::initializer_list<const char*> outputs,
                                             std::int64_t limit) {
  return loaded([&] {
    milvus::QueryRequest request;
    request.set_collection_name(collection_);
    request.set_expr(condition);
    for (const char* output : outputs) request.add_output_fields(output);
    if (limit > 0) add_limit(request, limit);
    say_how_fresh(request);
    return connection_.call(&Stub::Query, request, kSeconds);
  });
}

std::int64_t MilvusCollection::count_of(const std::string& condition) {
  const auto results = query(condition, {"count(*)"}, 0);
  const bool one = results.fields_data_size() == 1 &&
                   results.fields_data(0).scalars().long_data().data_size() == 1 &&
                   results.fields_data(0).scalars().long_data().data(0) >= 0;
  if (!one) connection_.fail("it gave no number of items; is it a Milvus?");
  return results.fields_data(0).scalars().long_data().data(0);
}

void MilvusCollection::wait_for_deletes() {
  strong_ = true;
  try {
    any("");
  } catch (...) {
    strong_ = false;
    throw;
  }
  strong_ = false;
}

bool MilvusCollection::any(const std::string& condition) {
  return !rows_of(query(condition, {kIdField}, 1), Fields::kIds).ids.empty();
}

MilvusCollection::Rows MilvusCollection::rows(const std::string& condition, Fields fields,
                                              std::int64_t limit) {
  switch (fields) {
    case Fields::kIds:
      return rows_of(query(condition, {kIdField}, limit), fields);
    case Fields::kItems:
      return rows_of(query(condition, {kIdField, kItemField}, limit), fields);
    default:
      return rows_of(query(condition, {kIdField, kItemField, kCodeField}, limit), fields);
  }
}

void MilvusCollection::read_codes(const milvus::FieldData& field, Rows& rows) const {
  const std::string& bytes = field.vectors().binary_vector();
  try {
    rows.codes =
        PackedCodes::from_bytes({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()},
                                std::int64_t(rows.ids.size()), about_->bits);
  } catch (const std::invalid_argument& error) {
    connection_.fail("collection " + collection_ + " has a damaged code: " + error.what());
  }
}

MilvusCollection::Rows MilvusCollection::rows_of(const milvus::QueryResults& results,
                                                 Fields fields) {
  Rows rows;
  const milvus::FieldData *codes = nullptr, *items = nullptr;
  for (const milvus::FieldData& field : results.fields_data()) {
    if (field.field_name() == kIdField) {
      const auto& ids = field.scalars().long_data().data();
      rows.ids.assign(ids.begin(), ids.end());
    }
    if (field.field_name() == kCodeField) codes = &field;
    if (field.field_name() == kItemField) items = &field;
  }
  if (fields == Fields::kIds || rows.ids.empty()) return rows;
  const auto n = int(rows.ids.size());
  if (items == nullptr || items->scalars().json_data().data_size() != n ||
      (fields == Fields::kAll && codes == nullptr)) {
    connection_.fail("collection " + collection_ + ": fields are missing in an answer");
  }
  for (int i = 0; i < n; ++i) {
    auto description = parse_item_json(items->scalars().json_data().data(i));
    const bool right = description && (description->labels.empty() ||
                                       description->labels.back() < about_->classes);
    if (!right) {
      connection_.fail("collection " + collection_ + ": item " +
                       std::to_string(rows.ids[std::size_t(i)]) +
                       " isn't as this program writes it; push it anew");
    }
    rows.descriptions.push_back(std::move(*description));
  }
  if (fields == Fields::kAll) read_codes(*codes, rows);
  return rows;
}

void MilvusCollection::each_page(const std::string& condition, Fields fields,
                                 std::optional<std::int64_t> after,
                                 const std::function<bool(Rows&)>& f) {
  for (std::int64_t page = kPage;;) {
    const std::string behind = after ? id_condition(">", *after) : "";
    Rows found;
    try {
      found = rows(both_conditions(behind, condition), fields, page);
    } catch (const MilvusTooLarge&) {
      if (page <= kLeastPage) throw;
      page /= 4;
      continue;
    }
    const auto n = std::int64_t(found.ids.size());
    if (n == 0) return;
    // Else it would go on for ever.
    const bool in_order = std::is_sorted(found.ids.begin(), found.ids.end(), std::less_equal<>()) &&
                          (!after || found.ids.front() > *after);
    if (!in_order || n > page) connection_.fail("it gave items out of order; is it a Milvus?");
    after = found.ids.back();
    // A page that isn't full isn't the last: of an item that is there twice, since two programs pushed it at once,
    // one is left out.
    if (!f(found)) return;
  }
}

std::vector<std::int64_t> MilvusCollection::passing(const MilvusCondition& condition) {
  std::vector<std::int64_t> ids;
  each_page(condition.text, Fields::kItems, {}, [&](Rows& page) {
    const std::vector<bool> pass = passing_rows(page.descriptions, condition.rest);
    for (std::size_t i = 0; i < page.ids.size(); ++i) {
      if (pass[i]) ids.push_back(page.ids[i]);
    }
    return true;
  });
  return ids;
}

MilvusCondition MilvusCollection::condition_of(std::span<const CollectionFilter> filters) {
  check_members(filters);
  const auto has_lists = [this](const std::string& key) {
    const auto conditions = member_conditions(key);
    return count_of(conditions->exists) != count_of(conditions->scalar);
  };
  return milvus_condition(filters, {.has_lists = has_lists, .has_zeros = has_zeros_});
}

void MilvusCollection::check_members(std::span<const CollectionFilter> filters) {
  for (const CollectionFilter& wanted : filters) {
    const std::string& field = wanted.filter.field;
    if (field != "id" && field != "label" && field != "path") check_member(wanted.filter);
  }
}

void MilvusCollection::check_member(const IndexFilter& filter) {
  const bool ordered = filter.op != "=" && filter.op != "!=";
  const bool words = filter.value.find_first_of("0123456789") == std::string::npos;
  if (members_.contains(filter.field) && !(ordered && words)) return;
  const auto conditions = member_conditions(filter.field);
  bool exists = false, number = false, text = false;
  if (conditions) {
    exists = any(conditions->exists);
    number = exists && ordered && words && any(conditions->number);
    text = number && any(conditions->text);
  } else {
    each_page("", Fields::kItems, {}, [&](Rows& page) {
      const auto n = std::int64_t(page.ids.size());
      ItemTable table(":memory:", ItemTable::Mode::kCreate);
      table.insert(0, page.descriptions);
      exists = exists || table.any_has(filter.field, n);
      number = number || table.any_has(filter.field, n, "integer") ||
               table.any_has(filter.field, n, "real");
      text = text || table.any_has(filter.field, n, "text");
      return true;
    });
  }
  if (exists) members_.insert(filter.field);
  if (!exists && !any("")) return;  // there are no items
  HH_REQUIRE(exists, "filter '" << filter.text << "': no item's metadata have a '" << filter.field
                                << "'; what all items have is called label, path and id");
  HH_REQUIRE(!ordered || !words || !number || text,
             "filter '" << filter.text << "': '" << filter.value << "' isn't a number, and '"
                        << filter.field << "' is one");
}

std::int64_t MilvusCollection::count(std::span<const CollectionFilter> filters) {
  known_about();
  const MilvusCondition condition = condition_of(filters);
  return condition.rest.empty() ? count_of(condition.text)
                                : std::int64_t(passing(condition).size());
}

std::vector<CollectionItem> MilvusCollection::items(std::span<const std::int64_t> ids) {
  known_about();
  std::unordered_map<std::int64_t, CollectionItem> found;
  for (std::size_t first = 0; first < ids.size(); first += kIdsOfRequest) {
    const auto part = ids.subspan(first, std::min<std::size_t>(kIdsOfRequest, ids.size() - first));
    each_page(ids_condition(part), Fields::kAll, {}, [&](Rows& page) {
      for (std::size_t i = 0; i < page.ids.size(); ++i) {
        CollectionItem item{.id = page.ids[i], .code = {}, .description = page.descriptions[i]};
        item.code.append(page.codes.view().slice(std::int64_t(i), std::int64_t(i) + 1));
        found.emplace(item.id, std::move(item));
      }
      return true;
    });
  }
  std::vector<CollectionItem> items;
  for (const std::int64_t id : ids) {
    if (const auto at = found.find(id); at != found.end()) items.push_back(at->second);
  }
  return items;
}

std::vector<CollectionItem> MilvusCollection::list(std::int64_t after, std::int64_t limit,
                                                   std::span<const CollectionFilter> filters) {
  known_about();
  const MilvusCondition condition = condition_of(filters);
  std::vector<CollectionItem> items;
  if (limit <= 0) return items;
  each_page(condition.text, Fields::kAll, after, [&](Rows& page) {
    const std::vector<bool> pass = passing_rows(page.descriptions, condition.rest);
    for (std::size_t i = 0; i < page.ids.size() && std::int64_t(items.size()) < limit; ++i) {
      if (!pass[i]) continue;
      items.push_back({.id = page.ids[i], .code = {}, .description = page.descriptions[i]});
      items.back().code.append(page.codes.view().slice(std::int64_t(i), std::int64_t(i) + 1));
    }
    return std::int64_t(items.size()) < limit;
  });
  return items;
}

void MilvusCollection::pull(const std::function<void(const ItemSet&)>& piece) {
  known_about();
  each_page("", Fields::kAll, {}, [&](Rows& page) {
    piece(item_set(*about_, std::move(page.ids), std::move(page.codes), page.descriptions));
    return true;
  });
}

void MilvusCollection::pull_ids(const std::function<void(std::span<const std::int64_t>)>& piece) {
  known_about();
  each_page("", Fields::kIds, {}, [&](Rows& page) {
    piece(page.ids);
    return true;
  });
}

}  // namespace hh::retrieval
