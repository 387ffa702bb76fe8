// The steps after a synthesis layer's convolution on a GPU, for dense NHWC. Does not include PyTorch.
//
//     u = FIR(x),  v = d u + noise + b,  y = clip(gain * lrelu(v), -clamp, clamp)
//
// A thread takes packs of V channels. As on a CPU (epilogue.h), the backward pass computes u from x again. It sums the
// gradients of d, b and the noise by tile and by 8 packs of channels; SumRowsKernel adds these sums.

#pragma once

#include "common/activation.h"
#include "common/launch.cuh"
#include "common/pack.cuh"
#include "epilogue/epilogue_sizes.h"
#include "upfirdn2d/upfirdn2d.cuh"

namespace ganfoundry {

// d and b of V channels of an image.
template <int V>
struct EpilogueFactors {
    float d[V], b[V];
};

struct EpilogueSteps {
    EpilogueTerms terms;
    AnyActivation act;
    uint32_t channels, pixels;  // of an image of the result

    EpilogueSteps(const EpilogueTerms& terms, const BiasAct& p, const EpilogueSizes& g)
        : terms(terms), act(p), channels(uint32_t(g.channels)), pixels(uint32_t(g.height * g.width)) {}

    template <int V>
    GF_HD EpilogueFactors<V> factors(uint32_t image, uint32_t channel) const {
        EpilogueFactors<V> f;
        GF_UNROLL for (int j = 0; j < V; ++j) {
            f.d[j] = 1;
            f.b[j] = 0;
        }
        if (terms.d != nullptr) load_floats<V>(terms.d + image * channels + channel, f.d);
        if (terms.b != nullptr) load_floats<V>(terms.b + channel, f.b);
        return f;
    }

    // Of a pixel of an image.
    GF_HD float noise(uint32_t image, uint32_t pixel) const {
        return terms.noise == nullptr ? 0 : terms.noise[image * uint64_t(terms.noise_stride) + pixel];
    }

    GF_HD float value(float u, float d, float shift) const { return act.value(d * u + shift); }
};

// y without a filter.
template <class T, int V>
struct EpilogueKernel : Kernel<> {
    // Packs per thread, all loaded before the first is used.
    static constexpr uint32_t kRepeat = V == 1 ? 4 : 2;

    const T* x;
    T* y;
    EpilogueSteps steps;
    uint32_t packs, size;  // packs per pixel, and in all

    EpilogueKernel(const T* x, T* y, const EpilogueSteps& steps, const EpilogueSizes& g)
        : x(x), y(y), steps(steps), packs(uint32_t(g.channels / V)),
          size(uint32_t(g.images * g.height * g.width * packs)) {}

    int64_t num_blocks() const { return ceil_div(size, kThreads * kRepeat); }

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        const uint32_t first = block * kThreads * kRepeat + thread;
        float v[kRepeat][V];
        GF_UNROLL for (uint32_t r = 0; r < kRepeat; ++r) {
            const uint32_t i = first + r * kThreads;
            if (i < size) load_pack<V>(x + uint64_t(i) * V, v[r]);
        }
        GF_UNROLL for (uint32_t r = 0; r < kRepeat; ++r) {
            const uint32_t i = first + r * kThreads;
            if (i >= size) continue;
            const uint32_t pixel = i / packs, image = pixel / steps.pixels;
            const auto f = steps.factors<V>(image, i % packs * V);
            const float noise = steps.noise(image, pixel % steps.pixels);
            GF_UNROLL for (int j = 0; j < V; ++j) v[r][j] = steps.value(v[r][j], f.d[j], noise + f.b[j]);
            store_pack<V>(v[r], y + uint64_t(i) * V);
        }
    }
};

// y with a filter of 4 x 4 taps.
template <class T>
struct EpilogueFirKernel : ChannelsLastTile<T, 1, 1> {
    using Tiles = ChannelsLastTile<T, 1, 1>;
    static constexpr int P = Tiles::P;

    EpilogueSteps steps;

    EpilogueFirKernel(const T* x, const float* f, T* y, const EpilogueSteps& steps, const EpilogueSizes& g)
        : Tiles(x, f, y, {g.images, g.channels, g.y, g.x}), steps(steps) {}

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        typename Tiles::Tile tile;
        if (!this->find(block, thread, tile)) return;
        this->gather(tile, [](float*) {});
        const auto f = steps.factors<P>(tile.plane, tile.pack * P);
        this->scatter(tile, [&](float* u, uint32_t pixel, uint32_t) {
            const float noise = steps.noise(tile.plane, pixel - tile.plane * steps.pixels);
            GF_UNROLL for (int j = 0; j < P; ++j) u[j] = steps.value(u[j], f.d[j], noise + f.b[j]);
        });
    }
};

// Partial sums of a block of the backward pass: kLanes packs of channels of kTilePixels pixels.
template <int V>
struct EpilogueShared {
    static constexpr uint32_t kThreads = 256, kLanes = 8, kTilePixels = 128;

    float d[V][kThreads], b[V][kThreads];  // by thread, whose lane is thread % kLanes
    float noise[kTilePixels][kLanes];

    // Writes sums of d and b to the addresses of the block's first channel, and noise_sum(pixel, sum) for each pixel.
    // `channels` is the number of channels that remain.
    template <class NoiseSum>
    GF_HD void reduce(uint32_t thread, uint32_t channels, float* d_row, float* b_row, NoiseSum noise_sum) const {
        if (thread < kLanes * V && thread < channels) {
            float sum_d = 0, sum_b = 0;
            for (uint32_t t = thread / V; t < kThreads; t += kLanes) {
                sum_d += d[thread % V][t];
                sum_b += b[thread % V][t];
            }
            d_row[thread] = sum_d;
            b_row[thread] = sum_b;
        }
        if (thread >= kThreads - kTilePixels) {
            const uint32_t pixel = thread - (kThreads - kTilePixels);
            float sum = 0;
            GF_UNROLL for (uint32_t lane = 0; lane < kLanes; ++lane) sum += noise[pixel][lane];
            noise_sum(pixel, sum);
        }
    }
};

// Sums of a thread of the backward pass, and dv of one pack.
template <int V>
struct EpilogueGradient {
    float d[V] = {}, b[V] = {};

    // Replaces dy by du = d dv, and returns the sum of dv. A value that another block owns is not added.
    GF_HD float add(
        const EpilogueSteps& steps, const EpilogueFactors<V>& f, float noise, const float* u, float* dy, bool own) {
        float sum = 0;
        GF_UNROLL for (int j = 0; j < V; ++j) {
            const float dv = steps.act.gradient(dy[j], steps.value(u[j], f.d[j], noise + f.b[j]));
            d[j] += own ? dv * u[j] : 0;
            b[j] += own ? dv : 0;
            sum += dv;
            dy[j] = f.d[j] * dv;
        }
        return sum;
    }

    GF_HD void store(EpilogueShared<V>& shared, uint32_t thread) const {
        GF_UNROLL for (int j = 0; j < V; ++j) {
            shared.d[j][thread] = d[j];
            shared.b[j][thread] = b[j];
        }
    }
};

// dx without a filter. A tile is kTilePixels consecutive pixels of an image.
template <class T, int V>
struct EpilogueGradKernel : Kernel<2, EpilogueShared<V>> {
    using Base = Kernel<2, EpilogueShared<V>>;
    using Shared = EpilogueShared<V>;
    using Base::kThreads;
    static constexpr uint32_t kRows = kThreads / Shared::kLanes, kRepeat = Shared::kTilePixels / kRows;

    const T *dy, *x;
    T* dx;
    EpilogueSums sums;
    EpilogueSteps steps;
    uint32_t images, tiles, parts;

    EpilogueGradKernel(
        const T* dy, const T* x, T* dx, const EpilogueSums& sums, const EpilogueSteps& steps, const EpilogueSizes& g)
        : dy(dy), x(x), dx(dx), sums(sums), steps(steps), images(uint32_t(g.images)), tiles(uint32_t(tables(g).tiles)),
          parts(uint32_t(tables(g).parts)) {}

    static EpilogueTables tables(const EpilogueSizes& g) {
        return {ceil_div(g.height * g.width, Shared::kTilePixels), ceil_div(g.channels, Shared::kLanes * V)};
    }

    int64_t num_blocks() const { return int64_t(images) * tiles * parts; }

    template <int kPhase>
    GF_HD void run(uint32_t block, uint32_t thread, Shared& shared) const {
        const uint32_t part = block % parts, tile = block / parts, image = tile / tiles;
        const uint32_t first_channel = part * Shared::kLanes * V, first_pixel = tile % tiles * Shared::kTilePixels;
        if constexpr (kPhase == 0) {
            gradients(image, first_channel + thread % Shared::kLanes * V, first_pixel, thread, shared);
        } else {
            const uint64_t at = uint64_t(tile) * steps.channels + first_channel;
            shared.reduce(
                thread, steps.channels - first_channel, sums.d_table + at, sums.b_table + at,
                [&](uint32_t i, float sum) {
                    const uint32_t pixel = first_pixel + i;
                    if (sums.noise_table == nullptr || pixel >= steps.pixels) return;
                    sums.noise_table[uint64_t(part * images + image) * steps.pixels + pixel] = sum;
                });
        }
    }

   private:
    GF_HD void gradients(
        uint32_t image, uint32_t channel, uint32_t first_pixel, uint32_t thread, Shared& shared) const {
        const uint32_t lane = thread % Shared::kLanes, row = thread / Shared::kLanes;
        const uint32_t limit = channel < steps.channels ? steps.pixels : 0;
        float d[kRepeat][V], u[kRepeat][V];
        GF_UNROLL for (uint32_t r = 0; r < kRepeat; ++r) {
            const uint32_t pixel = first_pixel + row + r * kRows;
            if (pixel >= limit) continue;
            load_pack<V>(dy + at(image, pixel, channel), d[r]);
            load_pack<V>(x + at(image, pixel, channel), u[r]);
        }
        EpilogueGradient<V> gradient;
        EpilogueFactors<V> f{};
        if (limit > 0) f = steps.factors<V>(image, channel);
        GF_UNROLL for (uint32_t r = 0; r < kRepeat; ++r) {
            const uint32_t pixel = first_pixel + row + r * kRows;
            float sum = 0;
            if (pixel < limit) {
                sum = gradient.add(steps, f, steps.noise(image, pixel), u[r], d[r], true);
                store_pack<V>(d[r], dx + at(image, pixel, channel));
            }
            shared.noise[row + r * kRows][lane] = sum;
        }
        gradient.store(shared, thread);
    }

    GF_HD uint64_t at(uint32_t image, uint32_t pixel, uint32_t channel) const {
        return (uint64_t(image) * steps.pixels + pixel) * steps.channels + channel;
    }
};

}  // namespace ganfoundry
