// SPDX-License-Identifier: Apache-2.0
#include "bench/support/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <sstream>
#include <stdexcept>

namespace hh::bench {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

const std::string& one_of(const std::string& option, const std::string& text,
                          std::initializer_list<const char*> allowed) {
  std::string all;
  for (const char* a : allowed) {
    if (text == a) return text;
    all += std::string(all.empty() ? "" : ", ") + a;
  }
  throw std::invalid_argument(option + " " + text + ": must be one of " + all);
}

double parse_seconds(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= 0 && value <= 60)) {
    throw std::invalid_argument("--min-time " + text + ": must be 0 to 60 seconds");
  }
  return value;
}

bool is_type(const std::string& part) {
  return part == "f32" || part == "bf16" || part == "f16" || part.starts_with("f32_") ||
         part.starts_with("bf16_") || part.starts_with("f16_");
}

}  // namespace

int parse_extent(const std::string& option, const std::string& text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1 || value > 1 << 24) {
    throw std::invalid_argument(option + " " + text +
                                ": must be a whole number from 1 to 16777216");
  }
  return value;
}

Options parse_options(std::span<const std::string> words, bool list) {
  Options o;
  std::set<std::string> given;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    given.insert(word);
    if (word == "--cold" || word == "--warm") {
      o.cold = word == "--cold";
      continue;
    }
    if (word == "--peers") {
      o.peers = true;
      continue;
    }
    const bool extent =
        word.size() == 3 && word.starts_with("--") && word[2] >= 'A' && word[2] <= 'Z';
    const bool known = extent || word == "--filter" || word == "--preset" || word == "--dtype" ||
                       word == "--device" || word == "--min-time" || word == "--threads" ||
                       word == "--json" || word == "--estimate";
    if (!known) throw std::invalid_argument(word + ": unknown option; see hh_bench --help");
    if (++i == words.size()) throw std::invalid_argument(word + ": a value must follow");
    const std::string& value = words[i];
    if (extent) {
      o.extents[word[2]] = parse_extent(word, value);
    } else if (word == "--filter") {
      try {
        (void)std::regex(value);
      } catch (const std::regex_error&) {
        throw std::invalid_argument("--filter " + value + ": not a regular expression");
      }
      o.filter = value;
    } else if (word == "--preset") {
      o.preset = one_of(word, value, {"micro", "paper", "all"});
    } else if (word == "--dtype") {
      for (const auto& d : split(value, ','))
        o.dtypes.push_back(one_of(word, d, {"f32", "bf16", "f16"}));
      if (o.dtypes.empty()) throw std::invalid_argument("--dtype: names no type");
    } else if (word == "--device") {
      o.devices = split(value, ',');
      if (o.devices.empty()) throw std::invalid_argument("--device: names no device");
    } else if (word == "--min-time") {
      o.min_time = parse_seconds(value);
    } else if (word == "--threads") {
      o.threads = parse_extent(word, value);
      if (o.threads > 1024) throw std::invalid_argument("--threads " + value + ": at most 1024");
    } else if (word == "--json") {
      o.json = value;
    } else {
      o.estimate = one_of(word, value, {"h100", "h200", "a100", "rtx4090"});
    }
  }
  const auto without = [&](const std::string& command, std::initializer_list<const char*> options,
                           const std::string& why) {
    for (const char* option : options) {
      if (given.contains(option))
        throw std::invalid_argument(command + ": takes no " + option + "; " + why);
    }
  };
  if (list)
    without("list",
            {"--device", "--json", "--estimate", "--cold", "--min-time", "--threads", "--peers"},
            "the names are the same everywhere and nothing is timed");
  if (!o.estimate.empty()) {
    without("--estimate", {"--device", "--cold", "--min-time", "--threads"},
            "each kernel runs once on the simulated " + o.estimate);
    o.devices = {"cuda"};
  }
  if (o.peers && std::none_of(o.devices.begin(), o.devices.end(),
                              [](const auto& d) { return d.starts_with("cuda"); })) {
    throw std::invalid_argument(
        "--peers: they are cuDNN's, so it needs --device cuda or --estimate; on the CPU "
        "bench/torch/compare_ops.py compares with PyTorch");
  }
  return o;
}

std::string type_of(const std::string& name) {
  for (const std::string& part : split(name, '/')) {
    if (is_type(part)) return part;
  }
  return {};
}

bool matches(const std::string& name, const std::regex& filter,
             std::span<const std::string> dtypes) {
  if (!std::regex_search(name, filter)) return false;
  if (dtypes.empty()) return true;
  const auto types = split(type_of(name), '_');
  return types.empty() || std::any_of(types.begin(), types.end(), [&](const std::string& t) {
           return std::find(dtypes.begin(), dtypes.end(), t) != dtypes.end();
         });
}

}  // namespace hh::bench
