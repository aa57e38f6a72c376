// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/support/about.h"
#include "bench/support/compare.h"
#include "bench/support/plot.h"
#include "bench/support/run.h"
#include "engine/files/file.h"
#include "kernels/core/parallel.h"
#include "kernels/core/simd.h"

namespace {

constexpr const char* kHelp =
    "hh_bench list [OPTIONS]          the names of the cases\n"
    "hh_bench run [OPTIONS]           times them\n"
    "hh_bench compare A B [--fail-on-regression]\n"
    "                                 what changed from run A to run B; status 1 when slower\n"
    "hh_bench plot RUN --out FILE     roofline.svg, or report.html with the table\n"
    "hh_bench --version               version, commit and compiler\n"
    "\n"
    "  --filter REGEX     cases whose name has a match\n"
    "  --preset NAME      shapes of the network: micro, paper, all (default)\n"
    "  --B N, --T N, ...  replaces an extent: B images or windows, T tokens or rows, N elements,\n"
    "                     C channels, H heads, D head width, S side, G grid, K bits\n"
    "  --dtype LIST       f32, bf16, f16, with commas between\n"
    "  --device LIST      cpu (default), cuda, cuda:1\n"
    "  --min-time S       seconds of samples for a case, default 0.2; 12 rounds over all cases of "
    "2\n"
    "                     to 20 samples each\n"
    "  --cold, --warm     whether caches hold nothing or what they can of a case's arrays "
    "(default: warm)\n"
    "  --threads N        CPU threads (also HH_THREADS); HH_SIMD chooses the instruction set\n"
    "  --peers            on a GPU also each fused kernel's work as separate calls of cuDNN, as\n"
    "                     NAME/unfused\n"
    "  --json FILE        also writes a line of JSON for each case\n"
    "  --estimate GPU     h100, h200, a100, rtx4090: counts and ESTIMATED times by the simulator "
    "ptxsim\n"
    "                     (PTXSIM_HOME, default ../shared/ptxsim)\n"
    "HH_BENCH_ONCE=1 runs every kernel once and times nothing, for profilers.\n";

/// The report script runs this program under the simulator and prints the counters.
[[noreturn]] void estimate(const char* self, const hh::bench::Options& o, int argc, char** argv) {
  const auto script = std::filesystem::path(HH_SOURCE_DIR) / "bench/cuda_report/report.sh";
  if (!std::filesystem::exists(script)) {
    throw std::invalid_argument("--estimate: " + script.string() +
                                " isn't there; it needs the sources");
  }
  std::vector<std::string> words{script.string(), "--run", o.estimate, o.json, self};
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--estimate" || word == "--json") {
      ++i;
    } else {
      words.push_back(word);
    }
  }
  words.insert(words.end(), {"--device", "cuda"});
  std::vector<char*> raw;
  for (auto& word : words) raw.push_back(word.data());
  raw.push_back(nullptr);
  execv(raw[0], raw.data());
  throw std::runtime_error("--estimate: can't run " + words[0]);
}

int run_command(const std::vector<std::string>& words, bool list, int argc, char** argv) {
  const hh::bench::Options o = hh::bench::parse_options(words, list);
  if (!o.estimate.empty()) {
    estimate(std::filesystem::read_symlink("/proc/self/exe").c_str(), o, argc, argv);
  }
  auto records = hh::bench::run(o, list);
  if (!o.json.empty()) {
    for (auto& r : records) r.about = hh::bench::about_run(r.device);
    std::string text;
    for (const auto& r : records) text += to_json(r) + "\n";
    hh::write_file_atomically(o.json, text);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> all(argv + 1, argv + argc);
  const std::string command = all.empty() ? "--help" : all[0];
  const std::vector<std::string> words(all.begin() + (all.empty() ? 0 : 1), all.end());
  if (command == "--help" || command == "help" || command == "-h" ||
      std::find(words.begin(), words.end(), "--help") != words.end()) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (command == "--version") {
    std::puts(hh::bench::version_text().c_str());
    return 0;
  }
  hh::cpu::simd_from_environment();
  if (const char* threads = std::getenv("HH_THREADS")) {
    hh::cpu::set_num_threads(hh::bench::parse_extent("HH_THREADS", threads));
  }
  if (command == "run" || command == "list")
    return run_command(words, command == "list", argc, argv);
  if (command == "compare") return hh::bench::compare_command(words);
  if (command == "plot") return hh::bench::plot_command(words);
  throw std::invalid_argument(command + ": unknown command; see hh_bench --help");
} catch (const std::exception& e) {
  std::fprintf(stderr, "hh_bench: %s\n", e.what());
  return 2;
}
