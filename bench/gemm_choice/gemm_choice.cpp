// SPDX-License-Identifier: Apache-2.0
// Which GEMM for the network's linear layers? Times the candidates at the network's own shapes, in
// turn within one run, and prints GFLOP/s of the fastest of many calls. See docs/decisions/gemm.md.
//
//   apt install libopenblas-openmp-dev; cmake --preset cpu; ninja -C build/cpu hh_gemm_choice
//   env -u OPENBLAS_CORETYPE OMP_NUM_THREADS=1 build/cpu/bin/hh_gemm_choice       (and 2)
#include <cblas.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Shape {
  const char* name;
  int rows, in, out;
};

constexpr Shape kShapes[] = {
    // micro preset, 64 images
    {"micro patch", 16384, 12, 32},
    {"micro qkv 1", 16384, 32, 96},
    {"micro proj 1", 16384, 32, 32},
    {"micro fc1 1", 16384, 32, 128},
    {"micro fc2 1", 16384, 128, 32},
    {"micro qkv 2", 4096, 64, 192},
    {"micro proj 2", 4096, 64, 64},
    {"micro fc1 2", 4096, 64, 256},
    {"micro fc2 2", 4096, 256, 64},
    {"micro qkv 3", 1024, 128, 384},
    {"micro proj 3", 1024, 128, 128},
    {"micro fc1 3", 1024, 128, 512},
    {"micro fc2 3", 1024, 512, 128},
    // the paper's network, 2 images
    {"paper patch", 6272, 48, 128},
    {"paper qkv 1", 6272, 128, 384},
    {"paper fc1 1", 6272, 128, 512},
    {"paper fc2 1", 6272, 512, 128},
    {"paper qkv 2", 1568, 256, 768},
    {"paper fc1 2", 1568, 256, 1024},
    {"paper fc2 2", 1568, 1024, 256},
    {"paper qkv 3", 392, 512, 1536},
    {"paper proj 3", 392, 512, 512},
    {"paper fc1 3", 392, 512, 2048},
    {"paper fc2 3", 392, 2048, 512},
    {"paper qkv 3, 8 images", 1568, 512, 1536},
    {"paper fc2 3, 8 images", 1568, 2048, 512},
};

double best_seconds(const std::function<void()>& call) {
  call();
  const auto end = Clock::now() + std::chrono::milliseconds(60);
  double best = 1e9;
  for (int i = 0; i < 5 || Clock::now() < end; ++i) {
    const auto start = Clock::now();
    call();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

using dnnl::memory;

/// C[M,N] = A B (+ C with `accumulate`), oneDNN's matmul with the strides of a transposition.
class Matmul {
 public:
  Matmul(dnnl::engine& engine, bool ta, bool tb, int m, int n, int k, bool accumulate)
      : stream_(engine) {
    const auto desc = [](int rows, int cols, bool t) {
      return memory::desc({rows, cols}, memory::data_type::f32,
                          t ? memory::dims{1, rows} : memory::dims{cols, 1});
    };
    a_ = memory(desc(m, k, ta), engine, nullptr);
    b_ = memory(desc(k, n, tb), engine, nullptr);
    c_ = memory(desc(m, n, false), engine, nullptr);
    dnnl::primitive_attr attr;
    if (accumulate) {
      dnnl::post_ops ops;
      ops.append_sum(1.f);
      attr.set_post_ops(ops);
    }
    const dnnl::matmul::primitive_desc pd(
        dnnl::matmul::desc(a_.get_desc(), b_.get_desc(), c_.get_desc()), attr, engine);
    info = pd.impl_info_str();
    primitive_ = dnnl::matmul(pd);
  }
  void operator()(const float* a, const float* b, float* c) {
    a_.set_data_handle(const_cast<float*>(a));
    b_.set_data_handle(const_cast<float*>(b));
    c_.set_data_handle(c);
    primitive_.execute(stream_, {{DNNL_ARG_SRC, a_}, {DNNL_ARG_WEIGHTS, b_}, {DNNL_ARG_DST, c_}});
  }
  std::string info;

 private:
  dnnl::stream stream_;
  memory a_, b_, c_;
  dnnl::matmul primitive_;
};

}  // namespace

int main() {
  const int threads = omp_get_max_threads();
  openblas_set_num_threads(threads);
  std::printf("%d threads, OpenBLAS core %s\n", threads, openblas_get_corename());
  std::printf("%-24s %-8s %10s %10s %10s\n", "", "", "sgemm", "matmul", "OpenBLAS");
  dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  for (const Shape& s : kShapes) {
    const auto filled = [](std::size_t n) {
      std::vector<float> v(n);
      for (std::size_t i = 0; i < n; ++i) v[i] = float(i % 17) / 16 - 0.5f;
      return v;
    };
    const int r = s.rows, in = s.in, out = s.out;
    auto x = filled(std::size_t(r) * std::size_t(in)),
         y = filled(std::size_t(r) * std::size_t(out));
    auto w = filled(std::size_t(in) * std::size_t(out));
    Matmul forward(engine, false, true, r, out, in, false);
    Matmul back_x(engine, false, false, r, in, out, false);
    Matmul back_w(engine, true, false, out, in, r, true);
    const double flops = 2.0 * r * in * out;
    const auto line = [&](const char* what, double a, double b, double c, const std::string& info) {
      std::printf("%-24s %-8s %10.1f %10.1f %10.1f  %s\n", s.name, what, flops / a / 1e9,
                  flops / b / 1e9, flops / c / 1e9, info.c_str());
    };
    line("y", best_seconds([&] {
           dnnl_sgemm('N', 'T', r, out, in, 1, x.data(), in, w.data(), in, 0, y.data(), out);
         }),
         best_seconds([&] { forward(x.data(), w.data(), y.data()); }), best_seconds([&] {
           cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, r, out, in, 1, x.data(), in,
                       w.data(), in, 0, y.data(), out);
         }),
         forward.info);
    line("dx", best_seconds([&] {
           dnnl_sgemm('N', 'N', r, in, out, 1, y.data(), out, w.data(), in, 0, x.data(), in);
         }),
         best_seconds([&] { back_x(y.data(), w.data(), x.data()); }), best_seconds([&] {
           cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, r, in, out, 1, y.data(), out,
                       w.data(), in, 0, x.data(), in);
         }),
         back_x.info);
    line("dw", best_seconds([&] {
           dnnl_sgemm('T', 'N', out, in, r, 1, y.data(), out, x.data(), in, 1, w.data(), in);
         }),
         best_seconds([&] { back_w(y.data(), x.data(), w.data()); }), best_seconds([&] {
           cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, out, in, r, 1, y.data(), out,
                       x.data(), in, 1, w.data(), in);
         }),
         back_w.info);
  }
}
