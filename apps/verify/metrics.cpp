// SPDX-License-Identifier: Apache-2.0
#include "retrieval/metrics/metrics.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/verify/cases.h"
#include "engine/files/sha256.h"
#include "engine/text/json_text.h"
#include "retrieval/codes/code_file.h"
#include "retrieval/search/hamming_scan.h"

namespace hh::apps {
namespace {

using retrieval::TieRule;

// Both sides add up at most some 10^4 positive terms of at most 1 in double precision: each sum
// errs by less than 10^4 * 2^-53 of itself, about 10^-12.
constexpr double kTolerance = 1e-12;
// The reference weights the cut distance class by hypergeometric probabilities from lgamma of up to
// n = 10^4: lgamma(n) is some 10^5, so its logarithms err by 10^5 * 2^-53 * a few, about 10^-10.
constexpr double kExpectedTolerance = 1e-9;

struct Case {
  retrieval::PackedCodes queries, database;
  std::vector<std::uint64_t> query_labels, database_labels;
  int classes = 0;

  retrieval::LabelledCodes labelled(const retrieval::PackedCodes& codes,
                                    const std::vector<std::uint64_t>& labels) const {
    return {codes.view(), {labels.data(), codes.count(), classes}};
  }
  retrieval::Evaluation evaluate(retrieval::EvaluationOptions options) const {
    options.bootstrap_samples = 0;
    return retrieval::evaluate(labelled(queries, query_labels), labelled(database, database_labels),
                               options);
  }
};

std::span<const std::uint8_t> bytes_of(const SafetensorsFile& file, const std::string& key,
                                       std::int64_t rows) {
  const SafetensorsFile::Entry& entry = file.entry(key);
  HH_REQUIRE(entry.dtype == "U8" && entry.shape.size() == 2 && (rows < 0 || entry.shape[0] == rows),
             key << ": wanted uint8 [" << (rows < 0 ? "n" : std::to_string(rows)) << ", ...]");
  return {reinterpret_cast<const std::uint8_t*>(entry.bytes.data()), entry.bytes.size()};
}

Case read_case(const SafetensorsFile& file, const std::string& name, int bits) {
  Case c;
  const auto codes = [&](const std::string& key) {
    return retrieval::PackedCodes::from_bytes(bytes_of(file, key, -1), file.entry(key).shape[0],
                                              bits);
  };
  c.queries = codes(name + ".query_codes");
  c.database = codes(name + ".db_codes");
  c.classes = int(file.entry(name + ".query_labels").shape.at(1));
  const auto labels = [&](const std::string& key, std::int64_t rows) {
    const auto bytes = bytes_of(file, key, rows);
    HH_REQUIRE(file.entry(key).shape[1] == c.classes,
               key << ": wanted " << c.classes << " classes");
    return pack_labels(bytes, rows, c.classes);
  };
  c.query_labels = labels(name + ".query_labels", c.queries.count());
  c.database_labels = labels(name + ".db_labels", c.database.count());
  return c;
}

std::uint64_t fnv1a64(std::span<const std::uint8_t> bytes, std::uint64_t h = 0xCBF29CE484222325u) {
  for (const std::uint8_t b : bytes) h = (h ^ b) * 0x100000001B3u;
  return h;
}

/// All distances, and the whole stable ranking of the exact search, against the stored hashes.
void verify_search(const Case& c, const SafetensorsFile& file, const std::string& name,
                   const nlohmann::json& json, Report& report) {
  const std::int64_t queries = c.queries.count(), items = c.database.count();
  const retrieval::HammingScan scan(c.database);
  Sha256 distance_sha, rank_sha;
  std::uint64_t fnv = fnv1a64({});
  std::vector<float> first_row, top;
  for (std::int64_t q = 0; q < queries; ++q) {
    const retrieval::TopkResult found = scan.topk(c.queries.view().slice(q, q + 1), items);
    std::vector<std::uint8_t> distances(static_cast<std::size_t>(items));
    std::vector<std::uint32_t> ranks(static_cast<std::size_t>(items));
    for (std::size_t i = 0; i < std::size_t(items); ++i) {
      ranks[i] = std::uint32_t(found.rows[i]);
      distances.at(std::size_t(found.rows[i])) = std::uint8_t(found.distances[i]);
    }
    fnv = fnv1a64(distances, fnv);
    distance_sha.update(std::as_bytes(std::span(distances)));
    rank_sha.update(std::as_bytes(std::span(ranks)));
    if (q == 0) first_row.assign(distances.begin(), distances.end());
    const std::size_t kept = std::min<std::size_t>(10, ranks.size());
    top.insert(top.end(), ranks.begin(), ranks.begin() + std::ptrdiff_t(kept));
  }
  report.compare(name + ".hamming_row0", first_row, file.to_doubles(name + ".hamming_row0"), 0);
  report.compare(name + ".stable_top10", top, file.to_doubles(name + ".stable_top10"), 0);
  // Left out of the JSON for large cases.
  if (json.at("hamming_u8_fnv1a64").is_string()) {
    report.equal(name + ".hamming_u8_fnv1a64", fmt::format("{:016x}", fnv),
                 json.at("hamming_u8_fnv1a64").get<std::string>());
  }
  report.equal(name + ".hamming_u8_sha256", distance_sha.hex(),
               json.at("hamming_u8_sha256").get<std::string>());
  report.equal(name + ".stable_rank_u32_sha256", rank_sha.hex(),
               json.at("stable_rank_u32_sha256").get<std::string>());
}

/// The cut that a key of the JSON names: "full", "all_topK_-1" (all but the last), "1000".
std::int64_t cut_named(const std::string& key) {
  if (key == "full") return 0;
  if (key == "all_topK_-1") return -1;
  return std::stoll(key);
}

void verify_map(const Case& c, const SafetensorsFile& file, const std::string& name,
                const nlohmann::json& json, TieRule rule, double tolerance, Report& report) {
  const std::string form = to_string(rule);
  for (const auto& [key, value] : json.at("map_" + form).items()) {
    const retrieval::Evaluation e = c.evaluate({.top_k = cut_named(key), .ks = {}});
    report.compare(name + ".map_" + form + "." + key, e.map[rule], value.get<double>(), tolerance);
    const std::string single = name + ".ap_" + form + "_" + key;
    if (!file.contains(single)) continue;
    const std::vector<double> reference = file.to_doubles(single);
    double worst = reference.size() == e.average_precision[rule].size() ? 0 : INFINITY;
    for (std::size_t i = 0; i < std::min(reference.size(), e.average_precision[rule].size()); ++i) {
      worst = std::max(worst, std::abs(reference[i] - e.average_precision[rule][i]));
    }
    report.compare(single, worst, 0, tolerance);
  }
}

void verify_ranks(const Case& c, const std::string& name, const nlohmann::json& json,
                  Report& report) {
  retrieval::EvaluationOptions options{.ks = {}};
  for (const auto& [k, value] : json.at("precision_at_k_stable").items()) {
    options.ks.push_back(std::stoll(k));
  }
  std::sort(options.ks.begin(), options.ks.end());
  const retrieval::Evaluation e = c.evaluate(options);
  report.equal(name + ".queries_without_relevant", std::to_string(e.without_relevant),
               std::to_string(json.at("queries_without_relevant").get<std::int64_t>()));
  for (const retrieval::AtRank& at : e.at_rank) {
    const std::string k = std::to_string(at.k);
    report.compare(name + ".precision_at_" + k, at.precision,
                   json.at("precision_at_k_stable").at(k).get<double>(), kTolerance);
    report.compare(name + ".recall_at_" + k, at.recall,
                   json.at("recall_at_k_stable").at(k).get<double>(), kTolerance);
  }
  report.equal(name + ": values of k", std::to_string(e.at_rank.size()),
               std::to_string(json.at("precision_at_k_stable").size()));

  const nlohmann::json& by_radius = json.at("by_radius");
  std::vector<std::int64_t> retrieved, relevant, answered;
  double precision = 0, pooled = 0, recall = 0;
  for (std::size_t r = 0; r < e.at_radius.size(); ++r) {
    const retrieval::AtRadius& at = e.at_radius[r];
    retrieved.push_back(at.retrieved);
    relevant.push_back(at.relevant);
    answered.push_back(at.answered);
    const auto error = [&](const char* key, double ours) {
      const nlohmann::json& reference = by_radius.at(key).at(r);
      return reference.is_null() ? 0 : std::abs(ours - reference.get<double>());
    };
    precision = std::max(precision, error("precision_mean_empty_is_0", at.precision));
    pooled = std::max(pooled, error("precision_micro", at.precision_pooled));
    recall = std::max(recall, error("recall_mean", at.recall));
  }
  const auto same = [&](const char* key, const std::vector<std::int64_t>& ours) {
    report.equal(name + ".by_radius." + key, json_text(nlohmann::json(ours)),
                 json_text(by_radius.at(key)));
  };
  same("retrieved", retrieved);
  same("relevant", relevant);
  same("queries_with_results", answered);
  report.compare(name + ".by_radius.precision_mean_empty_is_0", precision, 0, kTolerance);
  report.compare(name + ".by_radius.precision_micro", pooled, 0, kTolerance);
  report.compare(name + ".by_radius.recall_mean", recall, 0, kTolerance);
  report.compare(name + ".precision_within_radius_2", e.within_radius.precision,
                 json.at("precision_within_radius_2").get<double>(), kTolerance);
}

}  // namespace

void verify_metrics(const GoldenCase& files, const nlohmann::json& json, Report& report) {
  const SafetensorsFile file = SafetensorsFile::open(files.sibling(".safetensors"));
  for (const auto& [name, entry] : json.items()) {
    if (!entry.is_object()) continue;  // a version
    const Case c = read_case(file, name, entry.at("config").at("bits").get<int>());
    verify_search(c, file, name, entry, report);
    verify_map(c, file, name, entry, TieRule::kStable, kTolerance, report);
    verify_map(c, file, name, entry, TieRule::kExpected, kExpectedTolerance, report);
    verify_ranks(c, name, entry, report);
  }
}

}  // namespace hh::apps
