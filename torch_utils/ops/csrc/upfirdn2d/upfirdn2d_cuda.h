// Interface of upfirdn2d.cu: kernels that read and write memory of a GPU. Does not include PyTorch.

#pragma once

#include "common/axis.h"
#include "common/launch.cuh"

extern "C" {

// y [planes, out, out, pixel] from x [planes, in, in, pixel] and the filter f [fh, fw] float32, all dense and on the
// GPU. Addresses are multiples of 16. Returns the error, or nullptr.
const char* ganfoundry_upfirdn2d(
    const void* x, const float* f, void* y, ganfoundry::DType dtype, ganfoundry::Upfirdn2d g,
    ganfoundry::Target target);

// Whether there is a kernel that adds the result to an image: NHWC, 4 x 4 taps, the factors of upfirdn2d.cuh.
bool ganfoundry_upfirdn2d_adds(ganfoundry::DType dtype, ganfoundry::Upfirdn2d g);

// y = r + upfirdn2d(x), with r like y.
const char* ganfoundry_upfirdn2d_add(
    const void* r, const void* x, const float* f, void* y, ganfoundry::DType dtype, ganfoundry::Upfirdn2d g,
    ganfoundry::Target target);
}
