// Backward pass of the epilogue with a filter of 4 x 4 taps on a GPU, for dense NHWC. Does not include PyTorch.
//
// A block computes a tile of kTileY x kTileX pixels of dx, of 8 packs of channels. Its du = d dv exists in shared
// memory, in the type of x, for the pixels that the transposed filter needs: kTaps - 1 more along each axis, which
// neighboring blocks compute, too. The first kTileY x kTileX of them are the block's own, whose sums it takes.

#pragma once

#include "epilogue/epilogue.cuh"

namespace ganfoundry {

// An axis of the tiles: tile t makes dx from t * size on, and du from t * size + shift on.
template <int kSize>
struct GradAxis {
    static constexpr int kWindow = kSize + kTaps - 1;  // pixels of du under a tile

    int in, out, pad, first, tiles;  // size of x, of y; number of the first tile, which may be negative

    explicit GradAxis(const Axis& a)
        : in(int(a.in)), out(int(a.out)), pad(int(a.pad)), first(floor_div(-shift()) < 0 ? floor_div(-shift()) : 0),
          tiles(last() + 1 - first) {}

    GF_HD int shift() const { return pad - (kTaps - 1); }
    GF_HD int first_in(uint32_t tile) const { return (int(tile) + first) * kSize; }
    GF_HD int first_out(uint32_t tile) const { return first_in(tile) + shift(); }

   private:
    static int floor_div(int a) { return a >= 0 ? a / kSize : -((kSize - 1 - a) / kSize); }
    int last() const {
        const int by_in = floor_div(in - 1), by_out = floor_div(out - 1 - shift());
        return by_in > by_out ? by_in : by_out;
    }
};

template <class T>
struct EpilogueFirShared : EpilogueShared<kPack<T>> {
    Pack<T, kPack<T>> du[11][19][8];
};

template <class T>
struct EpilogueFirGradKernel : Kernel<2, EpilogueFirShared<T>> {
    using Base = Kernel<2, EpilogueFirShared<T>>;
    using Shared = EpilogueFirShared<T>;
    using Base::kThreads;
    using AxisY = GradAxis<8>;
    using AxisX = GradAxis<16>;
    using Window = TileKernel<T, 1, 1, 2, 2, kPack<T>>;  // sums of 2 x 2 pixels
    static constexpr int P = kPack<T>, kTileY = 8, kTileX = 16;
    static constexpr uint32_t kLanes = Shared::kLanes;
    static_assert(kTileY * kTileX == Shared::kTilePixels && kTileY * kTileX / 4 * kLanes == kThreads);

    const T *dy, *x;
    const float* f;
    T* dx;
    EpilogueSums sums;
    EpilogueSteps steps;
    AxisY ay;
    AxisX ax;
    uint32_t images, parts;

    EpilogueFirGradKernel(
        const T* dy, const T* x, const float* f, T* dx, const EpilogueSums& sums, const EpilogueSteps& steps,
        const EpilogueSizes& g)
        : dy(dy), x(x), f(f), dx(dx), sums(sums), steps(steps), ay(g.y), ax(g.x), images(uint32_t(g.images)),
          parts(uint32_t(tables(g).parts)) {}

    static EpilogueTables tables(const EpilogueSizes& g) {
        return {int64_t(AxisY(g.y).tiles) * AxisX(g.x).tiles, ceil_div(g.channels, kLanes * P)};
    }

    int64_t num_blocks() const { return int64_t(images) * ay.tiles * ax.tiles * parts; }

    template <int kPhase>
    GF_HD void run(uint32_t block, uint32_t thread, Shared& shared) const {
        const uint32_t part = block % parts, tile = block / parts, column = tile % uint32_t(ax.tiles);
        const uint32_t row = tile / uint32_t(ax.tiles) % uint32_t(ay.tiles);
        const uint32_t image = tile / uint32_t(ax.tiles) / uint32_t(ay.tiles);
        const uint32_t first_channel = part * kLanes * P;
        const Place place{image, first_channel + thread % kLanes * P, ay.first_out(row), ax.first_out(column)};
        if constexpr (kPhase == 0) {
            gradients(place, thread, shared);
        } else {
            if (place.channel < steps.channels) {
                filter(image, place.channel, ay.first_in(row), ax.first_in(column), thread, shared);
            }
            const uint64_t at = uint64_t(tile) * steps.channels + first_channel;
            shared.reduce(
                thread, steps.channels - first_channel, sums.d_table + at, sums.b_table + at,
                [&](uint32_t i, float sum) {
                    const int oy = place.y + int(i) / kTileX, ox = place.x + int(i) % kTileX;
                    if (sums.noise_table == nullptr || !inside(oy, ox)) return;
                    const uint64_t plane = uint64_t(part * images + image) * steps.pixels;
                    sums.noise_table[plane + uint32_t(oy) * uint32_t(ax.out) + uint32_t(ox)] = sum;
                });
        }
    }

   private:
    // A thread's pack of channels, and the first pixel of the block's du.
    struct Place {
        uint32_t image, channel;
        int y, x;
    };

    GF_HD bool inside(int oy, int ox) const { return oy >= 0 && oy < ay.out && ox >= 0 && ox < ax.out; }

    // du of the block, 2 x 2 pixels at a time.
    GF_HD void gradients(const Place& place, uint32_t thread, Shared& shared) const {
        constexpr uint32_t kAcross = (AxisX::kWindow + 1) / 2, kTiles = (AxisY::kWindow + 1) / 2 * kAcross;
        EpilogueGradient<P> gradient;
        const bool active = place.channel < steps.channels;
        EpilogueFactors<P> factors{};
        if (active) factors = steps.factors<P>(place.image, place.channel);
        for (uint32_t i = thread / kLanes; i < kTiles; i += kThreads / kLanes) {
            const int top = int(i / kAcross) * 2, left = int(i % kAcross) * 2;
            typename Window::Tile u;
            if (active) sum_window(place, top, left, u);
            GF_UNROLL for (int j = 0; j < 2; ++j) {
                GF_UNROLL for (int k = 0; k < 2; ++k) {
                    const int wy = top + j, wx = left + k, oy = place.y + wy, ox = place.x + wx;
                    if (wy >= AxisY::kWindow || wx >= AxisX::kWindow) continue;
                    const bool own = wy < kTileY && wx < kTileX;
                    float du[P] = {}, sum = 0;
                    if (active && inside(oy, ox)) sum = one(place, oy, ox, factors, own, u.sum[j][k], du, gradient);
                    store_pack<P>(du, &shared.du[wy][wx][thread % kLanes].at[0]);
                    if (own) shared.noise[wy * kTileX + wx][thread % kLanes] = sum;
                }
            }
        }
        gradient.store(shared, thread);
    }

    // u of 2 x 2 pixels.
    GF_HD void sum_window(const Place& place, int top, int left, typename Window::Tile& u) const {
        load_taps(f, false, u.weight);
        const int y0 = place.y + top - ay.pad, x0 = place.x + left - ax.pad;
        GF_UNROLL for (int wy = 0; wy < Window::AxisY::kWindow; ++wy) {
            if (y0 + wy < 0 || y0 + wy >= ay.in) continue;
            GF_UNROLL for (int wx = 0; wx < Window::AxisX::kWindow; ++wx) {
                if (x0 + wx < 0 || x0 + wx >= ax.in) continue;
                float v[P];
                load_pack<P>(x + offset(ay.in, ax.in, place.image, y0 + wy, x0 + wx) + place.channel, v);
                Window::add(u, wy, wx, v);
            }
        }
    }

    // du of one pixel; returns the sum of dv over the pack.
    GF_HD float one(
        const Place& place, int oy, int ox, const EpilogueFactors<P>& factors, bool own, const float* u, float* du,
        EpilogueGradient<P>& gradient) const {
        load_pack<P>(dy + offset(ay.out, ax.out, place.image, oy, ox) + place.channel, du);
        const float noise = steps.noise(place.image, uint32_t(oy) * uint32_t(ax.out) + uint32_t(ox));
        return gradient.add(steps, factors, noise, u, du, own);
    }

    // dx of 2 x 2 pixels: the transposed filter over du.
    GF_HD void filter(
        uint32_t image, uint32_t channel, int first_y, int first_x, uint32_t thread, const Shared& shared) const {
        const int top = int(thread / kLanes / (kTileX / 2)) * 2, left = int(thread / kLanes % (kTileX / 2)) * 2;
        typename Window::Tile sum;
        load_taps(f, true, sum.weight);
        GF_UNROLL for (int wy = 0; wy < Window::AxisY::kWindow; ++wy) {
            GF_UNROLL for (int wx = 0; wx < Window::AxisX::kWindow; ++wx) {
                float v[P];
                const auto& pack = shared.du[top + wy][left + wx][thread % kLanes];
                GF_UNROLL for (int p = 0; p < P; ++p) v[p] = load(pack.at[p]);
                Window::add(sum, wy, wx, v);
            }
        }
        GF_UNROLL for (int j = 0; j < 2; ++j) {
            GF_UNROLL for (int k = 0; k < 2; ++k) {
                const int iy = first_y + top + j, ix = first_x + left + k;
                if (iy < 0 || iy >= ay.in || ix < 0 || ix >= ax.in) continue;
                store_pack<P>(sum.sum[j][k], dx + offset(ay.in, ax.in, image, iy, ix) + channel);
            }
        }
    }

    // First value of pixel (row, column) of an image of a tensor.
    GF_HD uint64_t offset(int height, int width, uint32_t image, int row, int column) const {
        const uint64_t line = uint64_t(image) * uint32_t(height) + uint32_t(row);
        return (line * uint32_t(width) + uint32_t(column)) * steps.channels;
    }
};

}  // namespace ganfoundry
