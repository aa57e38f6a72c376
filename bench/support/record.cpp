// SPDX-License-Identifier: Apache-2.0
#include "bench/support/record.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <stdexcept>

namespace hh::bench {
namespace {

using Json = nlohmann::json;

double number(const Json& json, const char* key, double least) {
  const double value = json.at(key).get<double>();
  if (!std::isfinite(value) || value < least) {
    throw std::invalid_argument(std::string(key) + " is not a possible value");
  }
  return value;
}

Record parse_record(const std::string& line) {
  const Json json = Json::parse(line);
  Record r{.name = json.at("bench").get<std::string>(),
           .device = json.at("device").get<std::string>(),
           .bytes = number(json, "bytes", 0),
           .flops = number(json, "flops", 0),
           .us = json.at("us").get<std::vector<double>>(),
           .copy_us = number(json, "copy_us", 0),
           .copy_gb_s = number(json, "copy_gb_s", 0),
           .gemm_tflop_s = number(json, "gemm_tflop_s", 0),
           .gemm = json.at("gemm").get<std::string>()};
  const std::string caches = json.value("caches", "warm");  // older versions don't say it
  if (caches != "warm" && caches != "cold") {
    throw std::invalid_argument("caches is " + caches + ", neither warm nor cold");
  }
  r.cold = caches == "cold";
  if (json.contains("about")) r.about = json.at("about").get<decltype(r.about)>();
  if (r.gemm != "f32" && r.gemm != "bf16")
    throw std::invalid_argument("gemm is " + r.gemm + ", neither f32 nor bf16");
  if (r.us.empty() || r.us.size() > 100'000)
    throw std::invalid_argument("us must hold 1 to 100000 samples");
  for (const double t : r.us) {
    if (!std::isfinite(t) || t <= 0)
      throw std::invalid_argument("us holds a time that is not above 0");
  }
  for (const Json& round : json.at("rounds")) {
    r.rounds.push_back(
        {number(round, "us", 1e-6), number(round, "product_us", 0), number(round, "copy_us", 0)});
  }
  if (r.rounds.empty() || r.rounds.size() > 1000)
    throw std::invalid_argument("rounds must hold 1 to 1000");
  std::sort(r.us.begin(), r.us.end());
  return r;
}

}  // namespace

double Record::nth_fastest(double Round::*which, std::size_t n) const {
  std::vector<double> values;
  for (const Round& round : rounds) values.push_back(round.*which);
  std::sort(values.begin(), values.end());
  return values[std::min(n, values.size() - 1)];
}

std::string Record::verdict() const {
  if (share() < 0.25) return median() < kLatencyUs ? "latency-bound" : "instruction-bound";
  if (compute_share() > memory_share()) return "compute-bound";
  return in_cache() ? "cache-bound" : "memory-bound";
}

std::string to_json(const Record& r) {
  Json json{{"bench", r.name},
            {"device", r.device},
            {"bytes", r.bytes},
            {"flops", r.flops},
            {"caches", r.cold ? "cold" : "warm"},
            {"median_us", r.median()},
            {"fast_us", r.fast()},
            {"p10_us", r.percentile(0.1)},
            {"p90_us", r.percentile(0.9)},
            {"gb_per_s", r.gb_s()},
            {"tflop_per_s", r.tflop_s()},
            {"intensity", r.intensity()},
            {"of_yardstick", r.share()},
            {"verdict", r.verdict()},
            {"copy_us", r.copy_us},
            {"copy_gb_s", r.copy_gb_s},
            {"gemm_tflop_s", r.gemm_tflop_s},
            {"gemm", r.gemm},
            {"about", r.about},
            {"us", r.us}};
  for (const Round& round : r.rounds) {
    json["rounds"].push_back(
        {{"us", round.us}, {"product_us", round.product_us}, {"copy_us", round.copy_us}});
  }
  return json.dump();
}

std::vector<Record> parse_records(const std::string& text, const std::string& path) {
  std::vector<Record> records;
  std::set<std::pair<std::string, std::string>> seen;
  std::istringstream in(text);
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.empty()) continue;
    const std::string where = path + ":" + std::to_string(number) + ": ";
    try {
      records.push_back(parse_record(line));
    } catch (const Json::exception&) {
      throw std::invalid_argument(where + "not a record of hh_bench run --json");
    } catch (const std::invalid_argument& e) {
      throw std::invalid_argument(where + e.what());
    }
    if (!seen.emplace(records.back().name, records.back().device).second) {
      throw std::invalid_argument(where + records.back().name + " is there twice");
    }
  }
  if (records.empty()) throw std::invalid_argument(path + ": holds no record");
  return records;
}

std::vector<Record> read_records(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf()))
    throw std::invalid_argument(path + ": can't be read, or is empty");
  return parse_records(text.str(), path);
}

}  // namespace hh::bench
