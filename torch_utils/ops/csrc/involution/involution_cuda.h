// Interface of involution.cu: kernels that read and write memory of a GPU. Does not include PyTorch.
//
// Images are [N, C, H, W], weights [N, G, K * K, H, W], dense, not empty, of at most kMaxElements each. The functions
// return the error, or nullptr.

#pragma once

#include "common/launch.cuh"
#include "involution/involution_sizes.h"

extern "C" {

// y = I(x, w)
const char* ganfoundry_involution(
    const void* x, const void* w, void* y, ganfoundry::DType dtype, ganfoundry::Involution g,
    ganfoundry::Target target);

// x = A(y, w)
const char* ganfoundry_involution_adjoint(
    const void* y, const void* w, void* x, ganfoundry::DType dtype, ganfoundry::Involution g,
    ganfoundry::Target target);

// w = K(y, x)
const char* ganfoundry_involution_correlation(
    const void* y, const void* x, void* w, ganfoundry::DType dtype, ganfoundry::Involution g,
    ganfoundry::Target target);
}
