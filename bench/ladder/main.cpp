// SPDX-License-Identifier: Apache-2.0
// hh_ladder: numbered versions of kernels, see rung.h. Without arguments all are checked on small
// shapes; --large runs each at the paper's shapes, and times it where there is a GPU.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>

#include "bench/ladder/problems.h"
#include "bench/support/profile_mark.h"
#include "engine/device/launch.h"
#include "kernels/core/cuda_check.h"

namespace hh::ladder {
namespace {

constexpr Device kGpu{DeviceKind::kCuda, 0};

class Event {
 public:
  Event() { HH_CUDA_CHECK(cudaEventCreate(&event_)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(StreamHandle stream) const { HH_CUDA_CHECK(cudaEventRecord(event_, stream)); }
  double us_since(const Event& begin) const {
    float ms = 0;
    HH_CUDA_CHECK(cudaEventSynchronize(event_));
    HH_CUDA_CHECK(cudaEventElapsedTime(&ms, begin.event_, event_));
    return 1e3 * double(ms);
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// The median of 51 runs, each between two events, after one that warms up.
template <class Call>
double median_us(const Call& call) {
  const Event begin, end;
  const StreamHandle stream = backend(kGpu).stream();
  std::vector<double> times(51);
  call();
  for (double& us : times) {
    begin.record(stream);
    call();
    end.record(stream);
    us = end.us_since(begin);
  }
  std::nth_element(times.begin(), times.begin() + 25, times.end());
  return times[25];
}

struct Climb {
  bool large = false, timed = false;
  int failures = 0;

  /// All rungs of a ladder on one problem, the product's kernel after them, and what a library has.
  template <class Args, class Problem>
  void operator()(const char* ladder, const std::vector<Rung<Args>>& rungs,
                  const Problem& problem) {
    for (const Rung<Args>& rung : rungs) {
      Args args = problem.args;
      Tensor workspace;
      if constexpr (requires { args.workspace; }) {
        if (rung.workspace_bytes != nullptr) {
          workspace = Tensor({std::int64_t(rung.workspace_bytes(args))}, DType::u8, kGpu);
          args.workspace = workspace.raw();
        }
      }
      step(ladder, rung.name, problem, [&] { rung.run(args, backend(kGpu).stream()); });
    }
    const std::string last = std::to_string(rungs.size() + 1) + "_product";
    step(ladder, last, problem, [&] { launch(kGpu, problem.args); });
    if constexpr (requires { problem.library(); }) {
      step(ladder, "library", problem, [&] { launch(kGpu, problem.library()); });
    }
  }

 private:
  template <class Problem, class Call>
  void step(const char* ladder, const std::string& rung, const Problem& problem, const Call& call) {
    const std::string name = std::string(ladder) + "/" + rung + "/" + problem.shape();
    if (!large) {
      problem.clear();
      call();
      backend(kGpu).synchronize();
      const testing::Worst worst = problem.check();
      const bool good = worst.ratio <= 1;
      failures += good ? 0 : 1;
      std::printf("%-52s %s: %.3g of the bound, at %zu\n", name.c_str(), good ? "good" : "FAILED",
                  worst.ratio, worst.index);
    } else if (timed) {
      std::printf("%-52s %10.2f us\n", name.c_str(), median_us(call));
    } else {
      bench::mark_profile({{"kind", "case"}, {"case", name}, {"bytes", problem.bytes()}});
      call();
      backend(kGpu).synchronize();
      bench::mark_profile({{"kind", "case_end"}});
      std::printf("%s\n", name.c_str());
    }
    std::fflush(stdout);
  }
};

/// Small: sizes that no tile divides, then even ones. Large: the paper's first level at batch 8,
/// its first level's windows and MLP and the interaction attention at batch 8, ImageNet-100's
/// bank.
int climb_all(bool large) {
  Climb climb{.large = large, .timed = std::filesystem::exists("/dev/nvidiactl")};
  const auto norm = [&](int images, int rows, int cols) {
    climb("layer_norm", layer_norm_rungs(), LayerNormProblem(kGpu, images, rows, cols));
    climb("layer_norm_backward", layer_norm_backward_rungs(),
          LayerNormBackwardProblem(kGpu, images, rows, cols));
  };
  const auto attention = [&](int windows, int tokens, int heads) {
    climb("attention", attention_rungs(),
          AttentionProblem(kGpu,
                           {.windows = windows, .tokens = tokens, .heads = heads, .head_dim = 32}));
  };
  const auto linear_gelu = [&](int rows, int in, int hidden) {
    climb("linear_gelu", linear_gelu_rungs(), LinearGeluProblem(kGpu, rows, in, hidden));
  };
  const auto loss = [&](int images, int rows, int bits, int classes) {
    climb("wml_loss", wml_loss_rungs(), LossProblem(kGpu, images, rows, bits, classes));
  };
  if (large) {
    norm(8, 3136, 128);
    attention(8 * 16, 196, 4);
    attention(8, 16, 8);
    linear_gelu(8 * 3136, 128, 512);
    loss(64, 13000, 64, 100);
  } else {
    norm(3, 7, 40);
    norm(2, 5, 512);
    norm(2, 70, 200);  // several blocks
    attention(2, 37, 2);
    attention(3, 16, 4);
    linear_gelu(37, 24, 40);     // less than a tile
    linear_gelu(261, 200, 264);  // several, and more steps than a ring has
    loss(5, 2200, 32, 10);       // chunks of two tiles
    loss(40, 200, 64, 100);
  }
  if (climb.failures != 0) std::printf("%d rungs FAILED\n", climb.failures);
  return climb.failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace hh::ladder

int main(int argc, char** argv) {
  const bool large = argc == 2 && std::strcmp(argv[1], "--large") == 0;
  if (argc > 1 && !large) {
    std::fprintf(stderr,
                 "hh_ladder [--large]: checks the rungs, or runs them at the paper's shapes\n");
    return 2;
  }
  int status = 2;
  try {
    status = hh::ladder::climb_all(large);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "hh_ladder: %s\n", e.what());
  }
  hh::close_devices();
  return status;
}
