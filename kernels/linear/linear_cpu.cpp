// Library   oneDNN. Its sgemm where a plain product is wanted; its matmul primitive where a bias is
//           added (in the epilogue, not in a pass of its own) or bf16 is native.
// Weights   dw = dy^T x sums over the rows. Chunks of rows that fit the cache are shared out, and
//           dbias is summed from the chunk that the product is about to read: dy comes from memory
//           once. When dw is so large that a copy of it for each thread would cost more than that,
//           one product with oneDNN's own threads takes its place.
// bf16      Native, or else converted to float32 in blocks of rows.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/linear_cpu.cpp"
#include <hwy/foreach_target.h>
// clang-format: foreach_target.h must come first.
#include <hwy/highway.h>

#include "kernels/core/simd-inl.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/rows.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {

template <class From, class To>
void convert(const From* from, std::int64_t n, To* to) {
  const hn::ScalableTag<float> d;
  const auto lanes = std::int64_t(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store_f32(d, load_f32(d, from + i), to + i);
  const auto rest = std::size_t(n - i);
  if (rest != 0) store_f32_n(d, load_f32_n(d, from + i, rest), to + i, rest);
}
void widen_range(const bf16* from, std::int64_t n, float* to) { convert(from, n, to); }
void narrow_range(const float* from, std::int64_t n, bf16* to) { convert(from, n, to); }

template <class T>
void sum_columns(const T* a, std::int64_t rows, std::int64_t cols, float* sums) {
  const hn::ScalableTag<float> d;
  const auto lanes = std::int64_t(hn::Lanes(d));
  std::int64_t c = 0;
  for (; c + 4 * lanes <= cols; c += 4 * lanes) {
    auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    const T* p = a + c;
    for (std::int64_t r = 0; r < rows; ++r, p += cols) {
      s0 = hn::Add(s0, load_f32(d, p));
      s1 = hn::Add(s1, load_f32(d, p + lanes));
      s2 = hn::Add(s2, load_f32(d, p + 2 * lanes));
      s3 = hn::Add(s3, load_f32(d, p + 3 * lanes));
    }
    hn::StoreU(s0, d, sums + c);
    hn::StoreU(s1, d, sums + c + lanes);
    hn::StoreU(s2, d, sums + c + 2 * lanes);
    hn::StoreU(s3, d, sums + c + 3 * lanes);
  }
  for (; c < cols; c += lanes) {
    const auto count = std::size_t(std::min(lanes, cols - c));
    auto s = hn::Zero(d);
    for (std::int64_t r = 0; r < rows; ++r) {
      const T* p = a + r * cols + c;
      s = hn::Add(s, count == std::size_t(lanes) ? load_f32(d, p) : load_f32_n(d, p, count));
    }
    store_f32_n(d, s, sums + c, count);
  }
}
void sum_columns_f32(const float* a, std::int64_t rows, std::int64_t cols, float* sums) {
  sum_columns(a, rows, cols, sums);
}
void sum_columns_bf16(const bf16* a, std::int64_t rows, std::int64_t cols, float* sums) {
  sum_columns(a, rows, cols, sums);
}

}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <oneapi/dnnl/dnnl_debug.h>

#include <algorithm>
#include <cassert>

#include "kernels/core/parallel.h"
#include "kernels/linear/onednn.h"

namespace hh::cpu {

HWY_EXPORT(widen_range);
HWY_EXPORT(narrow_range);
HWY_EXPORT(sum_columns_f32);
HWY_EXPORT(sum_columns_bf16);

namespace {
constexpr std::int64_t kGrain = 16384;  // elements per thread: a few microseconds of streaming
}

void widen(const bf16* from, std::int64_t n, float* to) {
  parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(widen_range)(from + begin, end - begin, to + begin);
  });
}

void narrow(const float* from, std::int64_t n, bf16* to) {
  parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(narrow_range)(from + begin, end - begin, to + begin);
  });
}

template <>
void column_sums(const float* a, std::int64_t begin, std::int64_t end, int cols, float* sums) {
  HWY_DYNAMIC_DISPATCH(sum_columns_f32)(a + begin * cols, end - begin, cols, sums);
}
template <>
void column_sums(const bf16* a, std::int64_t begin, std::int64_t end, int cols, float* sums) {
  HWY_DYNAMIC_DISPATCH(sum_columns_bf16)(a + begin * cols, end - begin, cols, sums);
}

void add_partials(const float* partials, std::int64_t parts, std::int64_t n, float* into) {
  parallel_for(n, std::max<std::int64_t>(64, kGrain / std::max<std::int64_t>(parts, 1)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t p = 0; p < parts; ++p) {
                   const float* from = partials + p * n;
                   for (std::int64_t i = begin; i < end; ++i) into[i] += from[i];
                 }
               });
}

template <class T>
void add_column_sums(const T* a, std::int64_t rows, int cols, std::int64_t chunks, float* partials,
                     float* into) {
  parallel_chunks(chunks, [&](std::int64_t c) {
    column_sums(a, rows * c / chunks, rows * (c + 1) / chunks, cols, partials + c * cols);
  });
  add_partials(partials, chunks, cols, into);
}
template void add_column_sums(const float*, std::int64_t, int, std::int64_t, float*, float*);
template void add_column_sums(const bf16*, std::int64_t, int, std::int64_t, float*, float*);

namespace {

/// c [m,n] = a b + beta c. Row-major; ta: a is stored [k,m], tb: b is stored [n,k].
void sgemm(bool ta, bool tb, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
           const float* b, float beta, float* c) {
  const auto status = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1.f, a, ta ? m : k, b,
                                 tb ? k : n, beta, c, n);
  if (status != dnnl_success) {
    throw DeviceError("linear: oneDNN: sgemm of " + std::to_string(m) + " x " + std::to_string(n) +
                      " x " + std::to_string(k) + " failed: " + dnnl_status2str(status));
  }
}

/// The same with oneDNN's matmul primitive: types, bias, scratch of the caller's.
class Matmul {
 public:
  struct Shape {
    dnnl::memory::data_type in, out;
    bool ta, tb;
    std::int64_t m, n, k;
    bool bias, accumulate;

    onednn::Key key() const {
      return {std::int64_t(in), std::int64_t(out), ta, tb, m, n, k, bias, accumulate};
    }
  };

  static std::shared_ptr<const Matmul> of(const Shape& s) {
    return onednn::kept<Matmul>(s.key(), [&] {
      return onednn::guarded("linear", [&] { return std::make_shared<const Matmul>(s); });
    });
  }

  explicit Matmul(const Shape& s) {
    using dnnl::memory;
    const memory::desc a({s.m, s.k}, s.in, s.ta ? memory::dims{1, s.m} : memory::dims{s.k, 1});
    const memory::desc b({s.k, s.n}, s.in, s.tb ? memory::dims{1, s.k} : memory::dims{s.n, 1});
    const memory::desc c({s.m, s.n}, s.out, memory::dims{s.n, 1});
    const memory::desc bias({1, s.n}, memory::data_type::f32, memory::dims{s.n, 1});
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (s.accumulate) {
      dnnl::post_ops add;
      add.append_sum(1.f);
      attr.set_post_ops(add);
    }
    desc_ = {s.bias ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c), attr,
             onednn::engine()};
    primitive_ = dnnl::matmul(desc_);
    has_bias_ = s.bias;
  }

  std::size_t scratch_bytes() const { return desc_.scratchpad_desc().get_size(); }

  void run(const void* a, const void* b, const float* bias, void* c, void* scratch) const {
    assert(scratch != nullptr || scratch_bytes() == 0);
    onednn::guarded("linear", [&] {
      using onednn::view;
      std::unordered_map<int, dnnl::memory> args{
          {DNNL_ARG_SRC, view(desc_.src_desc(), a)},
          {DNNL_ARG_WEIGHTS, view(desc_.weights_desc(), b)},
          {DNNL_ARG_DST, view(desc_.dst_desc(), c)},
          {DNNL_ARG_SCRATCHPAD, view(desc_.scratchpad_desc(), scratch)}};
      if (has_bias_) args.emplace(DNNL_ARG_BIAS, view(desc_.bias_desc(), bias));
      primitive_.execute(onednn::stream(), args);
    });
  }

 private:
  dnnl::matmul::primitive_desc desc_;
  dnnl::matmul primitive_;
  bool has_bias_ = false;
};

template <class T>
Matmul::Shape shape_of(const LinearForward<T>& p) {
  const auto t = onednn::type_of<T>();
  return {t, t, false, true, p.rows, p.out, p.in, p.bias != nullptr, false};
}
Matmul::Shape shape_of(const LinearBackwardInput<bf16>& p) {
  const auto t = onednn::type_of<bf16>();
  return {t, t, false, false, p.rows, p.in, p.out, false, p.accumulate};
}
Matmul::Shape shape_of(const LinearBackwardWeight<bf16>& p) {
  return {onednn::type_of<bf16>(),
          onednn::type_of<float>(),
          true,
          false,
          p.out,
          p.in,
          p.rows,
          false,
          true};
}

/// bf16 without hardware: rows converted at a time, so that the float32 copies stay in the cache.
template <class Args>
std::int64_t block_rows(const Args& p) {
  constexpr std::int64_t kFloats = 1 << 18;
  return std::min(p.rows, std::max<std::int64_t>(64, kFloats / (p.in + p.out)));
}

/// Body(first row, rows, float32 copy of x, float32 copy of y) for block after block, with scratch.
template <class Args, class Body>
void for_blocks(const Args& p, float* scratch, Body body) {
  const std::int64_t block = block_rows(p);
  for (std::int64_t r = 0; r < p.rows; r += block) {
    body(r, std::min(block, p.rows - r), scratch, scratch + block * p.in);
  }
}
template <class Args>
std::size_t block_bytes(const Args& p) {
  return std::size_t(block_rows(p) * (p.in + p.out)) * sizeof(float);
}
template <class Args>
std::size_t weight_bytes(const Args& p) {
  return std::size_t(p.in) * std::size_t(p.out) * sizeof(float);
}

/// How backward weight shares out its rows.
struct Split {
  template <class T>
  explicit Split(const LinearBackwardWeight<T>& p) {
    // A chunk's x and dy take half a MiB, but a product over fewer than 256 rows is slow.
    const std::int64_t target = std::clamp<std::int64_t>((1 << 17) / (p.in + p.out), 256, 2048);
    chunks = (p.rows + target - 1) / target;
    if (chunks > 2) chunks = (chunks + 3) / 4 * 4;  // even shares for 2 or 4 threads
    const std::int64_t threads = std::max(1, num_threads());
    const std::int64_t weights = std::int64_t{p.in} * p.out;
    // Each further thread's copy of dw is cleared, added to and read again.
    const bool cheap = 4 * std::max<std::int64_t>(1, threads - 1) * weights <=
                       p.rows * (std::int64_t{p.in} + p.out);
    by_chunks = chunks >= std::max<std::int64_t>(2, threads) && cheap;
    groups = by_chunks ? threads : 1;
  }
  std::int64_t chunks = 1;
  std::int64_t groups =
      1;  // of chunks, each with a dw of its own, the first one's being the result
  bool by_chunks = false;
};

void backward_weight(const LinearBackwardWeight<float>& p) {
  const Split split(p);
  auto* const bias_partials = static_cast<float*>(p.workspace);
  if (!split.by_chunks) {
    if (p.dbias != nullptr) {
      add_column_sums(p.dy, p.rows, p.out, split.chunks, bias_partials, p.dbias);
    }
    sgemm(true, false, p.out, p.in, p.rows, p.dy, p.x, 1, p.dweight);
    return;
  }
  float* const partials = bias_partials + (p.dbias != nullptr ? split.chunks * p.out : 0);
  const std::int64_t weights = std::int64_t{p.in} * p.out;
  parallel_chunks(split.groups, [&](std::int64_t g) {
    float* const dw = g == 0 ? p.dweight : partials + (g - 1) * weights;
    float beta = g == 0 ? 1 : 0;
    const std::int64_t end = split.chunks * (g + 1) / split.groups;
    for (std::int64_t c = split.chunks * g / split.groups; c < end; ++c) {
      const std::int64_t r = p.rows * c / split.chunks, r_end = p.rows * (c + 1) / split.chunks;
      if (p.dbias != nullptr) column_sums(p.dy, r, r_end, p.out, bias_partials + c * p.out);
      sgemm(true, false, p.out, p.in, r_end - r, p.dy + r * p.out, p.x + r * p.in, beta, dw);
      beta = 1;
    }
  });
  add_partials(partials, split.groups - 1, weights, p.dweight);
  if (p.dbias != nullptr) add_partials(bias_partials, split.chunks, p.out, p.dbias);
}

void backward_weight(const LinearBackwardWeight<bf16>& p) {
  auto* scratch = static_cast<float*>(p.workspace);
  if (p.dbias != nullptr) {
    // Its partial sums are done with before the product needs the scratch.
    add_column_sums(p.dy, p.rows, p.out, Split(p).chunks, scratch, p.dbias);
  }
  if (onednn::has_bf16()) {
    return Matmul::of(shape_of(p))->run(p.dy, p.x, nullptr, p.dweight, p.workspace);
  }
  for_blocks(p, scratch, [&](std::int64_t r, std::int64_t rows, float* x, float* dy) {
    widen(p.x + r * p.in, rows * p.in, x);
    widen(p.dy + r * p.out, rows * p.out, dy);
    sgemm(true, false, p.out, p.in, rows, dy, x, 1, p.dweight);
  });
}

void forward(const LinearForward<float>& p) {
  if (p.bias == nullptr) {
    return sgemm(false, true, p.rows, p.out, p.in, p.x, p.weight, 0, p.y);
  }
  Matmul::of(shape_of(p))->run(p.x, p.weight, p.bias, p.y, p.workspace);
}

void forward(const LinearForward<bf16>& p) {
  if (onednn::has_bf16()) {
    return Matmul::of(shape_of(p))->run(p.x, p.weight, p.bias, p.y, p.workspace);
  }
  auto* const w = static_cast<float*>(p.workspace);
  const std::int64_t weights = std::int64_t{p.in} * p.out;
  widen(p.weight, weights, w);
  for_blocks(p, w + weights, [&](std::int64_t r, std::int64_t rows, float* x, float* y) {
    widen(p.x + r * p.in, rows * p.in, x);
    if (p.bias != nullptr) {
      for (std::int64_t i = 0; i < rows; ++i) std::copy_n(p.bias, p.out, y + i * p.out);
    }
    sgemm(false, true, rows, p.out, p.in, x, w, p.bias != nullptr ? 1 : 0, y);
    narrow(y, rows * p.out, p.y + r * p.out);
  });
}

void backward_input(const LinearBackwardInput<float>& p) {
  sgemm(false, false, p.rows, p.in, p.out, p.dy, p.weight, p.accumulate ? 1 : 0, p.dx);
}

void backward_input(const LinearBackwardInput<bf16>& p) {
  if (onednn::has_bf16()) {
    return Matmul::of(shape_of(p))->run(p.dy, p.weight, nullptr, p.dx, p.workspace);
  }
  auto* const w = static_cast<float*>(p.workspace);
  const std::int64_t weights = std::int64_t{p.in} * p.out;
  widen(p.weight, weights, w);
  for_blocks(p, w + weights, [&](std::int64_t r, std::int64_t rows, float* dx, float* dy) {
    widen(p.dy + r * p.out, rows * p.out, dy);
    if (p.accumulate) widen(p.dx + r * p.in, rows * p.in, dx);
    sgemm(false, false, rows, p.in, p.out, dy, w, p.accumulate ? 1 : 0, dx);
    narrow(dx, rows * p.in, p.dx + r * p.in);
  });
}

}  // namespace

template <class T>
void linear_forward(const LinearForward<T>& p) {
  p.validate();
  if (p.rows != 0) forward(p);
}
template <class T>
void linear_backward_input(const LinearBackwardInput<T>& p) {
  p.validate();
  if (p.rows != 0) backward_input(p);
}
template <class T>
void linear_backward_weight(const LinearBackwardWeight<T>& p) {
  p.validate();
  if (p.rows != 0) backward_weight(p);
}

template <class T>
std::size_t workspace_bytes(const LinearForward<T>& p) {
  p.validate();
  if (p.rows == 0) return 0;
  if constexpr (std::is_same_v<T, float>) {
    return p.bias == nullptr ? 0 : Matmul::of(shape_of(p))->scratch_bytes();
  } else {
    if (onednn::has_bf16()) return Matmul::of(shape_of(p))->scratch_bytes();
    return weight_bytes(p) + block_bytes(p);
  }
}

template <class T>
std::size_t workspace_bytes(const LinearBackwardInput<T>& p) {
  p.validate();
  if constexpr (std::is_same_v<T, float>) {
    return 0;
  } else {
    if (p.rows == 0) return 0;
    if (onednn::has_bf16()) return Matmul::of(shape_of(p))->scratch_bytes();
    return weight_bytes(p) + block_bytes(p);
  }
}

template <class T>
std::size_t workspace_bytes(const LinearBackwardWeight<T>& p) {
  p.validate();
  if (p.rows == 0) return 0;
  const Split split(p);
  const std::size_t bias =
      p.dbias == nullptr ? 0 : std::size_t(split.chunks) * std::size_t(p.out) * sizeof(float);
  if constexpr (std::is_same_v<T, float>) {
    return bias + std::size_t(split.groups - 1) * weight_bytes(p);
  } else {
    return std::max(bias,
                    onednn::has_bf16() ? Matmul::of(shape_of(p))->scratch_bytes() : block_bytes(p));
  }
}

#define HH_INSTANTIATE(T)                                               \
  template void linear_forward(const LinearForward<T>&);                \
  template void linear_backward_input(const LinearBackwardInput<T>&);   \
  template void linear_backward_weight(const LinearBackwardWeight<T>&); \
  template std::size_t workspace_bytes(const LinearForward<T>&);        \
  template std::size_t workspace_bytes(const LinearBackwardInput<T>&);  \
  template std::size_t workspace_bytes(const LinearBackwardWeight<T>&);
HH_INSTANTIATE(float)
HH_INSTANTIATE(bf16)
#undef HH_INSTANTIATE

}  // namespace hh::cpu
#endif  // HWY_ONCE
