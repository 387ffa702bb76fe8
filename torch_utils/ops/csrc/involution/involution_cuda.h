// Interface of involution.cu: kernels that read and write memory of a GPU. Does not include PyTorch.
//
// In memory images are [N, C, H, W] or [N, H, W, C], weights [N, G, K * K, H, W] or [N, H, W, G, K * K]: dense, not
// empty, aligned to 16 bytes, and of at most kMaxElements each. The functions return the error, or nullptr.

#pragma once

#include "common/launch.cuh"
#include "involution/involution_sizes.h"

namespace ganfoundry {

// Whether the operands and the result of a map have their channels, or groups and taps, last in memory.
struct ChannelsLast {
    bool a, b, out;
};

}  // namespace ganfoundry

extern "C" {

// y = I(x, w)
const char* ganfoundry_involution(
    const void* x, const void* w, void* y, ganfoundry::DType dtype, ganfoundry::Involution g,
    ganfoundry::ChannelsLast last, ganfoundry::Target target);

// x = A(y, w)
const char* ganfoundry_involution_adjoint(
    const void* y, const void* w, void* x, ganfoundry::DType dtype, ganfoundry::Involution g,
    ganfoundry::ChannelsLast last, ganfoundry::Target target);

// w = K(y, x)
const char* ganfoundry_involution_correlation(
    const void* y, const void* x, void* w, ganfoundry::DType dtype, ganfoundry::Involution g,
    ganfoundry::ChannelsLast last, ganfoundry::Target target);
}
