// Involution, its transpose and its correlation on a GPU, on dense NCHW. Does not include PyTorch.
//
// Neighboring threads compute neighboring pixels. Pixels outside the image are zero and part of the sums, as in the
// reference, so that the product with a weight that is NaN is NaN.

#pragma once

#include "common/launch.cuh"
#include "involution/involution_sizes.h"

namespace ganfoundry {

// Involution with 32-bit sizes.
struct Field {
    uint32_t groups, members, side, height, width;  // groups of all samples

    GF_HD explicit Field(const Involution& g)
        : groups(g.samples * g.groups), members(g.members), side(g.side), height(g.height), width(g.width) {}

    GF_HD uint32_t pixels() const { return height * width; }
    GF_HD uint32_t taps() const { return side * side; }
};

// A pixel, and the pixels at a distance from it.
struct Pixel {
    uint32_t index;
    int32_t row, column;

    GF_HD Pixel(const Field& g, uint32_t i) : index(i), row(i / g.width), column(i % g.width) {}

    GF_HD bool has(const Field& g, int32_t dy, int32_t dx) const {
        return uint32_t(row + dy) < g.height && uint32_t(column + dx) < g.width;
    }
    // Unsigned, so that it wraps and wraps back when distances are added.
    GF_HD uint32_t at(const Field& g, int32_t dy, int32_t dx) const {
        return index + uint32_t(dy) * g.width + uint32_t(dx);
    }
};

// y = I(x, w) or A(x, w): a thread computes one pixel of kMembers channels of a group, which share the weights.
// kSide is the kernel's side; 0: any.
template <class T, int kSide, bool kTransposed>
struct InvolutionKernel : Kernel<> {
    static constexpr uint32_t kMembers = 4;

    const T* x;
    const T* w;
    T* y;
    Field g;
    uint32_t parts;  // parts of a group, kMembers each

    InvolutionKernel(const T* x, const T* w, T* y, const Involution& sizes)
        : x(x), w(w), y(y), g(sizes), parts(ceil_div(sizes.members, kMembers)) {}

    int64_t num_blocks() const { return ceil_div(size(), kThreads); }

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        const uint32_t i = block * kThreads + thread, pixels = g.pixels();
        if (i >= size()) return;
        const Pixel pixel(g, i % pixels);
        const uint32_t part = i / pixels % parts, group = i / pixels / parts;
        const uint32_t first = part * kMembers, plane = (group * g.members + first) * pixels;
        float sum[kMembers] = {};
        add(x + plane, w + group * g.taps() * pixels, pixel, g.members - first, sum);
        GF_UNROLL for (uint32_t c = 0; c < kMembers; ++c) {
            if (first + c < g.members) store(&y[plane + c * pixels + pixel.index], sum[c]);
        }
    }

   private:
    GF_HD uint32_t size() const { return g.groups * parts * g.pixels(); }

    GF_HD void add(const T* from, const T* weights, const Pixel& pixel, uint32_t members, float* sum) const {
        const int32_t side = kSide ? kSide : int32_t(g.side), radius = side / 2;
        const uint32_t pixels = g.pixels();
        for (int32_t i = 0; i < side; ++i) {
            GF_UNROLL for (int32_t j = 0; j < side; ++j) {
                const int32_t dy = kTransposed ? radius - i : i - radius, dx = kTransposed ? radius - j : j - radius;
                const bool inside = pixel.has(g, dy, dx);
                const uint32_t at = pixel.at(g, dy, dx), tap = uint32_t(i * side + j) * pixels;
                const uint32_t weight = tap + (kTransposed ? at : pixel.index);
                const float factor = inside || !kTransposed ? load(weights[weight]) : 0.0f;
                GF_UNROLL for (uint32_t c = 0; c < kMembers; ++c) {
                    sum[c] += factor * (inside && c < members ? load(from[c * pixels + at]) : 0.0f);
                }
            }
        }
    }
};

// w = K(y, x): a thread computes one pixel of kTaps neighboring taps of one row of the kernel.
template <class T, int kTaps>
struct CorrelationKernel : Kernel<> {
    const T* y;
    const T* x;
    T* w;
    Field g;

    CorrelationKernel(const T* y, const T* x, T* w, const Involution& sizes) : y(y), x(x), w(w), g(sizes) {}

    int64_t num_blocks() const { return ceil_div(size(), kThreads); }

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        const uint32_t i = block * kThreads + thread, pixels = g.pixels(), stretches = g.taps() / kTaps;
        if (i >= size()) return;
        const Pixel pixel(g, i % pixels);
        const uint32_t tap = i / pixels % stretches * kTaps, group = i / pixels / stretches;
        const int32_t radius = int32_t(g.side / 2);
        const int32_t dy = int32_t(tap / g.side) - radius, dx = int32_t(tap % g.side) - radius;
        bool inside[kTaps];
        GF_UNROLL for (int32_t j = 0; j < kTaps; ++j) inside[j] = pixel.has(g, dy, dx + j);
        const uint32_t at = pixel.at(g, dy, dx);
        float sum[kTaps] = {};
        for (uint32_t c = 0; c < g.members; ++c) {
            const uint32_t plane = (group * g.members + c) * pixels;
            const float factor = load(y[plane + pixel.index]);
            GF_UNROLL for (int32_t j = 0; j < kTaps; ++j) {
                sum[j] += factor * (inside[j] ? load(x[plane + (at + uint32_t(j))]) : 0.0f);
            }
        }
        const uint32_t first = (group * g.taps() + tap) * pixels + pixel.index;
        GF_UNROLL for (int32_t j = 0; j < kTaps; ++j) store(&w[first + uint32_t(j) * pixels], sum[j]);
    }

   private:
    GF_HD uint32_t size() const { return g.groups * (g.taps() / kTaps) * g.pixels(); }
};

}  // namespace ganfoundry
