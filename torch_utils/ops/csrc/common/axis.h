// Positions of taps and pixels in upfirdn2d; for CPU and CUDA. Does not include PyTorch.

#pragma once

#include <cstdint>

#include "common/portable.h"

namespace ganfoundry {

// One axis: sizes in pixels, factors, padding before the first pixel, taps of the filter.
struct Axis {
    int64_t in, out, up, down, pad, taps;

    // The first tap for output `o` that meets a pixel, and that pixel, which may be outside the image.
    GF_HD int64_t first_tap(int64_t o) const { return ((pad - o * down) % up + up) % up; }
    GF_HD int64_t first_pixel(int64_t o) const { return (o * down + first_tap(o) - pad) / up; }
    GF_HD int64_t num_taps(int64_t first) const { return first < taps ? (taps - first + up - 1) / up : 0; }
};

// Planes [H, W, P] are dense: NCHW has N C planes with P = 1 value per pixel, NHWC has N with P = C.
struct Upfirdn2d {
    int64_t planes, pixel;  // number of planes; values per pixel
    Axis y, x;
};

}  // namespace ganfoundry
