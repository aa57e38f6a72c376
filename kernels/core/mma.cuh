// SPDX-License-Identifier: Apache-2.0
// Instructions of sm_80 that CUDA C++ has no name for: tensor-core products of bf16, f16 and TF32
// matrices, loads of their operands, and asynchronous copies to shared memory.
//
// The 16x8x16 product c[16, 8] += a[16, 16] b[16, 8] is spread over a warp. With g = lane / 4 and
// t = lane % 4, and two elements (the lower index in the lower half) in a register:
//   a[0] = a[g, 2t..], a[1] = a[g+8, 2t..], a[2] = a[g, 2t+8..], a[3] = a[g+8, 2t+8..]
//   b0 = b[2t.., g], b1 = b[2t+8.., g]
//   c[0], c[1] = c[g, 2t..], c[2], c[3] = c[g+8, 2t..]
// Source: PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type".
//
// The 16x8x8 product of TF32, a float32 whose lower 13 bits are ignored, in a register each:
//   a[0] = a[g, t], a[1] = a[g+8, t], a[2] = a[g, t+4], a[3] = a[g+8, t+4]
//   b0 = b[t, g], b1 = b[t+4, g]; c as above
#pragma once
#include "kernels/core/device.cuh"

namespace hh::gpu {

/// c += a b. T: bf16 or f16, the type of a and b.
template <class T>
__device__ void mma_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);
/// c = a b
template <class T>
__device__ void mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);

#define HH_MMA_OF(T, type)                                                                       \
  template <>                                                                                    \
  __device__ inline void mma_add<T>(float(&c)[4], const unsigned(&a)[4], unsigned b0,            \
                                    unsigned b1) {                                               \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type                          \
                 ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"          \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                \
  }                                                                                              \
  template <>                                                                                    \
  __device__ inline void mma<T>(float(&c)[4], const unsigned(&a)[4], unsigned b0, unsigned b1) { \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type                          \
                 ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"      \
                 : "=f"(c[0]), "=f"(c[1]), "=f"(c[2]), "=f"(c[3])                                \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(0.0f));     \
  }
HH_MMA_OF(bf16, "bf16")
HH_MMA_OF(f16, "f16")
#undef HH_MMA_OF

/// c += a b of TF32.
__device__ inline void mma_add_tf32(float (&c)[4], const unsigned (&a)[4], unsigned b0,
                                    unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// An address in shared memory, as the functions below take it: 32 bits are cheaper than a pointer.
__device__ inline unsigned shared_address(const void* shared) {
  return unsigned(__cvta_generic_to_shared(shared));
}

/// 16 bytes from shared + kOffset.
template <int kOffset>
__device__ void load16(unsigned (&to)[4], unsigned shared) {
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4+%5];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared), "n"(kOffset));
}

/// 2, 4, 8 or 16 aligned bytes; 2 bytes are the lower half of a register.
template <int kBytes>
__device__ void load(unsigned* to, unsigned shared) {
  if constexpr (kBytes == 2) {
    asm volatile("{ .reg .u16 h; ld.shared.u16 h, [%1]; mov.b32 %0, {h, 0}; }"
                 : "=r"(to[0])
                 : "r"(shared));
  } else if constexpr (kBytes == 4) {
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(to[0]) : "r"(shared));
  } else if constexpr (kBytes == 8) {
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "r"(shared));
  } else {
    static_assert(kBytes == 16);
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared));
  }
}
template <int kBytes>
__device__ void store(const unsigned* from, unsigned shared) {
  if constexpr (kBytes == 2) {
    asm volatile("{ .reg .u16 l, h; mov.b32 {l, h}, %1; st.shared.u16 [%0], l; }" ::"r"(shared),
                 "r"(from[0])
                 : "memory");
  } else if constexpr (kBytes == 4) {
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(shared), "r"(from[0]) : "memory");
  } else if constexpr (kBytes == 8) {
    asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(shared), "r"(from[0]), "r"(from[1])
                 : "memory");
  } else {
    static_assert(kBytes == 16);
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(shared), "r"(from[0]),
                 "r"(from[1]), "r"(from[2]), "r"(from[3])
                 : "memory");
  }
}

/// 16 bytes from global memory.
__device__ inline void load16(unsigned (&to)[4], const void* global) {
  const uint4 v = *static_cast<const uint4*>(global);
  to[0] = v.x;
  to[1] = v.y;
  to[2] = v.z;
  to[3] = v.w;
}
/// 16 bytes to global memory in one access, which the compiler doesn't always make of a uint4.
__device__ inline void store16(void* global, const unsigned (&v)[4]) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(global), "r"(v[0]), "r"(v[1]),
               "r"(v[2]), "r"(v[3])
               : "memory");
}

/// 2, 4, 8 or 16 aligned bytes of global memory, as in shared memory.
template <int kBytes>
__device__ void load(unsigned* to, const void* global) {
  if constexpr (kBytes == 2) {
    to[0] = *static_cast<const std::uint16_t*>(global);
  } else {
    const auto pack = *static_cast<const Pack<unsigned, kBytes / 4>*>(global);
#pragma unroll
    for (int i = 0; i < kBytes / 4; ++i) to[i] = pack.v[i];
  }
}
template <int kBytes>
__device__ void store(const unsigned* from, void* global) {
  if constexpr (kBytes == 2) {
    *static_cast<std::uint16_t*>(global) = std::uint16_t(from[0]);
  } else if constexpr (kBytes == 16) {
    store16(global, {from[0], from[1], from[2], from[3]});
  } else {
    Pack<unsigned, kBytes / 4> pack;
#pragma unroll
    for (int i = 0; i < kBytes / 4; ++i) pack.v[i] = from[i];
    *static_cast<Pack<unsigned, kBytes / 4>*>(global) = pack;
  }
}

/// Four 8x8 matrices of 16-bit elements: lane 8i + r gives the address of row r of matrix i, and
/// to[i] is m[g, 2t..] of matrix i.
__device__ inline void load_matrices(unsigned (&to)[4], unsigned shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared));
}
/// Four 8x8 matrices of 16-bit elements, transposed: lane 8i + r gives the address of row r of
/// matrix i, and to[i] is m[2t.., g] of matrix i.
__device__ inline void load_transposed(unsigned (&to)[4], unsigned shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared));
}

/// Two such matrices, transposed: lanes 0 to 15 give the addresses.
__device__ inline void load_two_transposed(unsigned (&to)[2], unsigned shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(to[0]), "=r"(to[1])
               : "r"(shared));
}

/// 16 aligned bytes to shared memory, there after wait_copies() (and a barrier, for other threads).
__device__ inline void copy16_async(unsigned shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(global) : "memory");
}
__device__ inline void wait_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }
/// The same, or 16 zero bytes; `global` is a valid address either way.
__device__ inline void copy16_async_or_zeros(unsigned shared, const void* global, bool copy) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global),
               "r"(copy ? 16 : 0)
               : "memory");
}
/// 4 aligned bytes.
__device__ inline void copy4_async_or_zeros(unsigned shared, const void* global, bool copy) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared), "l"(global),
               "r"(copy ? 4 : 0)
               : "memory");
}
/// The thread's copies since the last such call are a group, which may be empty.
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// As wait_copies(), but for the last kGroups groups.
template <int kGroups>
__device__ void wait_copies_but() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
}

}  // namespace hh::gpu
