// Spectral normalization of all weights of a pass, and the gradient. Does not include PyTorch.
//
// Blocks belong to one weight each, and sums have a fixed order. A block that needs the norm of a vector computes it for
// itself: the vectors are short, and the caches have them.

#pragma once

#include <cmath>

#include "common/launch.cuh"
#include "spectral_weights/spectral_weights_cuda.h"

namespace ganfoundry {

inline constexpr float kSpectralEps = 1e-12f;  // smallest divisor of u and v

// The weights of one launch; `first_block` of a weight is that of its first block.
struct SpectralViews {
    SpectralView at[kMaxSpectral];
    int count;

    GF_HD const SpectralView& of_block(uint32_t block) const {
        int k = 0;
        while (k + 1 < count && block >= at[k + 1].first_block) ++k;
        return at[k];
    }
};

GF_HD uint32_t rows_of(const SpectralView& s) { return s.transposed ? s.inner : s.outer; }
GF_HD uint32_t columns_of(const SpectralView& s) { return (s.transposed ? s.outer : s.inner) * s.taps; }

// Place of an element of the matrix in the weight.
GF_HD uint32_t place_of(const SpectralView& s, uint32_t row, uint32_t column) {
    if (!s.transposed) return row * columns_of(s) + column;
    return (column / s.taps * s.inner + row) * s.taps + column % s.taps;
}

// Place in the normalized weight of tap `tap` of the pair `pair` of indices of the first two axes.
GF_HD uint32_t low_place(const SpectralView& s, uint32_t pair, uint32_t tap) {
    if (!s.channels_last) return pair * s.taps + tap;
    return (pair / s.inner * s.taps + tap) * s.inner + pair % s.inner;
}

GF_HD void store_low(const SpectralView& s, uint32_t i, float x) {
    if (s.dtype == DType::float32) store(&static_cast<float*>(s.low)[i], x);
    if (s.dtype == DType::float16) store(&static_cast<float16*>(s.low)[i], x);
    if (s.dtype == DType::bfloat16) store(&static_cast<bfloat16*>(s.low)[i], x);
}

GF_HD float load_low(const SpectralView& s, uint32_t i) {
    if (s.dtype == DType::float32) return static_cast<const float*>(s.low)[i];
    if (s.dtype == DType::float16) return load(static_cast<const float16*>(s.low)[i]);
    return load(static_cast<const bfloat16*>(s.low)[i]);
}

// Sums over the threads of a block in two phases: 16 sums of 16 threads each, then their sum.
struct BlockSum {
    float of_thread[256];

    GF_HD void gather(uint32_t thread) {
        if (thread >= 16) return;
        for (uint32_t k = 1; k < 16; ++k) of_thread[thread] += of_thread[thread + 16 * k];
    }

    GF_HD float total() const {
        float sum = 0;
        for (uint32_t k = 0; k < 16; ++k) sum += of_thread[k];
        return sum;
    }
};

// Sum of the squares that belong to a thread.
GF_HD float squares_of(const float* x, uint32_t size, uint32_t thread) {
    float sum = 0;
    for (uint32_t i = thread; i < size; i += 256) sum += x[i] * x[i];
    return sum;
}

GF_HD float divisor(float sum_of_squares) {
    const float norm = sqrtf(sum_of_squares);
    return norm > kSpectralEps || norm != norm ? norm : kSpectralEps;
}

// Columns of a block of `ColumnsKernel`; its threads share the rows of each.
inline constexpr uint32_t kSpectralColumns = 32;

struct ColumnSums {
    BlockSum v, u;
    float products[256];
};

// `to` = W^T u. The first of two runs in an iteration writes scratch; the second one, `after_rows`, normalizes the
// result of `RowsKernel`, which is u, and writes `next` and v.
struct ColumnsKernel : Kernel<3, ColumnSums> {
    SpectralViews weights;
    bool iterate, after_rows;

    template <int kPhase>
    GF_HD void run(uint32_t block, uint32_t thread, ColumnSums& shared) const {
        const SpectralView& s = weights.of_block(block);
        const uint32_t rows = rows_of(s), columns = columns_of(s), in_block = block - s.first_block;
        const uint32_t column = in_block * kSpectralColumns + thread % kSpectralColumns;
        const float* u = after_rows ? s.scratch + columns : s.u;
        if constexpr (kPhase == 0) {
            float sum = 0;
            for (uint32_t row = thread / kSpectralColumns; column < columns && row < rows; row += kSlices) {
                sum += s.w[place_of(s, row, column)] * u[row];
            }
            shared.products[thread] = sum;
            if (after_rows) {
                shared.v.of_thread[thread] = squares_of(s.scratch, columns, thread);
                shared.u.of_thread[thread] = squares_of(u, rows, thread);
            }
        } else if constexpr (kPhase == 1) {
            if (after_rows) {
                shared.v.gather(thread);
                shared.u.gather(thread);
            }
        } else {
            const float scale = after_rows ? scale_of(shared) : 1;
            if (thread < kSpectralColumns && column < columns) {
                float sum = 0;
                for (uint32_t k = 0; k < kSlices; ++k) sum += shared.products[thread + k * kSpectralColumns];
                (iterate && !after_rows ? s.scratch : s.v)[column] = sum * scale;
            }
            if (in_block == 0 && iterate == after_rows) {
                for (uint32_t row = thread; row < rows; row += kThreads) s.next[row] = u[row] * scale;
            }
        }
    }

   private:
    static constexpr uint32_t kSlices = kThreads / kSpectralColumns;

    // u = W v / |W v| with v = W^T u / |W^T u|: `RowsKernel` has left out the division of v.
    GF_HD static float scale_of(const ColumnSums& shared) {
        const float of_v = 1 / divisor(shared.v.total());
        return of_v / divisor(shared.u.total() * of_v * of_v);
    }
};

// W v without the normalization of v, both in scratch; a block has a row.
struct RowsKernel : Kernel<3, BlockSum> {
    SpectralViews weights;

    template <int kPhase>
    GF_HD void run(uint32_t block, uint32_t thread, BlockSum& shared) const {
        const SpectralView& s = weights.of_block(block);
        const uint32_t row = block - s.first_block, columns = columns_of(s);
        if constexpr (kPhase == 0) {
            float sum = 0;
            for (uint32_t i = thread; i < columns; i += kThreads) sum += s.w[place_of(s, row, i)] * s.scratch[i];
            shared.of_thread[thread] = sum;
        } else if constexpr (kPhase == 1) {
            shared.gather(thread);
        } else if (thread == 0) {
            s.scratch[columns + row] = shared.total();
        }
    }
};

// sigma = |v| and W / sigma; a thread has one pair of indices of the first two axes, and runs over the taps.
struct NormalizeKernel : Kernel<3, BlockSum> {
    SpectralViews weights;

    template <int kPhase>
    GF_HD void run(uint32_t block, uint32_t thread, BlockSum& shared) const {
        const SpectralView& s = weights.of_block(block);
        const uint32_t columns = columns_of(s), in_block = block - s.first_block;
        if constexpr (kPhase == 0) {
            shared.of_thread[thread] = squares_of(s.v, columns, thread);
        } else if constexpr (kPhase == 1) {
            shared.gather(thread);
        } else {
            const float sigma = sqrtf(shared.total());
            if (in_block == 0 && thread == 0) s.v[columns] = sigma;
            const uint32_t pair = in_block * kThreads + thread;
            if (pair >= s.outer * s.inner) return;
            for (uint32_t tap = 0; tap < s.taps; ++tap) {
                store_low(s, low_place(s, pair, tap), s.w[pair * s.taps + tap] / sigma);
            }
        }
    }
};

// The part of <gradient, W> that belongs to a block of `GradientKernel`.
struct DotKernel : Kernel<3, BlockSum> {
    SpectralViews weights;

    template <int kPhase>
    GF_HD void run(uint32_t block, uint32_t thread, BlockSum& shared) const {
        const SpectralView& s = weights.of_block(block);
        const uint32_t in_block = block - s.first_block, pair = in_block * kThreads + thread;
        if constexpr (kPhase == 0) {
            float sum = 0;
            for (uint32_t tap = 0; pair < s.outer * s.inner && tap < s.taps; ++tap) {
                sum += load_low(s, low_place(s, pair, tap)) * s.w[pair * s.taps + tap];
            }
            shared.of_thread[thread] = sum;
        } else if constexpr (kPhase == 1) {
            shared.gather(thread);
        } else if (thread == 0) {
            s.scratch[in_block] = shared.total();
        }
    }
};

// dW = g / sigma - <g, W> u v^T / sigma^3
struct GradientKernel : Kernel<3, BlockSum> {
    SpectralViews weights;

    template <int kPhase>
    GF_HD void run(uint32_t block, uint32_t thread, BlockSum& shared) const {
        const SpectralView& s = weights.of_block(block);
        const uint32_t pairs = s.outer * s.inner;
        if constexpr (kPhase == 0) {
            float sum = 0;
            for (uint32_t i = thread; i < ceil_div(pairs, kThreads); i += kThreads) sum += s.scratch[i];
            shared.of_thread[thread] = sum;
        } else if constexpr (kPhase == 1) {
            shared.gather(thread);
        } else {
            const float sigma = s.v[columns_of(s)], factor = shared.total() / (sigma * sigma * sigma);
            const uint32_t pair = (block - s.first_block) * kThreads + thread;
            if (pair >= pairs) return;
            const uint32_t first = pair / s.inner, second = pair % s.inner;
            const float of_row = factor * s.next[s.transposed ? second : first];
            const float* of_columns = s.v + (s.transposed ? first : second) * s.taps;
            for (uint32_t tap = 0; tap < s.taps; ++tap) {
                const float g = load_low(s, low_place(s, pair, tap));
                s.dw[pair * s.taps + tap] = g / sigma - of_row * of_columns[tap];
            }
        }
    }
};

}  // namespace ganfoundry
