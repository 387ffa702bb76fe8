// Number types of the kernels: how each is loaded, computed with and stored. Free of PyTorch.

#pragma once

#include <cstdint>

namespace ganfoundry {

// Storage of a bfloat16: the upper half of a float32.
struct bfloat16 {
    uint16_t bits;
};

// The type that T is computed in.
template <class T>
struct Compute {
    using type = T;
};
template <>
struct Compute<bfloat16> {
    using type = float;
};
template <class T>
using compute_t = typename Compute<T>::type;

inline float load(float x) { return x; }
inline double load(double x) { return x; }
inline float load(bfloat16 x) { return __builtin_bit_cast(float, uint32_t(x.bits) << 16); }

inline void store(float* out, float x) { *out = x; }
inline void store(double* out, double x) { *out = x; }

// Rounds to nearest, ties to even. Without the test a NaN of low mantissa bits would round to infinity.
inline void store(bfloat16* out, float x) {
    const uint32_t bits = __builtin_bit_cast(uint32_t, x);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    out->bits = uint16_t(x == x ? rounded : (bits >> 16) | 0x40);
}

}  // namespace ganfoundry
