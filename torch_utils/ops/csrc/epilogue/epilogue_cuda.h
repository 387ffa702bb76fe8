// Interface of epilogue.cu: kernels that read and write memory of a GPU. Does not include PyTorch.
//
// Images are dense NHWC, and addresses are multiples of 16. The functions return the error, or nullptr.

#pragma once

#include "common/activation.h"
#include "common/launch.cuh"
#include "epilogue/epilogue_sizes.h"

extern "C" {

// Whether there is a kernel with a filter of fh x fw taps for images of so many channels.
bool ganfoundry_epilogue_filters(ganfoundry::DType dtype, int64_t channels, int64_t fh, int64_t fw);

// y from x and the filter f [4, 4] float32, which is correlated; nullptr without a filter.
const char* ganfoundry_epilogue(
    const void* x, const float* f, void* y, ganfoundry::DType dtype, ganfoundry::EpilogueSizes g,
    ganfoundry::EpilogueTerms terms, ganfoundry::BiasAct act, ganfoundry::Target target);

// Sizes of the tables of the backward pass.
ganfoundry::EpilogueTables ganfoundry_epilogue_tables(ganfoundry::DType dtype, ganfoundry::EpilogueSizes g);

// dx, and the gradients of d, b and the noise, from dy and x.
const char* ganfoundry_epilogue_backward(
    const void* dy, const void* x, const float* f, void* dx, ganfoundry::DType dtype, ganfoundry::EpilogueSizes g,
    ganfoundry::EpilogueTerms terms, ganfoundry::EpilogueSums sums, ganfoundry::BiasAct act,
    ganfoundry::Target target);
}
