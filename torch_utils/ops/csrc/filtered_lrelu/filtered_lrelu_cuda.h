// Interface of filtered_lrelu.cu: kernels that read and write memory of a GPU. Does not include PyTorch.

#pragma once

#include "common/activation.h"
#include "common/launch.cuh"
#include "filtered_lrelu/filtered_lrelu_sizes.h"

namespace ganfoundry {

// Filters on the GPU, float32: [fw] along both axes if `separable`, else [fh, fw].
struct FilterPair {
    const float *up, *down;
    bool up_separable, down_separable;
};

}  // namespace ganfoundry

extern "C" {

// y [N, C, H', W'] from x [N, C, H, W] and b [C] float32. `codes` of m is written unless it is null. All are dense and
// on the GPU. Returns the error, or nullptr.
const char* ganfoundry_filtered_lrelu(
    const void* x, const float* b, void* y, uint8_t* codes, ganfoundry::DType dtype, ganfoundry::FilteredSizes g,
    int64_t channels, ganfoundry::FilterPair f, ganfoundry::BiasAct act, ganfoundry::Target target);

// The same without bias, and with stored codes in place of the activation.
const char* ganfoundry_filtered_lrelu_stored(
    const void* x, void* y, ganfoundry::DType dtype, ganfoundry::FilteredSizes g, ganfoundry::StoredCodes stored,
    ganfoundry::FilterPair f, ganfoundry::BiasAct act, ganfoundry::Target target);
}
