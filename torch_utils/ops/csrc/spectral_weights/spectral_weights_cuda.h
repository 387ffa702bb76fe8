// Interface of spectral_weights.cu: kernels that read and write memory of a GPU. Does not include PyTorch.

#pragma once

#include "common/launch.cuh"

namespace ganfoundry {

inline constexpr int kMaxSpectral = 32;  // weights in one launch, whose arguments have 4 KB

// A weight w [outer, inner, taps], dense, with its normalized form or that form's gradient. As a matrix it has a row per
// output feature, of axis 0, or of axis 1 if transposed, and a column per other index.
struct SpectralView {
    const float* w;
    void* low;         // [outer, inner, taps], or [outer, taps, inner] if channels_last
    const float* u;    // [rows]: u, before the iteration if there is one
    float* next;       // [rows]: u with which w is normalized
    float* v;          // [columns + 1]: v = W^T u, and its norm sigma
    float* scratch;    // forward: [columns + rows]; backward: a sum per block of the weight
    float* dw;         // gradient of w
    uint32_t outer, inner, taps;
    uint32_t first_block;  // set by the launch
    DType dtype;           // of `low`
    bool transposed, channels_last;
};

}  // namespace ganfoundry

extern "C" {

// Each function takes up to kMaxSpectral weights, and returns the error, or nullptr.

// Writes `next`, `v` and `low`.
const char* ganfoundry_spectral_weights(
    const ganfoundry::SpectralView* weights, int count, bool iterate, ganfoundry::Target target);

// Reads `low` as the gradient, `next` and `v`; writes `dw`.
const char* ganfoundry_spectral_weights_backward(
    const ganfoundry::SpectralView* weights, int count, ganfoundry::Target target);

// Numbers of `scratch` that the gradient of a weight needs.
int64_t ganfoundry_spectral_sums(const ganfoundry::SpectralView* weight);
}
