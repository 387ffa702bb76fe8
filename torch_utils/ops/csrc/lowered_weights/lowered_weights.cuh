// Weights of a pass, scaled, cast and laid out by one kernel, and the gradient. Does not include PyTorch.
//
// A thread has one pair of an output and an input channel and runs over its taps, so that the sum of their squares is
// its own. Blocks belong to one weight each.

#pragma once

#include <cmath>

#include "common/launch.cuh"
#include "lowered_weights/lowered_weights_cuda.h"

namespace ganfoundry {

// The weights of one launch; `first_block` of a weight is that of its first pair.
struct Weights {
    WeightView at[kMaxWeights];
    int count;

    GF_HD const WeightView& of_block(uint32_t block) const {
        int k = 0;
        while (k + 1 < count && block >= at[k + 1].first_block) ++k;
        return at[k];
    }
};

// Place of a tap in the lowered weight.
GF_HD uint64_t low_index(const WeightView& v, uint32_t pair, uint32_t tap) {
    if (!v.channels_last) return uint64_t(pair) * v.taps + tap;
    return uint64_t(pair / v.inputs * v.taps + tap) * v.inputs + pair % v.inputs;
}

GF_HD float factor_of(const WeightView& v, uint32_t pair) {
    return v.scales == nullptr ? v.gain : v.scales[pair / v.inputs];
}

template <class T>
struct LowerKernel : Kernel<> {
    Weights weights;

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        const WeightView& v = weights.of_block(block);
        const uint32_t pair = (block - v.first_block) * kThreads + thread;
        if (pair >= v.outputs * v.inputs) return;
        const float factor = factor_of(v, pair);
        float sum = 0;
        for (uint32_t tap = 0; tap < v.taps; ++tap) {
            const float w = v.w[uint64_t(pair) * v.taps + tap] * factor;
            sum += w * w;
            store(&static_cast<T*>(v.low)[low_index(v, pair, tap)], w);
        }
        if (v.squares != nullptr) v.squares[pair] = sum;
    }
};

template <class T>
struct LowerBackwardKernel : Kernel<> {
    Weights weights;

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        const WeightView& v = weights.of_block(block);
        const uint32_t pair = (block - v.first_block) * kThreads + thread;
        if (pair >= v.outputs * v.inputs) return;
        const float factor = factor_of(v, pair);
        const float of_squares = v.squares == nullptr ? 0 : 2 * factor * factor * v.squares[pair];
        for (uint32_t tap = 0; tap < v.taps; ++tap) {
            const uint64_t i = uint64_t(pair) * v.taps + tap;
            const float dlow = v.low == nullptr ? 0 : load(static_cast<const T*>(v.low)[low_index(v, pair, tap)]);
            v.dw[i] = factor * dlow + (v.squares == nullptr ? 0 : of_squares * v.w[i]);
        }
    }
};

struct Maxima {
    float of_thread[256];
};

// 1 / (max |w| sqrt(fan-in)) of every output channel: a block has one, and `first_block` counts output channels.
struct ScaleKernel : Kernel<3, Maxima> {
    Weights weights;

    template <int kPhase>
    GF_HD void run(uint32_t block, uint32_t thread, Maxima& shared) const {
        const WeightView& v = weights.of_block(block);
        const uint32_t output = block - v.first_block, size = v.inputs * v.taps;
        if constexpr (kPhase == 0) {
            float largest = 0;
            for (uint32_t i = thread; i < size; i += kThreads) {
                const float w = v.w[uint64_t(output) * size + i], magnitude = w < 0 ? -w : w;
                if (!(magnitude <= largest)) largest = magnitude;  // keeps a NaN
            }
            shared.of_thread[thread] = largest;
        } else if (kPhase == 1) {
            if (thread < 16) reduce(shared, thread, 16);
        } else if (thread == 0) {
            reduce(shared, 0, 1);
            v.scales[output] = 1 / (shared.of_thread[0] * sqrtf(float(size)));
        }
    }

   private:
    // Maximum of 16 values, `step` apart.
    GF_HD static void reduce(Maxima& shared, uint32_t first, uint32_t step) {
        for (uint32_t k = 1; k < 16; ++k) {
            const float other = shared.of_thread[first + k * step];
            if (!(other <= shared.of_thread[first])) shared.of_thread[first] = other;
        }
    }
};

}  // namespace ganfoundry
