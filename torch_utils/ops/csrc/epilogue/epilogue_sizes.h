// Sizes and tensors of the epilogue on a GPU. Does not include PyTorch.

#pragma once

#include <cstdint>

#include "common/axis.h"

namespace ganfoundry {

struct EpilogueSizes {
    int64_t images, channels, height, width;  // of the result
    Axis y, x;  // axes of the filter of 4 x 4 taps, from x to the result; without a filter they are not read
    bool filtered;
};

// float32 on the GPU: d [N, C], noise [N or 1, H, W], b [C]; nullptr if absent.
struct EpilogueTerms {
    const float *d, *noise, *b;
    int64_t noise_stride;  // from one image's noise to the next; 0: shared
};

// Tables of partial sums, float32: those of the gradients of d and b are [N, tiles, C] each, that of the noise is
// [parts, N, H, W].
struct EpilogueTables {
    int64_t tiles, parts;
};

// float32 on the GPU: room for the tables, then the gradients; nullptr if absent. That of the noise is [N or 1, H, W].
struct EpilogueSums {
    float *d_table, *b_table, *noise_table;
    float *dd, *db, *dnoise;
};

}  // namespace ganfoundry
