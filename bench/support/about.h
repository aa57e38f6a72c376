// SPDX-License-Identifier: Apache-2.0
// Where figures come from: what a record or a report of hh_bench says of its run.
#pragma once
#include <map>
#include <string>

namespace hh::bench {

/// machine, cpu, instruction_set, threads, compiler, commit, version and date (UTC) of this process;
/// `device`, where that is a GPU, as gpu too.
std::map<std::string, std::string> about_run(const std::string& device);

/// Of --version: a line without its end.
std::string version_text();

}  // namespace hh::bench
