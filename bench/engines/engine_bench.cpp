// SPDX-License-Identifier: Apache-2.0
// Searches of a collection, timed: hh_engine_bench ENGINE URL COLLECTION QUERIES.codes ROUNDS [--raw].
// With --raw (PostgreSQL) the same SQL by bare libpq takes turns with them. Seconds of each kind, the least and the
// median of the rounds, a line each with tabs between.
#include <libpq-fe.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "retrieval/engines/open_collection.h"
#include "retrieval/files/item_files.h"

namespace {

using namespace hh::retrieval;

struct Timing {
  std::string what;
  std::function<void(std::int64_t round)> run;
  std::vector<double> seconds = {};
};

double seconds_of(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The same settings as a collection's connection.
PGconn* raw_connection(const std::string& url) {
  PGconn* const raw = PQconnectdb(url.c_str());
  if (PQstatus(raw) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(raw));
  PQclear(PQexec(raw, "SET jit = off"));
  return raw;
}

/// As PostgreSQL's bit(n) in text, which it reads in no time beside a scan.
void raw_search(PGconn* raw, const std::string& collection, CodesView queries, std::int64_t row) {
  const std::string sql = "SELECT id, bit_count(code # $1) FROM hh_items_" + collection +
                          " WHERE true ORDER BY 2, 1 LIMIT $2";
  const std::string code = code_to_bits(queries, row);
  const char* const values[] = {code.c_str(), "100"};
  const Oid types[] = {1560, 20};
  PGresult* const result = PQexecParams(raw, sql.c_str(), 2, types, values, nullptr, nullptr, 1);
  if (PQresultStatus(result) != PGRES_TUPLES_OK) throw std::runtime_error(PQerrorMessage(raw));
  PQclear(result);
}

int bench(const std::vector<std::string>& words) {
  const CollectionPlace place{.engine = words[0], .url = words[1], .collection = words[2]};
  const auto collection = open_collection(place);
  const CollectionAbout about = collection->about().value();
  const ItemSet queries = read_items(words[3]);
  const CodesView codes = queries.set.codes;
  const std::int64_t rounds = std::stoll(words[4]);
  CollectionRequest plain{.k = 100}, filtered{.k = 100, .filters = about.filters({"label=3"})};
  const auto search = [&](std::int64_t first, std::int64_t count,
                          const CollectionRequest& request) {
    first %= codes.count - count + 1;
    collection->search(codes.slice(first, first + count), request);
  };
  std::vector<Timing> timings{{"one", [&](std::int64_t round) { search(round, 1, plain); }},
                              {"filter", [&](std::int64_t round) { search(round, 1, filtered); }}};
  PGconn* raw = nullptr;
  if (words.size() > 5) {
    raw = raw_connection(place.url);
    timings.push_back({"raw", [&](std::int64_t round) {
                         raw_search(raw, place.collection, codes, round % codes.count);
                       }});
  }
  for (std::int64_t round = -1; round < rounds; ++round) {
    for (Timing& timing : timings) {
      const double seconds = seconds_of([&] { timing.run(std::max<std::int64_t>(round, 0)); });
      if (round >= 0) timing.seconds.push_back(seconds);  // the first reads the tables
    }
  }
  PQfinish(raw);
  const std::int64_t batch = std::min<std::int64_t>(codes.count, 100);
  timings.push_back({"batch of " + std::to_string(batch), {}});
  timings.back().seconds.push_back(seconds_of([&] { search(0, batch, plain); }));
  for (Timing& timing : timings) {
    std::sort(timing.seconds.begin(), timing.seconds.end());
    std::printf("%s\t%.6f\t%.6f\n", timing.what.c_str(), timing.seconds.front(),
                timing.seconds[timing.seconds.size() / 2]);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 5) {
    std::fprintf(stderr, "hh_engine_bench ENGINE URL COLLECTION QUERIES ROUNDS [--raw]\n");
    return 2;
  }
  try {
    return bench(words);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hh_engine_bench: %s\n", error.what());
    return 2;
  }
}
