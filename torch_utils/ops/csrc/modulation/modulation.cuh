// Styles and demodulation of a layer on a GPU, with gradients of two orders. Does not include PyTorch.
//
// modulation.cpp has the letters and the equations. A thread computes one number of a result. The products are small
// (N, I and O are at most some hundreds), so that their launches cost more than their sums. The first blocks of a
// launch belong to one result, the rest to the other.

#pragma once

#include <cmath>

#include "common/launch.cuh"
#include "modulation/modulation_cuda.h"

namespace ganfoundry {

inline constexpr float kDemodulationEps = 1e-8f;

// Common part: positions, and the numbers of the equations.
struct ModulationKernel : Kernel<> {
    ModulationArguments a;
    int64_t first_blocks;  // number of blocks of the first result

    ModulationKernel(const ModulationArguments& a, int64_t first_size)
        : a(a), first_blocks(ceil_div(first_size, kThreads)) {}

    GF_HD float style(uint32_t n, uint32_t i) const { return a.s[uint64_t(n) * a.inputs + i]; }
    GF_HD float square(uint32_t o, uint32_t i) const { return a.q[uint64_t(o) * a.inputs + i]; }
    GF_HD float t(const float* dd, uint32_t n, uint32_t o) const {
        const uint64_t at = uint64_t(n) * a.outputs + o;
        return dd == nullptr ? 0 : -0.5f * dd[at] * a.d[at] * a.d[at] * a.d[at];
    }
};

// d and s'.
template <class T>
struct ModulateKernel : ModulationKernel {
    T* low;
    bool normalize;

    ModulateKernel(const ModulationArguments& a, T* low, bool normalize)
        : ModulationKernel(a, int64_t(a.n) * a.outputs), low(low), normalize(normalize) {}

    int64_t num_blocks() const { return first_blocks + ceil_div(int64_t(a.n) * a.inputs, kThreads); }

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        if (block >= first_blocks) {
            const uint32_t k = (block - uint32_t(first_blocks)) * kThreads + thread;
            if (k < a.n * a.inputs) store(&low[k], a.s[k] * factor(k / a.inputs));
            return;
        }
        const uint32_t k = block * kThreads + thread;
        if (k >= a.n * a.outputs) return;
        const uint32_t n = k / a.outputs, o = k % a.outputs;
        const float scale = factor(n);
        if (o == 0) a.a[n] = scale;
        float sum = 0;
        for (uint32_t i = 0; i < a.inputs; ++i) {
            const float s = style(n, i) * scale;
            sum += s * s * square(o, i);
        }
        a.d[k] = 1 / sqrtf(sum + kDemodulationEps);
    }

   private:
    // a of a sample; every thread computes it for itself.
    GF_HD float factor(uint32_t n) const {
        if (!normalize) return 1;
        float largest = 0;
        for (uint32_t i = 0; i < a.inputs; ++i) {
            const float s = style(n, i), magnitude = s < 0 ? -s : s;
            if (!(magnitude <= largest)) largest = magnitude;  // keeps a NaN
        }
        return 1 / largest;
    }
};

// ds and dq.
template <class T>
struct ModulateBackwardKernel : ModulationKernel {
    ModulationGradients g;

    ModulateBackwardKernel(const ModulationArguments& a, const ModulationGradients& g)
        : ModulationKernel(a, int64_t(a.n) * a.inputs), g(g) {}

    int64_t num_blocks() const { return first_blocks + ceil_div(int64_t(a.outputs) * a.inputs, kThreads); }

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        if (block >= first_blocks) {
            const uint32_t k = (block - uint32_t(first_blocks)) * kThreads + thread;
            if (k < a.outputs * a.inputs) g.dq[k] = of_square(k / a.inputs, k % a.inputs);
            return;
        }
        const uint32_t k = block * kThreads + thread;
        if (k >= a.n * a.inputs) return;
        const uint32_t n = k / a.inputs, i = k % a.inputs;
        const float scale = a.a[n];
        float sum = 0;
        if (g.dd != nullptr) {
            for (uint32_t o = 0; o < a.outputs; ++o) sum += t(g.dd, n, o) * square(o, i);
        }
        const float of_low = g.low_grad == nullptr ? 0 : load(static_cast<const T*>(g.low_grad)[k]);
        g.ds[k] = (of_low + 2 * a.s[k] * scale * sum) * scale;
    }

   private:
    GF_HD float of_square(uint32_t o, uint32_t i) const {
        float sum = 0;
        for (uint32_t n = 0; n < a.n; ++n) {
            const float s = style(n, i) * a.a[n];
            sum += t(g.dd, n, o) * s * s;
        }
        return sum;
    }
};

// The gradients of dd and ds', and r, which the next kernel reads.
template <class T>
struct ModulateSecondKernel : ModulationKernel {
    ModulationSecond g;

    ModulateSecondKernel(const ModulationArguments& a, const ModulationSecond& g)
        : ModulationKernel(a, int64_t(a.n) * a.outputs), g(g) {}

    int64_t num_blocks() const { return first_blocks + ceil_div(int64_t(a.n) * a.inputs, kThreads); }

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        if (block >= first_blocks) {
            const uint32_t k = (block - uint32_t(first_blocks)) * kThreads + thread;
            if (k >= a.n * a.inputs) return;
            store(&static_cast<T*>(g.of_low)[k], g.G == nullptr ? 0 : g.G[k] * a.a[k / a.inputs]);
            return;
        }
        const uint32_t k = block * kThreads + thread;
        if (k >= a.n * a.outputs) return;
        const uint32_t n = k / a.outputs, o = k % a.outputs;
        const float scale = a.a[n], d = a.d[k], dd = g.dd == nullptr ? 0 : g.dd[k];
        float P = 0;
        for (uint32_t i = 0; i < a.inputs; ++i) {
            const uint64_t at = uint64_t(o) * a.inputs + i;
            const float s = style(n, i) * scale;
            if (g.G != nullptr) P += 2 * s * g.G[uint64_t(n) * a.inputs + i] * scale * a.q[at];
            if (g.H != nullptr) P += s * s * g.H[at];
        }
        g.of_dd[k] = -0.5f * d * d * d * P;
        g.r[k] = 0.75f * dd * d * d * d * d * d * P;
    }
};

// The gradients of s and q.
struct ModulateSecondSumsKernel : ModulationKernel {
    ModulationSecond g;

    ModulateSecondSumsKernel(const ModulationArguments& a, const ModulationSecond& g)
        : ModulationKernel(a, int64_t(a.n) * a.inputs), g(g) {}

    int64_t num_blocks() const { return first_blocks + ceil_div(int64_t(a.outputs) * a.inputs, kThreads); }

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        if (block >= first_blocks) {
            const uint32_t k = (block - uint32_t(first_blocks)) * kThreads + thread;
            if (k < a.outputs * a.inputs) g.of_q[k] = of_square(k / a.inputs, k % a.inputs);
            return;
        }
        const uint32_t k = block * kThreads + thread;
        if (k >= a.n * a.inputs) return;
        const uint32_t n = k / a.inputs, i = k % a.inputs;
        float with_q = 0, others = 0;
        for (uint32_t o = 0; o < a.outputs; ++o) {
            const float of_t = t(g.dd, n, o);
            with_q += of_t * square(o, i);
            others += g.r[uint64_t(n) * a.outputs + o] * square(o, i);
            if (g.H != nullptr) others += of_t * g.H[uint64_t(o) * a.inputs + i];
        }
        const float scale = a.a[n], G = g.G == nullptr ? 0 : g.G[k] * scale;
        g.of_s[k] = (2 * G * with_q + 2 * a.s[k] * scale * others) * scale;
    }

   private:
    GF_HD float of_square(uint32_t o, uint32_t i) const {
        float sum = 0;
        for (uint32_t n = 0; n < a.n; ++n) {
            const float scale = a.a[n], s = style(n, i) * scale;
            const float G = g.G == nullptr ? 0 : g.G[uint64_t(n) * a.inputs + i] * scale;
            sum += t(g.dd, n, o) * 2 * s * G + g.r[uint64_t(n) * a.outputs + o] * s * s;
        }
        return sum;
    }
};

}  // namespace ganfoundry
