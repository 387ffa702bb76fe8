// Interface of act_fir.cu: kernels that read and write memory of a GPU. Does not include PyTorch.
//
// Images are dense NHWC, b [C] and the filter f [4, 4], which is correlated, are float32; addresses are multiples of
// 16. The functions return the error, or nullptr.

#pragma once

#include "common/activation.h"
#include "common/axis.h"
#include "common/launch.cuh"

extern "C" {

// Whether there is a kernel for a filter of this geometry.
bool ganfoundry_act_fir_takes(ganfoundry::DType dtype, ganfoundry::Upfirdn2d g);

// y from x.
const char* ganfoundry_act_fir(
    const void* x, const float* b, const float* f, void* y, ganfoundry::DType dtype, ganfoundry::Upfirdn2d g,
    ganfoundry::BiasAct act, ganfoundry::Target target);

// Rows of the table of partial sums of the gradient of b. The geometry is that of the transposed filter.
int64_t ganfoundry_act_fir_table_rows(ganfoundry::DType dtype, ganfoundry::Upfirdn2d transposed);

// dx and the gradient of b from dy and x, with room for the table [table_rows, C].
const char* ganfoundry_act_fir_backward(
    const void* dy, const void* x, const float* b, const float* f, void* dx, float* db, float* table,
    ganfoundry::DType dtype, ganfoundry::Upfirdn2d transposed, ganfoundry::BiasAct act, ganfoundry::Target target);
}
