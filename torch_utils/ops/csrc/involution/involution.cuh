// Involution, its transpose and its correlation on a GPU, on dense images in NCHW and NHWC. Does not include PyTorch.
//
// Neighboring threads write neighboring values: pixels in NCHW, parts of a pixel's channels in NHWC. Pixels outside the
// image are zero and part of the sums, as in the reference, so that the product with a weight that is NaN is NaN.

#pragma once

#include "common/launch.cuh"
#include "common/pack.cuh"
#include "involution/involution_cuda.h"

namespace ganfoundry {

// Channels of a group that a thread computes or reads together; in NHWC they are one pack.
inline constexpr int kMembers = 4;

// Involution with 32-bit sizes.
struct Field {
    uint32_t groups, members, side, height, width;

    GF_HD explicit Field(const Involution& g)
        : groups(g.groups), members(g.members), side(g.side), height(g.height), width(g.width) {}

    GF_HD uint32_t channels() const { return groups * members; }
    GF_HD uint32_t pixels() const { return height * width; }
    GF_HD uint32_t taps() const { return side * side; }
};

// A dense image: elements per sample, and distances of planes (channels, or taps of all groups) and pixels.
template <class T>
struct Image {
    T* data;
    uint32_t sample, plane, pixel;

    Image(T* data, const Field& g, uint32_t planes, bool channels_last)
        : data(data),
          sample(planes * g.pixels()),
          plane(channels_last ? 1 : g.pixels()),
          pixel(channels_last ? planes : 1) {}

    GF_HD T* at(uint32_t n, uint32_t p) const { return data + (n * sample + p * plane); }
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

// Result of thread i: a part of a group's planes at a pixel. Parts of a pixel are neighbors in NHWC, pixels in NCHW.
struct Place {
    uint32_t sample, group, part, pixel;

    GF_HD Place(const Field& g, uint32_t parts, bool channels_last, uint32_t i) {
        const uint32_t pixels = g.pixels();
        if (channels_last) {
            part = i % parts, i /= parts;
            group = i % g.groups, i /= g.groups;
            pixel = i % pixels, sample = i / pixels;
        } else {
            pixel = i % pixels, i /= pixels;
            part = i % parts, i /= parts;
            group = i % g.groups, sample = i / g.groups;
        }
    }
};

// Values of the first `num` of kNum planes at one pixel, zero for the others. A pack is loaded if `num` is not 0.
template <int kNum, int kPack, class T>
GF_HD void load_planes(const T* from, uint32_t plane, uint32_t num, float* to) {
    if constexpr (kPack == kNum) {
        GF_UNROLL for (int c = 0; c < kNum; ++c) to[c] = 0.0f;
        if (num) load_pack<kNum>(from, to);
    } else {
        GF_UNROLL for (uint32_t c = 0; c < uint32_t(kNum); ++c) to[c] = c < num ? load(from[c * plane]) : 0.0f;
    }
}

// y = I(x, w) or A(x, w): a thread computes one pixel of kMembers channels of a group, which share the weights.
// kSide is the kernel's side; 0: any. kPack is kMembers if they are loaded and stored as a pack, else 1.
template <class T, int kSide, int kPack, bool kTransposed>
struct InvolutionKernel : Kernel<> {
    Field g;
    Image<const T> x, w;
    Image<T> y;
    bool channels_last;
    uint32_t parts, size;  // parts of a group, kMembers each; threads

    InvolutionKernel(const T* x, const T* w, T* y, const Involution& sizes, const ChannelsLast& last)
        : g(sizes),
          x(x, g, g.channels(), last.a),
          w(w, g, g.groups * g.taps(), last.b),
          y(y, g, g.channels(), last.out),
          channels_last(last.out),
          parts(ceil_div(sizes.members, kMembers)),
          size(sizes.samples * g.groups * parts * g.pixels()) {}

    static bool takes_packs(const Involution& sizes, const ChannelsLast& last) {
        return last.a && last.out && sizes.members % kMembers == 0;
    }

    int64_t num_blocks() const { return ceil_div(size, kThreads); }

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        const uint32_t i = block * kThreads + thread;
        if (i >= size) return;
        const Place place(g, parts, channels_last, i);
        const uint32_t first = place.part * kMembers, plane = place.group * g.members + first;
        const uint32_t members = g.members - first;
        float sum[kMembers] = {};
        add(x.at(place.sample, plane), w.at(place.sample, place.group * g.taps()), Pixel(g, place.pixel), members, sum);
        T* to = y.at(place.sample, plane) + place.pixel * y.pixel;
        if constexpr (kPack == kMembers) {
            store_pack<kMembers>(sum, to);
        } else {
            GF_UNROLL for (uint32_t c = 0; c < uint32_t(kMembers); ++c) {
                if (c < members) store(&to[c * y.plane], sum[c]);
            }
        }
    }

   private:
    GF_HD void add(const T* from, const T* weights, const Pixel& pixel, uint32_t members, float* sum) const {
        const int32_t side = kSide ? kSide : int32_t(g.side), radius = side / 2;
        for (int32_t i = 0; i < side; ++i) {
            GF_UNROLL for (int32_t j = 0; j < side; ++j) {
                const int32_t dy = kTransposed ? radius - i : i - radius, dx = kTransposed ? radius - j : j - radius;
                const bool inside = pixel.has(g, dy, dx);
                const uint32_t at = pixel.at(g, dy, dx), tap = uint32_t(i * side + j) * w.plane;
                const uint32_t weight = tap + (kTransposed ? at : pixel.index) * w.pixel;
                const float factor = inside || !kTransposed ? load(weights[weight]) : 0.0f;
                const uint32_t offset = inside ? at * x.pixel : 0;
                float values[kMembers];
                load_planes<kMembers, kPack>(from + offset, x.plane, inside ? members : 0, values);
                GF_UNROLL for (int c = 0; c < kMembers; ++c) sum[c] += factor * values[c];
            }
        }
    }
};

// w = K(y, x): a thread computes one pixel of kTaps neighboring taps of one row of the kernel. kPack is kMembers if
// channels are loaded as packs, else 1.
template <class T, int kTaps, int kPack>
struct CorrelationKernel : Kernel<> {
    Field g;
    Image<const T> y, x;
    Image<T> w;
    bool channels_last;
    uint32_t parts, size;  // parts of a kernel, kTaps each; threads

    CorrelationKernel(const T* y, const T* x, T* w, const Involution& sizes, const ChannelsLast& last)
        : g(sizes),
          y(y, g, g.channels(), last.a),
          x(x, g, g.channels(), last.b),
          w(w, g, g.groups * g.taps(), last.out),
          channels_last(last.out),
          parts(g.taps() / kTaps),
          size(sizes.samples * g.groups * parts * g.pixels()) {}

    static bool takes_packs(const Involution& sizes, const ChannelsLast& last) {
        return last.a && last.b && sizes.members % kMembers == 0;
    }

    int64_t num_blocks() const { return ceil_div(size, kThreads); }

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        const uint32_t i = block * kThreads + thread;
        if (i >= size) return;
        const Place place(g, parts, channels_last, i);
        const Pixel pixel(g, place.pixel);
        const uint32_t tap = place.part * kTaps, plane = place.group * g.members;
        const int32_t radius = int32_t(g.side / 2);
        const int32_t dy = int32_t(tap / g.side) - radius, dx = int32_t(tap % g.side) - radius;
        uint32_t num[kTaps];  // values that a tap meets in a pack: none outside the image
        GF_UNROLL for (int32_t j = 0; j < kTaps; ++j) num[j] = pixel.has(g, dy, dx + j) ? kPack : 0;
        const uint32_t at = pixel.at(g, dy, dx);
        const T *left = y.at(place.sample, plane) + pixel.index * y.pixel, *right = x.at(place.sample, plane);
        float sum[kTaps] = {};
        for (uint32_t c = 0; c < g.members; c += kPack) {
            float factors[kPack];
            load_planes<kPack, kPack>(left + c * y.plane, y.plane, kPack, factors);
            GF_UNROLL for (int32_t j = 0; j < kTaps; ++j) {
                const uint32_t offset = num[j] ? c * x.plane + (at + uint32_t(j)) * x.pixel : 0;
                float values[kPack];
                load_planes<kPack, kPack>(right + offset, x.plane, num[j], values);
                GF_UNROLL for (int k = 0; k < kPack; ++k) sum[j] += factors[k] * values[k];
            }
        }
        T* to = w.at(place.sample, place.group * g.taps() + tap) + pixel.index * w.pixel;
        GF_UNROLL for (int32_t j = 0; j < kTaps; ++j) store(&to[uint32_t(j) * w.plane], sum[j]);
    }
};

}  // namespace ganfoundry
