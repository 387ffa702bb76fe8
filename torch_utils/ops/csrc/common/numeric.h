// Number types of the kernels: loading, computing and storing. Does not include PyTorch.

#pragma once

#include <cstdint>

#include "common/portable.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace ganfoundry {

// Storage of a bfloat16: the upper half of a float32.
struct bfloat16 {
    uint16_t bits;
};

// Storage of an IEEE half, for the CUDA kernels and their tests; the CPU kernels do not take it.
struct float16 {
    uint16_t bits;
};

// Type of computations with T.
template <class T>
struct Compute {
    using type = T;
};
template <>
struct Compute<bfloat16> {
    using type = float;
};
template <>
struct Compute<float16> {
    using type = float;
};
template <class T>
using compute_t = typename Compute<T>::type;

GF_HD uint32_t bits_of(float x) { return __builtin_bit_cast(uint32_t, x); }
GF_HD float float_of(uint32_t bits) { return __builtin_bit_cast(float, bits); }

GF_HD float load(float x) { return x; }
GF_HD double load(double x) { return x; }
GF_HD float load(bfloat16 x) { return float_of(uint32_t(x.bits) << 16); }

GF_HD float load(float16 x) {
#ifdef __CUDA_ARCH__
    return __half2float(__ushort_as_half(x.bits));
#else
    // The exponents' biases differ by 112: a product corrects that and normalizes subnormal numbers.
    const uint32_t sign = uint32_t(x.bits & 0x8000) << 16, magnitude = uint32_t(x.bits & 0x7fff) << 13;
    const bool finite = magnitude < 0x0f800000;
    const uint32_t bits = finite ? bits_of(float_of(magnitude) * 0x1p112f) : magnitude | 0x7f800000;
    return float_of(sign | bits);
#endif
}

GF_HD void store(float* out, float x) { *out = x; }
GF_HD void store(double* out, double x) { *out = x; }

// Rounds to nearest, ties to even. Without the test, a NaN with low mantissa bits only would round to infinity.
GF_HD void store(bfloat16* out, float x) {
#ifdef __CUDA_ARCH__
    out->bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
#else
    const uint32_t bits = bits_of(x);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    out->bits = uint16_t(x == x ? rounded : (bits >> 16) | 0x40);
#endif
}

GF_HD void store(float16* out, float x) {
#ifdef __CUDA_ARCH__
    out->bits = __half_as_ushort(__float2half_rn(x));
#else
    const uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffff;
    uint32_t half = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;  // NaN; infinity
    if (magnitude < 0x38800000) {
        half = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);  // subnormal: 2^-24 is the last place of 0.5
    } else if (magnitude < 0x477ff000) {
        half = (magnitude - (112u << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    }
    out->bits = uint16_t((bits >> 16 & 0x8000) | half);
#endif
}

}  // namespace ganfoundry
