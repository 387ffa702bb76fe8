// Interface of lowered_weights.cu: kernels that read and write memory of a GPU. Does not include PyTorch.

#pragma once

#include "common/launch.cuh"

namespace ganfoundry {

inline constexpr int kMaxWeights = 40;  // in one launch, whose arguments have 4 KB

// A weight w [outputs, inputs, taps], dense, with its lowered form or that form's gradient.
struct WeightView {
    const float* w;
    void* low;       // [outputs, inputs, taps], or [outputs, taps, inputs] if channels_last; nullptr: no gradient
    float* squares;  // [outputs, inputs]: sums of squares, or their gradient; nullptr: none
    float* scales;   // [outputs]: factors by output channel; nullptr: `gain` is the factor
    float* dw;       // gradient of w
    uint32_t outputs, inputs, taps;
    float gain;
    uint32_t first_block;  // set by the launch
    bool channels_last;
};

}  // namespace ganfoundry

extern "C" {

// Each function takes up to kMaxWeights weights, and returns the error, or nullptr.

// Writes `low`, of the given type, and `squares`; first `scales`, if there are any.
const char* ganfoundry_lower_weights(
    const ganfoundry::WeightView* weights, int count, ganfoundry::DType dtype, ganfoundry::Target target);

// Writes `dw`.
const char* ganfoundry_lower_weights_backward(
    const ganfoundry::WeightView* weights, int count, ganfoundry::DType dtype, ganfoundry::Target target);
}
