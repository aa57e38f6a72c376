// SPDX-License-Identifier: Apache-2.0
#include "apps/commands/command.h"

#include <fmt/format.h>
#include <signal.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "apps/terminal/terminal_log.h"
#include "data/images/decode.h"
#include "engine/device/signal_stack.h"
#include "engine/device/tuning/tuning.h"
#include "kernels/core/parallel.h"
#include "kernels/core/simd.h"
#include "pipeline/recipe.h"

namespace hh::apps {
namespace {

std::atomic<int> stop = 0;  // the signal

void on_signal(int signal) {
  if (stop.exchange(signal) != 0) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

}  // namespace

void use_threads(int threads) {
  const char* text = std::getenv("HH_THREADS");
  if (threads == 0 && text != nullptr && *text != '\0') {
    const std::string wrong = within(0, pipeline::kMostThreads)(std::string(text));
    HH_REQUIRE(wrong.empty(), "HH_THREADS = " << wrong);
    threads = std::atoi(text);
  }
  cpu::set_num_threads(threads);
}

void ComputeOptions::add_to(Command command) {
  command.add_option("--device", device, "auto, cpu, cuda or cuda:N").capture_default_str();
  command.add_option("--threads", threads, "CPU threads; 0: HH_THREADS, or one per hardware thread")
      .check(within(0, pipeline::kMostThreads))
      .capture_default_str();
  command.add_option("--simd", simd, "force an instruction set: baseline, avx2 or avx512");
  command
      .add_option(
          "--tune", tune,
          "GPUs: on times the library's algorithms for each product once and keeps the fastest "
          "(docs/gpu.md), off takes the library's first; otherwise HH_TUNE, which is on unless 0")
      .one_of({"on", "off"});
  command.add_flag("--verbose", verbose, "also say what was chosen and why");
}

Device ComputeOptions::apply() const {
  if (verbose) log_more();
  if (!simd.empty()) cpu::simd_force(simd);
  use_threads(threads);
  if (!tune.empty()) set_tuning(tune == "on");
  return parse_device(device);
}

void add_allow_changed_data(Command command, bool& value) {
  command.add_flag(
      "--allow-changed-data", value,
      "when images of the run's split are gone or changed, go on with what is still there");
}

void add_batches(Command command, int& batch, int& workers, const char* batch_help) {
  command.add_option("--batch", batch, batch_help).check(within(1, 65536)).capture_default_str();
  command.add_option("--workers", workers, "threads that read images")
      .check(within(0, 256))
      .capture_default_str();
}

void add_max_pixels(Command command, double& value) {
  command
      .add_option("--max-pixels", value,
                  fmt::format("largest image that is read, millions of pixels; otherwise the "
                              "recipe's, for a model that of its training; without one {}",
                              data::kDefaultMegapixels))
      .check(within(.0001, double(data::kMostMegapixels)));
}

void add_exif_gone(Command command) {
  command
      .add_flag("--exif",
                [] {
                  throw std::invalid_argument(
                      "--exif: a model knows itself whether photographs are turned "
                      "(hybridhash info says it, data.exif_orientation of the recipe "
                      "decides it): leave the option out");
                })
      .hidden();
}

void add_list_labels(Command command, std::string& value, bool paths) {
  std::vector<std::string> words{"auto", "columns", "class"};
  if (paths) words.emplace_back("none");
  command
      .add_option(
          "--list-labels", value,
          std::string("the list's numbers: columns of 0 and 1, one a class, or the number of "
                      "the class") +
              (paths ? "; none: its lines are paths; auto: none where no numbers stand "
                       "behind the first path"
                     : ""))
      .one_of(words)
      .capture_default_str();
}

void add_code_format(Command command, std::string& value) {
  command
      .add_option("--code-format", value,
                  "codes of a .csv file: hex, bits, or auto: by the column's name or the index")
      .one_of({"auto", "hex", "bits"})
      .capture_default_str();
}

void add_mix_int8(Command command, bool& value) {
  command.add_flag("--mix-int8", value,
                   "let codes of --dtype int8 meet others of the same model; some of their bits "
                   "differ");
}

void add_examples(Command command, const std::string& examples) {
  command.footer("Examples:\n" + examples);
}

bool stop_requested() { return stop != 0; }
int stop_signal() { return stop; }

void catch_stop_signals() {
  use_signal_stack();
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

}  // namespace hh::apps
