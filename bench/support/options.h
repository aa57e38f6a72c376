// SPDX-License-Identifier: Apache-2.0
// What `hh_bench run` and `hh_bench list` may be told.
#pragma once
#include <map>
#include <regex>
#include <span>
#include <string>
#include <vector>

namespace hh::bench {

struct Options {
  std::string filter = ".";         // regular expression, searched for in the case's name
  std::string preset = "all";       // micro, paper, all
  std::map<char, int> extents;      // --B 8: replaces that extent in every shape that has it
  std::vector<std::string> dtypes;  // none: all
  std::vector<std::string> devices = {"cpu"};  // an estimate is for "cuda"
  double min_time = 0.2;                       // seconds of samples for a case
  bool cold = false;                           // the caches are emptied before each sample
  bool peers = false;                          // on a GPU: also the libraries' calls instead
  int threads = 0;                             // 0: as the environment or the machine says
  std::string json, estimate;                  // file for the records; GPU whose estimate is wanted
};

/// Words after the command. Throws std::invalid_argument with the word and what is allowed.
Options parse_options(std::span<const std::string> words, bool list = false);

/// An extent of a shape: 1 to 2^24, digits only. Throws std::invalid_argument.
int parse_extent(const std::string& option, const std::string& text);

/// The element type in a case's name, the part between slashes: "f32", or "f32_bf16" of one that
/// converts. Empty where there is none.
std::string type_of(const std::string& name);

/// Whether a case's name passes the filter and its type, one of two if it converts, is wanted. A
/// case without a type always is.
bool matches(const std::string& name, const std::regex& filter,
             std::span<const std::string> dtypes);

}  // namespace hh::bench
