// SPDX-License-Identifier: Apache-2.0
// Our side of compare.py and peers.py: times exact searches over codes in .npy files and prints one
// JSON line.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>

#include "kernels/core/parallel.h"
#include "kernels/core/simd.h"
#include "retrieval/codes/code_file.h"
#include "retrieval/files/npy.h"
#include "retrieval/index/index.h"
#include "retrieval/metrics/metrics.h"
#include "retrieval/search/hamming_scan.h"
#include "retrieval/search/index_search.h"
#include "retrieval/search/multi_index.h"

namespace {

using namespace hh;
using namespace hh::retrieval;

/// Of the whole process, all threads.
double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Runs `work` `repeats` times after one warm-up; once without one for 0.
nlohmann::json time(int repeats, const auto& work) {
  std::vector<double> wall, cpu;
  for (int i = repeats > 0 ? 0 : 1; i <= std::max(repeats, 1); ++i) {
    const auto start = std::chrono::steady_clock::now();
    const double before = cpu_seconds();
    work();
    if (i == 0) continue;
    cpu.push_back(cpu_seconds() - before);
    wall.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(wall.begin(), wall.end());
  std::sort(cpu.begin(), cpu.end());
  return {{"wall_min", wall.front()},
          {"wall_median", wall[wall.size() / 2]},
          {"cpu_min", cpu.front()},
          {"cpu_median", cpu[cpu.size() / 2]}};
}

void write(const std::string& out, const TopkResult& result) {
  const std::int64_t shape[] = {result.queries, result.k};
  write_npy<std::int64_t>(out + ".rows.npy", shape, result.rows);
  write_npy<std::int32_t>(out + ".distances.npy", shape, result.distances);
}

/// mAP@k with one class an item, drawn by its number: what the time depends on is only how many.
nlohmann::json time_map(CodesView database, CodesView queries, std::int64_t k, int repeats) {
  const int classes = 100, words = 2;
  const auto labels = [&](std::int64_t count) {
    std::vector<std::uint64_t> bits(std::size_t(count * words));
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t c = i * 7919 % classes;
      bits[std::size_t(i * words + c / 64)] = std::uint64_t{1} << (c % 64);
    }
    return bits;
  };
  const auto query_labels = labels(queries.count), database_labels = labels(database.count);
  return time(repeats, [&] {
    evaluate({queries, {query_labels.data(), queries.count, classes}},
             {database, {database_labels.data(), database.count, classes}}, {.top_k = k});
  });
}

constexpr int kPercents[] = {1, 10, 50};

/// Of all rows these percents have a label; drawn by the row's number, as peers.py does.
bool has_label(std::int64_t row, int percent) {
  return (std::uint64_t(row) * 0x9E3779B97F4A7C15 >> 32) % 100 < std::uint64_t(percent);
}

/// An index in folder `out`, where label i is that of kPercents[i]; a filter by each of them.
nlohmann::json time_filters(CodeSet database, CodesView queries, std::int64_t k, int repeats,
                            const std::string& out) {
  const std::filesystem::path folder = out + ".index";
  const std::int64_t n = database.count();
  database.classes = int(std::size(kPercents));
  database.labels.assign(std::size_t(n), 0);
  for (std::int64_t r = 0; r < n; ++r) {
    for (int c = 0; c < database.classes; ++c) {
      database.labels[std::size_t(r)] |= std::uint64_t{has_label(r, kPercents[c])} << c;
    }
  }
  build_index(folder, {.set = std::move(database), .metadata = {}}, true);
  nlohmann::json rows = nlohmann::json::array();
  for (int c = 0; c < int(std::size(kPercents)); ++c) {
    const std::string filter = "label=" + std::to_string(c);
    const Index index = Index::open(folder);
    const IndexSearch search(index);
    const HammingScan scan(index.codes());
    const double first = time(0, [&] { index.select({filter}); })["wall_min"];
    const RowMask mask = index.select({filter});
    TopkResult result;
    std::int64_t q = 0;
    const auto next = [&] {
      const std::int64_t at = q++ % queries.count;
      return queries.slice(at, at + 1);
    };
    const SearchRequest request{.k = k, .filters = {filter}, .method = SearchMethod::kScan};
    rows.push_back(
        {{"percent", kPercents[c]},
         {"select", first},
         {"one", time(20 * repeats, [&] { result = scan.topk(next(), k, &mask); })},
         {"one_with_select", time(repeats, [&] { search.run({.codes = next()}, request); })},
         {"batch", time(repeats, [&] { result = scan.topk(queries, k, &mask); })}});
    write(out + "." + std::to_string(kPercents[c]), result);
  }
  std::filesystem::remove_all(folder);
  return rows;
}

/// What the process has in memory now.
std::int64_t resident_bytes() {
  std::int64_t pages = 0;
  if (std::FILE* const file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%*s %ld", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return pages * 4096;
}

/// Multi-index hashing; `alone`: a query at a time, a different one each time.
nlohmann::json time_tables(CodesView database, CodesView queries, std::int64_t k, int repeats,
                           bool alone, TopkResult& result) {
  const std::int64_t before = resident_bytes();
  const auto start = std::chrono::steady_clock::now();
  const double cpu_before = cpu_seconds();
  const MultiIndex index(database);
  const std::chrono::duration<double> built = std::chrono::steady_clock::now() - start;
  const double build_cpu = cpu_seconds() - cpu_before;
  const std::int64_t bytes = resident_bytes() - before;
  MultiIndex::Statistics statistics;
  std::int64_t q = 0;
  nlohmann::json json = time(repeats, [&] {
    statistics = {};
    const CodesView some = alone ? queries.slice(q, q + 1) : queries;
    result = index.topk(some, k, nullptr, &statistics);
    q = (q + 1) % queries.count;
  });
  const double asked = alone ? 1 : double(queries.count);
  json["build"] = built.count();
  json["build_cpu"] = build_cpu;
  json["table_bytes"] = bytes;
  json["substrings"] = index.substrings();
  json["probes"] = double(statistics.probes) / asked;
  json["codes_seen"] = double(statistics.codes_seen) / asked;
  json["queries_scanned"] = statistics.queries_scanned;
  const SearchCosts& c = index.costs();
  json["costs_ns"] = {c.scan_code, c.scan_code_alone, c.probe, c.bucket_code};
  return json;
}

int run(int argc, char** argv) {
  if (argc != 8) {
    std::cerr
        << "usage: hh_search_codes scan|one|index|index-one|filter|map DB.npy Q.npy K THREADS "
           "REPEATS OUT\n";
    return 2;
  }
  cpu::simd_from_environment();
  const std::string mode = argv[1], out = argv[7];
  const CodeSet database = read_codes(argv[2]), queries = read_codes(argv[3]);
  const std::int64_t k = std::stoll(argv[4]);
  cpu::set_num_threads(std::stoi(argv[5]));
  const int repeats = std::stoi(argv[6]);
  const HammingScan scan(database.codes);
  TopkResult result;
  nlohmann::json json;
  if (mode == "scan") {
    json = time(repeats, [&] { result = scan.topk(queries.codes, k); });
  } else if (mode == "one") {
    // Latency: a query alone, a different one each time.
    std::int64_t q = 0;
    json = time(repeats, [&] {
      result = scan.topk(queries.codes.view().slice(q, q + 1), k);
      q = (q + 1) % queries.count();
    });
  } else if (mode == "filter") {
    json["filters"] = time_filters(database, queries.codes, k, repeats, out);
  } else if (mode == "map") {
    json = time_map(database.codes, queries.codes, k, repeats);
  } else {
    json = time_tables(database.codes, queries.codes, k, repeats, mode == "index-one", result);
  }
  if (mode != "map" && mode != "filter") write(out, result);
  json["simd"] = cpu::simd_in_use();
  std::cout << json.dump() << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
