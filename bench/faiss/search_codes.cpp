// SPDX-License-Identifier: Apache-2.0
// Our side of compare.py: times exact searches over codes in .npy files and prints one JSON line.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>

#include "kernels/core/parallel.h"
#include "kernels/core/simd.h"
#include "retrieval/codes/code_file.h"
#include "retrieval/files/npy.h"
#include "retrieval/metrics/metrics.h"
#include "retrieval/search/hamming_scan.h"
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

/// Runs `work` `repeats` times after one warm-up.
nlohmann::json time(int repeats, const auto& work) {
  std::vector<double> wall, cpu;
  for (int i = 0; i <= repeats; ++i) {
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

int run(int argc, char** argv) {
  if (argc != 8) {
    std::cerr << "usage: hh_search_codes scan|one|index|map DB.npy Q.npy K THREADS REPEATS OUT\n";
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
  } else if (mode == "map") {
    json = time_map(database.codes, queries.codes, k, repeats);
  } else {
    const auto start = std::chrono::steady_clock::now();
    const MultiIndex index(database.codes);
    const std::chrono::duration<double> built = std::chrono::steady_clock::now() - start;
    MultiIndex::Statistics statistics;
    json = time(repeats, [&] {
      statistics = {};
      result = index.topk(queries.codes, k, nullptr, &statistics);
    });
    json["build"] = built.count();
    json["substrings"] = index.substrings();
    json["probes"] = double(statistics.probes) / double(queries.count());
    json["codes_seen"] = double(statistics.codes_seen) / double(queries.count());
    json["queries_scanned"] = statistics.queries_scanned;
    const SearchCosts& c = index.costs();
    json["costs_ns"] = {c.scan_code, c.scan_code_alone, c.probe, c.bucket_code};
  }
  if (mode != "map") write(out, result);
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
