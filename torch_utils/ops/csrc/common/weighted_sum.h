// Weighted sum of rows, or of shifted copies of one row: the inner loop of every filter. Does not include PyTorch.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/numeric.h"

namespace ganfoundry {

// Taps of a weighted sum: their offsets relative to the first element, and their weights.
template <class A>
struct Taps {
    std::vector<int64_t> offset;
    std::vector<A> weight;

    void add(int64_t at, A w) {
        offset.push_back(at);
        weight.push_back(w);
    }
    int64_t size() const { return int64_t(offset.size()); }
};

// out[i] (+)= sum of k < K of weight[k] * x[offset[k] + i], i < n.
template <int K, bool kAdd, class T, class S, class A>
inline void sum_fixed(T* __restrict out, int64_t n, const S* x, const int64_t* offset, const A* weight) {
    const S* row[K];
    A w[K];
    for (int k = 0; k < K; ++k) {
        row[k] = x + offset[k];
        w[k] = weight[k];
    }
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
        A sum = w[0] * load(row[0][i]);
#pragma GCC unroll 4
        for (int k = 1; k < K; ++k) sum += w[k] * load(row[k][i]);
        if (kAdd) sum += load(out[i]);
        store(&out[i], sum);
    }
}

// The same for `num` taps, a number small enough to be unrolled.
template <bool kAdd, class T, class S, class A>
inline void sum_few(T* out, int64_t n, const S* x, const int64_t* offset, const A* weight, int64_t num) {
    switch (num) {
        case 1: return sum_fixed<1, kAdd>(out, n, x, offset, weight);
        case 2: return sum_fixed<2, kAdd>(out, n, x, offset, weight);
        case 3: return sum_fixed<3, kAdd>(out, n, x, offset, weight);
        default: return sum_fixed<4, kAdd>(out, n, x, offset, weight);
    }
}

// out[i] = sum over all taps, i < n. Many taps are processed four at a time over a block that stays in the L1 cache.
template <class T, class S, class A>
void weighted_sum(T* out, int64_t n, const S* x, const int64_t* offset, const A* weight, int64_t num) {
    if (num >= 1 && num <= 4) return sum_few<false>(out, n, x, offset, weight, num);
    constexpr int64_t kBlock = 512;
    A sums[kBlock];
    for (int64_t first = 0; first < n; first += kBlock) {
        const int64_t length = std::min(kBlock, n - first);
        std::fill(sums, sums + length, A(0));
        for (int64_t k = 0; k < num; k += 4) {
            sum_few<true>(sums, length, x + first, offset + k, weight + k, std::min<int64_t>(4, num - k));
        }
        for (int64_t i = 0; i < length; ++i) store(&out[first + i], sums[i]);
    }
}

}  // namespace ganfoundry
