// Formula of bias_act and its gradient, and the layout of its tensors; for CPU and CUDA. Does not include PyTorch.

#pragma once

#include <cstdint>

#include "common/portable.h"

namespace ganfoundry {

// A dense tensor with the bias along the channels: NCHW is [N, C, H W], NHWC is [N H W, C, 1].
struct Layout {
    int64_t outer, channels, inner;
};

// y = clip(gain * (v > 0 ? v : slope * v), -clamp, clamp) with v = x + b; no clipping unless `bounded`.
struct BiasAct {
    double slope, gain, clamp;
    bool bounded;
};

template <bool kBounded, class A>
struct Activation {
    A positive, negative, clamp;

    GF_HD explicit Activation(const BiasAct& p)
        : positive(A(p.gain)), negative(A(p.gain * p.slope)), clamp(A(p.clamp)) {}

    GF_HD A value(A v) const {
        const A y = v * (v > 0 ? positive : negative);
        if (!kBounded) return y;
        return y > clamp ? clamp : (y < -clamp ? -clamp : y);
    }

    // dy * (d y / d x), computed from y only: gain > 0 and slope >= 0, so y has the sign of x + b.
    GF_HD A gradient(A dy, A y) const {
        const A dx = dy * (y > 0 ? positive : negative);
        return kBounded && (y >= clamp || y <= -clamp) ? A(0) : dx;
    }
};

// The formula with or without bounds, for a kernel on a GPU; the choice is the same for all threads.
struct AnyActivation {
    Activation<true, float> act;
    bool bounded;

    explicit AnyActivation(const BiasAct& p) : act(p), bounded(p.bounded) {}

    GF_HD float value(float v) const {
        return bounded ? act.value(v) : v * (v > 0 ? act.positive : act.negative);
    }
    GF_HD float gradient(float dy, float y) const {
        return bounded ? act.gradient(dy, y) : dy * (y > 0 ? act.positive : act.negative);
    }
};

}  // namespace ganfoundry
