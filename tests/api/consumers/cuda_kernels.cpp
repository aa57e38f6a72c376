// SPDX-License-Identifier: Apache-2.0
// A GPU's kernels alone: an addition, and the nearest of four codes.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <vector>

#include "kernels/elementwise/add.h"
#include "kernels/hamming/hamming_topk.h"

namespace {

void check(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::cerr << cudaGetErrorString(status) << '\n';
  std::exit(1);
}

/// Device memory with these values.
template <class T>
class Array {
 public:
  explicit Array(const std::vector<T>& values) : count_(values.size()) {
    check(cudaMalloc(&data_, count_ * sizeof(T)));
    check(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Array() { cudaFree(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T* data() { return static_cast<T*>(data_); }
  std::vector<T> host() {
    std::vector<T> values(count_);
    check(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  void* data_ = nullptr;
  std::size_t count_;
};

void add(cudaStream_t stream) {
  Array<float> sum({1, 2, 3}), other({10, 20, 30});
  const hh::Add<float> p{.x = other.data(), .y = sum.data(), .n = 3};
  hh::gpu::run(p, stream);
  check(cudaStreamSynchronize(stream));
  std::cout << sum.host()[0] << ' ' << sum.host()[2] << '\n';
}

void nearest(cudaStream_t stream) {
  Array<std::uint64_t> query({0x0f}), database({0xff, 0x0f, 0x00, 0x1f});
  Array<std::int64_t> rows({9, 9, 9});
  Array<std::int32_t> distances({9, 9, 9});
  hh::HammingTopk p{.queries = query.data(),
                    .database = database.data(),
                    .rows = rows.data(),
                    .distances = distances.data(),
                    .query_count = 1,
                    .row_count = 4,
                    .k = 3,
                    .bits = 8};
  Array<char> workspace(std::vector<char>(hh::gpu::workspace_bytes(p) + 1));
  p.workspace = workspace.data();
  hh::gpu::run(p, stream);
  check(cudaStreamSynchronize(stream));
  const auto ids = rows.host();
  const auto bits = distances.host();
  for (std::size_t i = 0; i < ids.size(); ++i) std::cout << ids[i] << ':' << bits[i] << ' ';
  std::cout << '\n';
}

/// An exception of the library is caught here.
bool refuses_null(cudaStream_t stream) {
  try {
    hh::gpu::run(hh::Add<float>{.x = nullptr, .y = nullptr, .n = 3}, stream);
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}

}  // namespace

int main() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreate(&stream));
  add(stream);
  nearest(stream);
  const bool refused = refuses_null(stream);
  check(cudaStreamDestroy(stream));
  return refused ? 0 : 1;
}
