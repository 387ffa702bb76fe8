// Bias, leaky ReLU, gain and clamp on a GPU, forward and backward, V values at a time. Does not include PyTorch.
//
// V > 1 requires that each pack is in one channel (inner > 1) or in one row of channels (inner = 1).

#pragma once

#include "common/activation.h"
#include "common/launch.cuh"
#include "common/pack.cuh"

namespace ganfoundry {

// Layout with 32-bit sizes.
struct Sizes {
    uint32_t outer, channels, inner;

    GF_HD explicit Sizes(const Layout& s) : outer(s.outer), channels(s.channels), inner(s.inner) {}

    GF_HD uint32_t size() const { return outer * channels * inner; }
    GF_HD uint32_t channel(uint32_t i) const { return inner == 1 ? i % channels : i / inner % channels; }
};

template <class T, int V>
struct BiasActKernel : Kernel<> {
    // Packs per thread, all loaded before the first is used.
    static constexpr uint32_t kRepeat = V == 1 ? 4 : 2;
    static constexpr uint32_t kBlockSize = kThreads * kRepeat * V;

    const T* x;
    const float* b;
    T* y;
    Sizes sizes;
    AnyActivation act;

    BiasActKernel(const T* x, const float* b, T* y, const Layout& layout, const BiasAct& p)
        : x(x), b(b), y(y), sizes(layout), act(p) {}

    int64_t num_blocks() const { return ceil_div(sizes.size(), kBlockSize); }

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        const uint32_t first = block * kBlockSize + thread * V, size = sizes.size();
        float v[kRepeat][V];
        GF_UNROLL for (uint32_t r = 0; r < kRepeat; ++r) {
            const uint32_t i = first + r * kThreads * V;
            if (i < size) load_pack<V>(x + i, v[r]);
        }
        GF_UNROLL for (uint32_t r = 0; r < kRepeat; ++r) {
            const uint32_t i = first + r * kThreads * V;
            if (i < size) finish(i, v[r]);
        }
    }

   private:
    GF_HD void finish(uint32_t i, float* v) const {
        const uint32_t c = sizes.channel(i);
        if (sizes.inner == 1) {
            float bias[V];
            load_floats<V>(b + c, bias);
            GF_UNROLL for (int j = 0; j < V; ++j) v[j] = act.value(v[j] + bias[j]);
        } else {
            const float bias = b[c];
            GF_UNROLL for (int j = 0; j < V; ++j) v[j] = act.value(v[j] + bias);
        }
        store_pack<V>(v, y + i);
    }
};

// Values of a block that are reduced to one sum per channel.
template <int V>
struct BiasSums {
    float thread[V][256];
    float part[32];
};

// dx, and the sums of dx over each block, by channel. The order of summation is fixed, and so are the bits.
//
// A block takes a segment of one channel's plane (inner > 1), or kLanes packs of channels of several rows (inner = 1).
template <class T, int V>
struct BiasActGradKernel : Kernel<3, BiasSums<V>> {
    using Base = Kernel<3, BiasSums<V>>;
    using Base::kThreads;
    static constexpr uint32_t kRepeat = 4;  // packs per thread
    static constexpr uint32_t kLanes = 8;   // neighboring threads along the channels if inner = 1
    static constexpr uint32_t kStretch = kThreads * kRepeat * V;
    static constexpr uint32_t kRows = kThreads / kLanes * kRepeat;

    const T* dy;
    const T* y;
    T* dx;
    float* sums;
    Sizes sizes;
    AnyActivation act;

    BiasActGradKernel(const T* dy, const T* y, T* dx, float* sums, const Layout& layout, const BiasAct& p)
        : dy(dy), y(y), dx(dx), sums(sums), sizes(layout), act(p) {}

    // Number of blocks along the channels, and number of consecutive blocks that add to the same channel.
    static int64_t across(const Layout& s) { return s.inner == 1 ? ceil_div(s.channels, kLanes * V) : s.channels; }
    static int64_t sum_rows(const Layout& s) {
        return s.inner == 1 ? ceil_div(s.outer, kRows) : s.outer * ceil_div(s.inner, kStretch);
    }

    template <int kPhase>
    GF_HD void run(uint32_t block, uint32_t thread, BiasSums<V>& shared) const {
        if (sizes.inner == 1) {
            if constexpr (kPhase == 0) rows(block, thread, shared);
            if constexpr (kPhase == 1) sum_rows_of_block(block, thread, shared);
        } else {
            if constexpr (kPhase == 0) stretch(block, thread, shared);
            if constexpr (kPhase == 1) sum_threads(thread, shared);
            if constexpr (kPhase == 2) sum_parts(block, thread, shared);
        }
    }

   private:
    // inner = 1: packs at one column of kRepeat rows.
    GF_HD void rows(uint32_t block, uint32_t thread, BiasSums<V>& shared) const {
        const uint32_t groups = (sizes.channels + kLanes * V - 1) / (kLanes * V);
        const uint32_t column = (block % groups * kLanes + thread % kLanes) * V;
        const uint32_t row = block / groups * kRows + thread / kLanes;
        const uint32_t limit = column < sizes.channels ? sizes.outer : 0;
        gradients(row * sizes.channels + column, kThreads / kLanes * sizes.channels, row, kThreads / kLanes, limit,
                  thread, shared);
    }

    // inner > 1: packs of one plane.
    GF_HD void stretch(uint32_t block, uint32_t thread, BiasSums<V>& shared) const {
        const uint32_t stretches = (sizes.inner + kStretch - 1) / kStretch;
        const uint32_t plane = block / stretches, at = block % stretches * kStretch + thread * V;
        gradients(plane * sizes.inner + at, kThreads * V, at, kThreads * V, sizes.inner, thread, shared);
    }

    // Packs at i, i + step, …, while `at`, which grows by `stride` per pack, is below `limit`.
    GF_HD void gradients(
        uint32_t i, uint32_t step, uint32_t at, uint32_t stride, uint32_t limit, uint32_t thread,
        BiasSums<V>& shared) const {
        float d[kRepeat][V], v[kRepeat][V], sum[V] = {};
        GF_UNROLL for (uint32_t r = 0; r < kRepeat; ++r) {
            if (at + r * stride < limit) {
                load_pack<V>(dy + (i + r * step), d[r]);
                load_pack<V>(y + (i + r * step), v[r]);
            }
        }
        GF_UNROLL for (uint32_t r = 0; r < kRepeat; ++r) {
            if (at + r * stride < limit) {
                GF_UNROLL for (int j = 0; j < V; ++j) {
                    d[r][j] = act.gradient(d[r][j], v[r][j]);
                    sum[j] += d[r][j];
                }
                store_pack<V>(d[r], dx + (i + r * step));
            }
        }
        GF_UNROLL for (int j = 0; j < V; ++j) shared.thread[j][thread] = sum[j];
    }

    GF_HD void sum_rows_of_block(uint32_t block, uint32_t thread, BiasSums<V>& shared) const {
        const uint32_t groups = (sizes.channels + kLanes * V - 1) / (kLanes * V);
        const uint32_t c = block % groups * kLanes * V + thread;
        if (thread >= kLanes * V || c >= sizes.channels) return;
        float sum = 0;
        for (uint32_t row = 0; row < kThreads / kLanes; ++row) {
            sum += shared.thread[thread % V][row * kLanes + thread / V];
        }
        sums[block / groups * sizes.channels + c] = sum;
    }

    GF_HD void sum_threads(uint32_t thread, BiasSums<V>& shared) const {
        if (thread >= 32) return;
        float sum = 0;
        GF_UNROLL for (int j = 0; j < V; ++j) {
            for (uint32_t t = thread; t < kThreads; t += 32) sum += shared.thread[j][t];
        }
        shared.part[thread] = sum;
    }

    GF_HD void sum_parts(uint32_t block, uint32_t thread, BiasSums<V>& shared) const {
        if (thread != 0) return;
        const uint32_t stretches = (sizes.inner + kStretch - 1) / kStretch;
        const uint32_t plane = block / stretches, c = plane % sizes.channels;
        float sum = 0;
        for (const float part : shared.part) sum += part;
        sums[(plane / sizes.channels * stretches + block % stretches) * sizes.channels + c] = sum;
    }
};

// Whether a tensor that begins at a multiple of 16 bytes divides into packs of V.
template <int V>
bool has_packs(const Layout& s) {
    return (s.inner == 1 ? s.channels : s.inner) % V == 0;
}

}  // namespace ganfoundry
