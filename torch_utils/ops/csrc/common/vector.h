// Vectors of the compiler's target, and the division of a row into them. Does not include PyTorch.

#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "common/numeric.h"

namespace ganfoundry {

// Widest vectors of the compiler's target.
#if defined(__AVX512F__)
constexpr int64_t kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int64_t kVectorBytes = 32;
#else
constexpr int64_t kVectorBytes = 16;
#endif
constexpr int64_t kNarrowBytes = 16;  // vectors of rows that are shorter than a wide one

template <class E, int64_t kBytes>
struct VectorOf {
    typedef E type __attribute__((vector_size(kBytes)));
};

template <class A, int64_t kBytes = kVectorBytes>
struct Vector {
    static constexpr int64_t lanes = kBytes / sizeof(A);
    using type = typename VectorOf<A, kBytes>::type;
    using Integers = typename VectorOf<std::conditional_t<sizeof(A) == 4, int32_t, int64_t>, kBytes>::type;
    using Words = typename VectorOf<uint32_t, 4 * lanes>::type;
    using Halves = typename VectorOf<uint16_t, 2 * lanes>::type;
    using Bytes = typename VectorOf<uint8_t, lanes>::type;

    static type load(const A* from) {
        type v;
        std::memcpy(&v, from, sizeof(v));
        return v;
    }

    static type load(const bfloat16* from) {
        Halves halves;
        std::memcpy(&halves, from, sizeof(halves));
        const Words bits = __builtin_convertvector(halves, Words) << 16;
        type v;
        std::memcpy(&v, &bits, sizeof(v));
        return v;
    }

    // g++ 12 converts to twice the width in a few instructions, but to four times the width lane by lane.
    static Integers load_bytes(const uint8_t* from) {
        Bytes bytes;
        std::memcpy(&bytes, from, sizeof(bytes));
        const Words words = __builtin_convertvector(__builtin_convertvector(bytes, Halves), Words);
        return __builtin_convertvector(words, Integers);
    }

    static void store_bytes(uint8_t* to, Integers v) {
        const Bytes bytes = __builtin_convertvector(v, Bytes);
        std::memcpy(to, &bytes, sizeof(bytes));
    }

    static void store(A* to, type v) { std::memcpy(to, &v, sizeof(v)); }

    static void store(bfloat16* to, type v) {
        A values[lanes];
        store(values, v);
#pragma omp simd
        for (int64_t i = 0; i < lanes; ++i) ganfoundry::store(&to[i], values[i]);
    }
};

// Smallest multiple of the widest vector that is not below n.
template <class A>
constexpr int64_t whole_vectors(int64_t n) {
    return (n + Vector<A>::lanes - 1) / Vector<A>::lanes * Vector<A>::lanes;
}

// Calls run(vector, number, begin) for blocks of `number` vectors that cover [begin, n): kMost vectors, then fewer. The
// last block may overlap the one before it. n >= V::lanes.
template <int kMost, class V, class Run>
void in_blocks(int64_t begin, int64_t n, Run run) {
    for (; n - begin >= kMost * V::lanes; begin += kMost * V::lanes) {
        run(V(), std::integral_constant<int, kMost>(), begin);
    }
    if constexpr (kMost > 1) {
        in_blocks<kMost - 1, V>(begin, n, run);
    } else if (begin < n) {
        run(V(), std::integral_constant<int, 1>(), n - V::lanes);
    }
}

// The same for [0, n) with vectors that fit. Returns false, without a call, if none does.
template <int kMost, class A, class Run>
bool in_vectors(int64_t n, Run run) {
    using Wide = Vector<A>;
    using Narrow = Vector<A, kNarrowBytes>;
    if (n >= Wide::lanes) {
        in_blocks<kMost, Wide>(0, n, run);
    } else if (n >= Narrow::lanes) {
        in_blocks<kMost, Narrow>(0, n, run);
    } else {
        return false;
    }
    return true;
}

}  // namespace ganfoundry
