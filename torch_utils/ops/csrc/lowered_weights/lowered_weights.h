// Weights of a pass, scaled, cast and laid out for the convolutions, and the gradient: one pass over each weight. Does
// not include PyTorch.
//
//     w' [o, tap, i] = gain * w [o, i, tap],  q [o, i] = sum over taps of w'^2
//     dw [o, i, tap] = gain * dw' [o, tap, i] + 2 gain^2 dq [o, i] w [o, i, tap]
//
// Rows are output channels o. A matrix has one tap, and a bias is a row.

#pragma once

#include <cstdint>

#include "common/numeric.h"

namespace ganfoundry {

// kTaps: number of taps if the compiler knows it, else 0.
template <int kTaps, class T>
void lower_row(
    const float* __restrict w, float gain, T* __restrict low, float* __restrict squares, int64_t inputs,
    int64_t taps) {
    const int64_t n = kTaps ? kTaps : taps;
    for (int64_t i = 0; i < inputs; ++i) {
        float sum = 0;
        for (int64_t tap = 0; tap < n; ++tap) {
            const float v = w[i * n + tap] * gain;
            sum += v * v;
            store(&low[tap * inputs + i], v);
        }
        if (squares) squares[i] = sum;
    }
}

// dlow or dsquares may be nullptr: zero.
template <int kTaps, class T>
void lower_row_backward(
    const T* __restrict dlow, const float* __restrict dsquares, const float* __restrict w, float gain,
    float* __restrict dw, int64_t inputs, int64_t taps) {
    const int64_t n = kTaps ? kTaps : taps;
    for (int64_t i = 0; i < inputs; ++i) {
        const float of_squares = dsquares ? 2 * gain * gain * dsquares[i] : 0;
        for (int64_t tap = 0; tap < n; ++tap) {
            const float of_low = dlow ? gain * load(dlow[tap * inputs + i]) : 0;
            dw[i * n + tap] = dsquares ? of_low + of_squares * w[i * n + tap] : of_low;
        }
    }
}

}  // namespace ganfoundry
