// Packs: neighboring values that one instruction loads or stores, 128 bits of them if they are aligned.

#pragma once

#include <cstdint>

#include "common/numeric.h"
#include "common/portable.h"

namespace ganfoundry {

// Number of values of type T in 128 bits.
template <class T>
inline constexpr int kPack = int(16 / sizeof(T));

template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
    T at[V];
};

// One access of all bytes of P. Without the intrinsics nvcc splits some accesses into their parts.
#ifdef __CUDA_ARCH__
template <int kBytes> struct Whole;
template <> struct Whole<2> { using type = unsigned short; };
template <> struct Whole<4> { using type = unsigned int; };
template <> struct Whole<8> { using type = uint2; };
template <> struct Whole<16> { using type = uint4; };
template <class P> using whole_t = typename Whole<int(sizeof(P))>::type;

template <class P> __device__ __forceinline__ P read(const void* from) {
    return __builtin_bit_cast(P, __ldg(static_cast<const whole_t<P>*>(from)));
}
template <class P> __device__ __forceinline__ void write(void* to, const P& pack) {
    __stwb(static_cast<whole_t<P>*>(to), __builtin_bit_cast(whole_t<P>, pack));
}
#else
template <class P> P read(const void* from) { return *static_cast<const P*>(from); }
template <class P> void write(void* to, const P& pack) { *static_cast<P*>(to) = pack; }
#endif

template <int V, class T>
GF_HD void load_pack(const T* from, float* to) {
    const auto pack = read<Pack<T, V>>(from);
    GF_UNROLL for (int j = 0; j < V; ++j) to[j] = load(pack.at[j]);
}

template <int V, class T>
GF_HD void store_pack(const float* from, T* to) {
    Pack<T, V> pack;
    GF_UNROLL for (int j = 0; j < V; ++j) store(&pack.at[j], from[j]);
    write(to, pack);
}

// V float32 values, aligned as a pack of four.
template <int V>
GF_HD void load_floats(const float* from, float* to) {
    constexpr int kStep = V < 4 ? V : 4;
    GF_UNROLL for (int j = 0; j < V; j += kStep) load_pack<kStep>(from + j, to + j);
}

}  // namespace ganfoundry
