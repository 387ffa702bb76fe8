// Interface of bias_act.cu: kernels that read and write memory of a GPU. Does not include PyTorch.
//
// Addresses are multiples of 16. The functions return the error, or nullptr.

#pragma once

#include "common/activation.h"
#include "common/launch.cuh"

extern "C" {

// y = bias_act(x) for dense x, y of layout [outer, channels, inner] and b [channels] float32.
const char* ganfoundry_bias_act(
    const void* x, const float* b, void* y, ganfoundry::DType dtype, ganfoundry::Layout layout, ganfoundry::BiasAct p,
    ganfoundry::Target target);

// Rows of the table of partial sums of the bias gradient.
int64_t ganfoundry_bias_act_sum_rows(ganfoundry::DType dtype, ganfoundry::Layout layout);

// dx from dy and y, and in sums [sum_rows, channels] float32 each block's part of the gradient of b.
const char* ganfoundry_bias_act_grad(
    const void* dy, const void* y, void* dx, float* sums, ganfoundry::DType dtype, ganfoundry::Layout layout,
    ganfoundry::BiasAct p, ganfoundry::Target target);
}
