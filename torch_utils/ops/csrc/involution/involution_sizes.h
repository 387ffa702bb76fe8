// Sizes of an involution, for CPU and CUDA. Does not include PyTorch.

#pragma once

#include <cstdint>

#include "common/portable.h"

namespace ganfoundry {

// Images [samples, groups * members, height, width], kernels of side * side taps.
struct Involution {
    int64_t samples, groups, members, side, height, width;

    GF_HD int64_t taps() const { return side * side; }
    GF_HD int64_t radius() const { return side / 2; }
};

}  // namespace ganfoundry
