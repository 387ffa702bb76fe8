// Sizes of filtered_lrelu, and the codes of its factors; for CPU and CUDA. Does not include PyTorch.

#pragma once

#include <cstdint>

#include "common/axis.h"
#include "common/portable.h"

namespace ganfoundry {

// Axes from the image to the raised rate, and from there to the result. Of the raised rate, only samples that the
// result needs exist.
struct FilteredSizes {
    int64_t planes;
    Axis up_y, up_x, down_y, down_x;
};

// Factor m at a sample of the raised rate, in two bits: gain, gain * slope, 0; kNegative + kClipped is 0, too.
inline constexpr uint8_t kPositive = 0, kNegative = 1, kClipped = 2;

// Bytes of the codes of a row of n samples.
GF_HD int64_t code_bytes(int64_t n) { return (n + 3) / 4; }

// Codes [N, C, height, bytes] of another call. A sample (x, y) of this call has the code at (x, y) + offset, or m = 0
// if there is none.
struct StoredCodes {
    const uint8_t* codes;
    int64_t height, bytes, offset_x, offset_y;
};

}  // namespace ganfoundry
