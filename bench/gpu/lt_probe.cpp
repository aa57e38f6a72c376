// SPDX-License-Identifier: Apache-2.0
// What this machine's cuBLASLt has for the products of the network's training step at 64 images: which epilogues have an algorithm, and how
// the heuristic's first choice compares with the best of 8, timed, at three sizes of workspace. Tab-separated, on stdout.
//   lt_probe SECONDS     of timing an algorithm
//   lt_probe dry         asks and times nothing, for a simulator
// Source of the epilogues: cublasLt.h. bench/gpu/bundle.sh compiles it.
#include <cublasLt.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

template <class Status>
void check(Status status, const char* what) {
  if (int(status) == 0) return;
  std::fprintf(stderr, "error: %s: %d\n", what, int(status));
  std::exit(3);
}

struct Case {
  const char* name;
  long rows, in, out;  // of the layer: [rows, in] x [out, in]^T
  int layers;          // how many the network has
};
constexpr Case kCases[] = {
    {"L0.qkv", 200704, 128, 384, 2},         {"L0.proj", 200704, 128, 128, 2},
    {"L0.fc1", 200704, 128, 512, 2},         {"L0.fc2", 200704, 512, 128, 2},
    {"L1.qkv", 50176, 256, 768, 2},          {"L1.proj", 50176, 256, 256, 2},
    {"L1.fc1", 50176, 256, 1024, 2},         {"L1.fc2", 50176, 1024, 256, 2},
    {"L2.qkv", 12544, 512, 1536, 15},        {"L2.proj", 12544, 512, 512, 15},
    {"L2.fc1", 12544, 512, 2048, 15},        {"L2.fc2", 12544, 2048, 512, 15},
    {"conv0.columns", 200704, 1152, 256, 1}, {"conv1.columns", 50176, 2304, 512, 1}};

enum Pass { kForward, kInput, kWeight };
constexpr const char* kPassNames[] = {"forward", "input", "weight"};
struct Epilogue {
  const char* name;
  Pass pass;
  cublasLtEpilogue_t value;
  cudaDataType_t vector;  // type of the bias or its gradient
  bool aux;               // reads or writes the values before GELU
};
constexpr Epilogue kEpilogues[] = {
    {"none", kForward, CUBLASLT_EPILOGUE_DEFAULT, CUDA_R_32F, false},
    {"bias_f32", kForward, CUBLASLT_EPILOGUE_BIAS, CUDA_R_32F, false},
    {"bias_bf16", kForward, CUBLASLT_EPILOGUE_BIAS, CUDA_R_16BF, false},
    {"gelu_aux_bias", kForward, CUBLASLT_EPILOGUE_GELU_AUX_BIAS, CUDA_R_16BF, true},
    {"none", kInput, CUBLASLT_EPILOGUE_DEFAULT, CUDA_R_32F, false},
    {"dgelu", kInput, CUBLASLT_EPILOGUE_DGELU, CUDA_R_32F, true},
    {"dgelu_bgrad", kInput, CUBLASLT_EPILOGUE_DGELU_BGRAD, CUDA_R_16BF, true},
    {"none", kWeight, CUBLASLT_EPILOGUE_DEFAULT, CUDA_R_32F, false},
    {"bgradb_f32", kWeight, CUBLASLT_EPILOGUE_BGRADB, CUDA_R_32F, false}};

constexpr std::size_t kMostWorkspace = 64 << 20;
constexpr int kAlgorithms = 8;

/// The arrays of the largest case, used by all.
struct Arrays {
  void *a, *b, *d, *aux, *vector, *workspace;

  explicit Arrays(bool dry) {
    const std::size_t largest = dry ? 1 << 20 : std::size_t(200704) * 1152 * 2;
    for (void** p : {&a, &b, &d, &aux}) check(cudaMalloc(p, largest), "cudaMalloc");
    check(cudaMalloc(&vector, 1 << 20), "cudaMalloc");
    check(cudaMalloc(&workspace, dry ? 1 << 20 : kMostWorkspace), "cudaMalloc");
    check(cudaMemset(d, 0, largest), "cudaMemset");
    check(cudaMemset(vector, 0, 1 << 20), "cudaMemset");
    if (!dry) fill(largest);
  }

  /// Random bf16 of size 0.125 to 0.5: with zeros a GPU draws less power and runs faster.
  void fill(std::size_t bytes) {
    std::vector<std::uint16_t> host(1 << 22);
    std::uint32_t state = 1;
    for (auto& value : host) {
      state = state * 1664525u + 1013904223u;
      value = std::uint16_t((state >> 16 & 0x8000) | (0x3e00 + (state >> 20 & 0xff)));
    }
    for (std::size_t at = 0; at < bytes; at += host.size() * 2) {
      for (void* p : {a, b, aux}) {
        check(cudaMemcpy(static_cast<char*>(p) + at, host.data(),
                         std::min(host.size() * 2, bytes - at), cudaMemcpyHostToDevice),
              "cudaMemcpy");
      }
    }
  }
};

/// One product, described to the library as kernels/gemm/gemm_cublaslt.cu does: columns first, so its first operand is our second.
class Product {
 public:
  Product(const Case& c, const Epilogue& e, std::size_t workspace_bytes, const Arrays& arrays)
      : arrays_(arrays), workspace_bytes_(workspace_bytes), beta_(e.pass == kWeight ? 1.f : 0.f) {
    rows_ = e.pass == kWeight ? c.out : c.rows;
    cols_ = e.pass == kForward ? c.out : c.in;
    inner_ = e.pass == kForward ? c.in : e.pass == kInput ? c.out : c.rows;
    const bool first = e.pass == kForward, second = e.pass == kWeight;
    check(cublasLtMatmulDescCreate(&description_, CUBLAS_COMPUTE_32F, CUDA_R_32F), "description");
    set(CUBLASLT_MATMUL_DESC_TRANSA, first ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, second ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (e.value != CUBLASLT_EPILOGUE_DEFAULT) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, e.value);
      if (e.value != CUBLASLT_EPILOGUE_DGELU) {
        set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, e.vector);
        set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, arrays.vector);
      }
      if (e.aux) {
        set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, arrays.aux);
        set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, std::int64_t(cols_));
      }
    }
    layout(&x_, CUDA_R_16BF, first ? inner_ : cols_, first ? cols_ : inner_);
    layout(&y_, CUDA_R_16BF, second ? rows_ : inner_, second ? inner_ : rows_);
    layout(&z_, e.pass == kWeight ? CUDA_R_32F : CUDA_R_16BF, cols_, rows_);
    check(cublasLtMatmulPreferenceCreate(&preference_), "preference");
    const std::uint64_t most = workspace_bytes;
    check(cublasLtMatmulPreferenceSetAttribute(
              preference_, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most),
          "preference");
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  ~Product() {
    cublasLtMatmulPreferenceDestroy(preference_);
    for (const auto which : {x_, y_, z_}) cublasLtMatrixLayoutDestroy(which);
    cublasLtMatmulDescDestroy(description_);
  }

  /// Algorithms in the heuristic's order; the status is the library's.
  int ask(cublasLtHandle_t lt, cublasLtMatmulHeuristicResult_t* found, int* count) const {
    return cublasLtMatmulAlgoGetHeuristic(lt, description_, x_, y_, z_, z_, preference_,
                                          kAlgorithms, found, count);
  }
  bool run(cublasLtHandle_t lt, const cublasLtMatmulAlgo_t& how, cudaStream_t stream) const {
    const float alpha = 1;
    return cublasLtMatmul(lt, description_, &alpha, arrays_.b, x_, arrays_.a, y_, &beta_, arrays_.d,
                          z_, arrays_.d, z_, &how, arrays_.workspace, workspace_bytes_,
                          stream) == CUBLAS_STATUS_SUCCESS;
  }
  double flops() const { return 2.0 * double(rows_) * double(cols_) * double(inner_); }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t key, T value) {
    check(cublasLtMatmulDescSetAttribute(description_, key, &value, sizeof value), "attribute");
  }
  static void layout(cublasLtMatrixLayout_t* to, cudaDataType_t type, long rows, long cols) {
    check(cublasLtMatrixLayoutCreate(to, type, std::uint64_t(rows), std::uint64_t(cols), rows),
          "layout");
  }

  const Arrays& arrays_;
  std::size_t workspace_bytes_;
  float beta_;
  long rows_, cols_, inner_;
  cublasLtMatmulDesc_t description_{};
  cublasLtMatrixLayout_t x_{}, y_{}, z_{};
  cublasLtMatmulPreference_t preference_{};
};

/// Microseconds of a run, of as many as fill `seconds`; 0 when the library refuses the algorithm after all.
double time_us(const Product& product, cublasLtHandle_t lt, const cublasLtMatmulAlgo_t& how,
               cudaStream_t stream, double seconds) {
  static cudaEvent_t begin = nullptr, end = nullptr;
  if (begin == nullptr) {
    check(cudaEventCreate(&begin), "event");
    check(cudaEventCreate(&end), "event");
  }
  const auto milliseconds = [&](int times) {
    check(cudaEventRecord(begin, stream), "event");
    for (int i = 0; i < times; ++i) product.run(lt, how, stream);
    check(cudaEventRecord(end, stream), "event");
    check(cudaEventSynchronize(end), "a product");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin, end), "event");
    return double(ms);
  };
  if (!product.run(lt, how, stream) || !product.run(lt, how, stream)) return 0;
  const int times = std::clamp(int(seconds * 1e3 / std::max(milliseconds(1), 1e-3)), 3, 200);
  return milliseconds(times) * 1e3 / times;
}

void probe(const Case& c, const Epilogue& e, int mib, const Arrays& arrays, cublasLtHandle_t lt,
           cudaStream_t stream, double seconds) {
  const Product product(c, e, std::size_t(mib) << 20, arrays);
  cublasLtMatmulHeuristicResult_t found[kAlgorithms]{};
  int count = 0;
  const int status = product.ask(lt, found, &count);
  double first = 0, best = 0;
  int best_index = -1;
  for (int i = 0; i < count && seconds > 0; ++i) {
    const double us = time_us(product, lt, found[i].algo, stream, seconds);
    if (i == 0) first = us;
    if (us > 0 && (best == 0 || us < best)) {
      best = us;
      best_index = i;
    }
  }
  const auto rate = [&](double us) { return us > 0 ? product.flops() / us / 1e6 : 0; };
  std::printf("%s\t%d\t%s\t%s\t%d\t%d\t%d\t%zu\t%.2f\t%.2f\t%.2f\t%d\t%.0f\t%.0f\n", c.name,
              c.layers, kPassNames[e.pass], e.name, mib, status, count, found[0].workspaceSize,
              double(found[0].wavesCount), first, best, best_index, rate(first), rate(best));
  std::fflush(stdout);
}

bool has_case(const Epilogue& e, const Case& c, int mib) {
  // Only split-K products, of the weights' gradients, want much workspace.
  if (e.pass != kWeight && mib != 32) return false;
  const std::string name = c.name;
  return !e.aux || name.ends_with(e.pass == kForward ? "fc1" : "fc2");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string how = argc == 2 ? argv[1] : "";
  const bool dry = how == "dry";
  const double seconds = dry ? 0 : std::atof(how.c_str());
  if (!dry && !(seconds > 0 && seconds <= 1)) {
    std::fprintf(stderr, "usage: lt_probe SECONDS|dry, up to 1 second an algorithm\n");
    return 2;
  }
  cublasLtHandle_t lt{};
  check(cublasLtCreate(&lt), "cublasLtCreate");
  std::printf("# cuBLASLt %zu\n", cublasLtGetVersion());
  const Arrays arrays(dry);
  cudaStream_t stream{};
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
  std::printf(
      "case\tlayers\tpass\tepilogue\tworkspace_mib\tstatus\talgorithms\tworkspace_"
      "used\twaves\tfirst_us\tbest_us\t"
      "best_index\tfirst_tflops\tbest_tflops\n");
  for (const Case& c : kCases) {
    for (const Epilogue& e : kEpilogues) {
      for (const int mib : {8, 32, 64}) {
        if (has_case(e, c, mib)) probe(c, e, mib, arrays, lt, stream, seconds);
      }
    }
  }
}
