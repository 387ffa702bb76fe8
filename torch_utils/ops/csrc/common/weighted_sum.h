// Weighted sums of rows, or of shifted copies of one row: the inner loops of every filter. The sums stay in registers.
// Does not include PyTorch.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/vector.h"

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

// out[i] = sum of k < K of weight[k] * x[offset[k] + i], i < n, for a number of taps small enough to be unrolled.
template <int K, class T, class S, class A>
void sum_few(T* __restrict out, int64_t n, const S* x, const int64_t* offset, const A* weight) {
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
        store(&out[i], sum);
    }
}

// The same for any number of taps and kVectors vectors.
template <class V, int kVectors, class T, class S, class A>
void sum_vectors(T* out, const S* x, const int64_t* offset, const A* weight, int64_t num) {
    typename V::type sums[kVectors] = {};
    for (int64_t k = 0; k < num; ++k) {
        const S* from = x + offset[k];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sums[v] += weight[k] * V::load(from + v * V::lanes);
    }
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) V::store(out + v * V::lanes, sums[v]);
}

// out[i] = sum over all taps, i < n. `out` does not overlap x.
template <class T, class S, class A>
void weighted_sum(T* out, int64_t n, const S* x, const int64_t* offset, const A* weight, int64_t num) {
    switch (num) {
        case 1: return sum_few<1>(out, n, x, offset, weight);
        case 2: return sum_few<2>(out, n, x, offset, weight);
        case 3: return sum_few<3>(out, n, x, offset, weight);
        case 4: return sum_few<4>(out, n, x, offset, weight);
    }
    const bool done = in_vectors<4, A>(n, [&](auto vector, auto vectors, int64_t i) {
        sum_vectors<decltype(vector), vectors>(out + i, x + i, offset, weight, num);
    });
    if (done) return;
    for (int64_t i = 0; i < n; ++i) {
        A sum = 0;
        for (int64_t k = 0; k < num; ++k) sum += weight[k] * load(x[offset[k] + i]);
        store(&out[i], sum);
    }
}

// Several weighted sums of the same rows. Row k is above[k], or above[k] + below[k] if there is `below`.
template <class S, class A>
struct RowSums {
    const S *const *above, *const *below;
    const A* weight;     // [num, pitch]: by row and by sum
    int64_t num, pitch;  // number of rows

    // out[s, i] = sum over k of weight[k, s] * row[k, i], s < sums, i < n.
    void run(A* out, int64_t out_pitch, int64_t sums, int64_t n) const {
        for (int64_t s = 0; s < sums; s += kMost) {
            run_group(out + s * out_pitch, out_pitch, weight + s, std::min<int64_t>(kMost, sums - s), n);
        }
    }

   private:
    static constexpr int kMost = 6;  // with two vectors each, they fit into 16 registers

    void run_group(A* out, int64_t out_pitch, const A* w, int64_t sums, int64_t n) const {
        switch (sums) {
            case 1: return run_fixed<1>(out, out_pitch, w, n);
            case 2: return run_fixed<2>(out, out_pitch, w, n);
            case 3: return run_fixed<3>(out, out_pitch, w, n);
            case 4: return run_fixed<4>(out, out_pitch, w, n);
            case 5: return run_fixed<5>(out, out_pitch, w, n);
            default: return run_fixed<6>(out, out_pitch, w, n);
        }
    }

    template <int kSums>
    void run_fixed(A* out, int64_t out_pitch, const A* w, int64_t n) const {
        const bool done = in_vectors<2, A>(n, [&](auto vector, auto vectors, int64_t i) {
            if (below) {
                sum_vectors<decltype(vector), kSums, vectors, true>(out + i, out_pitch, w, i);
            } else {
                sum_vectors<decltype(vector), kSums, vectors, false>(out + i, out_pitch, w, i);
            }
        });
        if (done) return;
        for (int s = 0; s < kSums; ++s) {
            for (int64_t i = 0; i < n; ++i) {
                A sum = 0;
                for (int64_t k = 0; k < num; ++k) {
                    sum += w[k * pitch + s] * (load(above[k][i]) + (below ? load(below[k][i]) : A(0)));
                }
                out[s * out_pitch + i] = sum;
            }
        }
    }

    template <class V, int kSums, int kVectors, bool kPairs>
    void sum_vectors(A* out, int64_t out_pitch, const A* w, int64_t i) const {
        typename V::type sums[kSums][kVectors] = {};
        for (int64_t k = 0; k < num; ++k) {
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) {
                auto values = V::load(above[k] + i + v * V::lanes);
                if constexpr (kPairs) values += V::load(below[k] + i + v * V::lanes);
#pragma GCC unroll 6
                for (int s = 0; s < kSums; ++s) sums[s][v] += w[k * pitch + s] * values;
            }
        }
#pragma GCC unroll 6
        for (int s = 0; s < kSums; ++s) {
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) V::store(out + s * out_pitch + v * V::lanes, sums[s][v]);
        }
    }
};

}  // namespace ganfoundry
