// Sums of the partial results of blocks, in a fixed order: results are bit-identical. Does not include PyTorch.

#pragma once

#include "common/launch.cuh"

namespace ganfoundry {

// out [outer, inner] = sum over the rows of in [outer, rows, inner]; nothing if out is null.
struct RowSum {
    const float* in;
    float* out;
    int64_t outer, rows, inner;
};

// Up to kSums such sums in one launch. Neighboring threads take neighboring columns; the others of a block take other
// rows of the same columns, so that a few columns of many rows occupy a GPU, too.
template <int kSums>
struct SumRowsKernel : Kernel<2, float[256]> {
    static constexpr uint32_t kRowsPerThread = 32;  // at most, while a block has two columns

    struct Part {
        const float* in;
        float* out;
        uint32_t rows, inner, columns, column_blocks, first_block;
    };

    Part parts[kSums];
    int64_t blocks = 0;

    explicit SumRowsKernel(const RowSum (&sums)[kSums]) {
        for (int i = 0; i < kSums; ++i) {
            const RowSum& s = sums[i];
            uint32_t columns = kThreads;
            while (columns > 2 && s.rows * columns > int64_t(kThreads) * kRowsPerThread) columns /= 2;
            const int64_t across = ceil_div(s.inner, columns);
            parts[i] = {s.in, s.out, uint32_t(s.rows), uint32_t(s.inner), columns, uint32_t(across), uint32_t(blocks)};
            if (s.out != nullptr) blocks += s.outer * across;
        }
    }

    int64_t num_blocks() const { return blocks; }

    template <int kPhase>
    GF_HD void run(uint32_t block, uint32_t thread, float (&shared)[256]) const {
        Part p = parts[0];
        GF_UNROLL for (int i = 1; i < kSums; ++i) {
            if (parts[i].out != nullptr && block >= parts[i].first_block) p = parts[i];
        }
        const uint32_t at = block - p.first_block, outer = at / p.column_blocks;
        const uint32_t c = at % p.column_blocks * p.columns + thread % p.columns;
        if constexpr (kPhase == 0) {
            const float* from = p.in + uint64_t(outer) * p.rows * p.inner + c;
            float sum = 0;
            for (uint32_t row = thread / p.columns; c < p.inner && row < p.rows; row += kThreads / p.columns) {
                sum += from[uint64_t(row) * p.inner];
            }
            shared[thread] = sum;
        } else {
            if (thread >= p.columns || c >= p.inner) return;
            float sum = 0;
            for (uint32_t t = thread; t < kThreads; t += p.columns) sum += shared[t];
            p.out[uint64_t(outer) * p.inner + c] = sum;
        }
    }
};

template <int kSums>
const char* sum_rows(const RowSum (&sums)[kSums], Target target) {
    const SumRowsKernel<kSums> kernel(sums);
    return kernel.num_blocks() == 0 ? nullptr : launch(kernel, kernel.num_blocks(), target);
}

}  // namespace ganfoundry
