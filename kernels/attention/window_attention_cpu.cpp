#include <cmath>
#include <cstdint>

#include "kernels/attention/window_attention.h"
#include "kernels/core/parallel.h"

namespace hh::cpu {

template <class T>
void window_attention_forward(const WindowAttentionForward<T>& p) {
  p.validate();
  const auto& s = p.shape;
  const int n = s.tokens, d = s.head_dim, c = s.channels(), h = s.heads;
  const float scale = 1 / std::sqrt(float(d));
  parallel_for(s.windows * h, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t w = i / h, head = i % h;
      const T* q = p.qkv + w * n * 3 * c + head * d;
      const T* k = q + c;
      const T* v = k + c;
      for (int a = 0; a < n; ++a) {
        float row[WindowAttentionShape::kMaxTokens];
        float most = -INFINITY, sum = 0;
        for (int b = 0; b < n; ++b) {
          float x = 0;
          for (int e = 0; e < d; ++e)
            x +=
                to_float(q[std::int64_t(a) * 3 * c + e]) * to_float(k[std::int64_t(b) * 3 * c + e]);
          row[b] = x * scale;
          most = std::fmax(most, row[b]);
        }
        for (int b = 0; b < n; ++b) sum += row[b] = std::exp(row[b] - most);
        if (p.lse != nullptr) p.lse[i * n + a] = most + std::log(sum);
        for (int e = 0; e < d; ++e) {
          float x = 0;
          for (int b = 0; b < n; ++b) x += row[b] * to_float(v[std::int64_t(b) * 3 * c + e]);
          p.out[(w * n + a) * c + e * h + head] = from_float<T>(x / sum);
        }
      }
    }
  });
}

template <class T>
void window_attention_backward(const WindowAttentionBackward<T>& p) {
  p.validate();
  const auto& s = p.shape;
  const int n = s.tokens, d = s.head_dim, c = s.channels(), h = s.heads;
  const float scale = 1 / std::sqrt(float(d));
  const std::int64_t pitch = 3 * c;
  parallel_for(s.windows * h, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t w = i / h, head = i % h;
      const T* q = p.qkv + w * n * pitch + head * d;
      const T* k = q + c;
      const T* v = k + c;
      T* dq = p.dqkv + w * n * pitch + head * d;
      const T* o = p.out + w * n * c + head;
      const T* g = p.dout + w * n * c + head;
      // One row or column of P at a time: P[a][b] and dS[a][b] from scratch each time.
      const auto prob = [&](int a, int b) {
        float x = 0;
        for (int e = 0; e < d; ++e) x += to_float(q[a * pitch + e]) * to_float(k[b * pitch + e]);
        return std::exp(x * scale - p.lse[i * n + a]);
      };
      const auto delta = [&](int a, int b) {
        float x = 0;
        for (int e = 0; e < d; ++e)
          x += to_float(g[std::int64_t(a) * c + e * h]) *
               (to_float(v[b * pitch + e]) - to_float(o[std::int64_t(a) * c + e * h]));
        return x;
      };
      for (int a = 0; a < n; ++a) {
        float gq[128] = {}, gk[128] = {}, gv[128] = {};
        for (int b = 0; b < n; ++b) {
          const float ds = n == 1 ? 0 : prob(a, b) * delta(a, b) * scale;
          const float pt = prob(b, a);
          const float dst = n == 1 ? 0 : pt * delta(b, a) * scale;
          for (int e = 0; e < d; ++e) {
            gq[e] += ds * to_float(k[b * pitch + e]);
            gk[e] += dst * to_float(q[b * pitch + e]);
            gv[e] += pt * to_float(g[std::int64_t(b) * c + e * h]);
          }
        }
        for (int e = 0; e < d; ++e) {
          dq[a * pitch + e] = from_float<T>(gq[e]);
          dq[a * pitch + c + e] = from_float<T>(gk[e]);
          dq[a * pitch + 2 * c + e] = from_float<T>(gv[e]);
        }
      }
    }
  });
}

template <class T>
std::size_t workspace_bytes(const WindowAttentionForward<T>&) {
  return 0;
}
template <class T>
std::size_t workspace_bytes(const WindowAttentionBackward<T>&) {
  return 0;
}

template void window_attention_forward(const WindowAttentionForward<float>&);
template void window_attention_forward(const WindowAttentionForward<bf16>&);
template void window_attention_backward(const WindowAttentionBackward<float>&);
template void window_attention_backward(const WindowAttentionBackward<bf16>&);
template std::size_t workspace_bytes(const WindowAttentionForward<float>&);
template std::size_t workspace_bytes(const WindowAttentionForward<bf16>&);
template std::size_t workspace_bytes(const WindowAttentionBackward<float>&);
template std::size_t workspace_bytes(const WindowAttentionBackward<bf16>&);

}  // namespace hh::cpu
