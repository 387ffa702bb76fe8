// Up-sampling, padding, filtering and down-sampling of images on a GPU. Does not include PyTorch.
//
// Filters of 4 x 4 taps with equal factors (up, down) of (1, 1), (2, 1) or (1, 2), which every StyleGAN uses, run
// TileKernel: a thread computes a tile of the result from the window of the image under it, in registers. It sums all
// 16 taps: whether a filter is separable is known in GPU memory only, and reading it there costs more than the taps.
// Everything else runs GeneralKernel of upfirdn2d_general.cuh.
//
// A tile begins at an output whose first tap meets a pixel, possibly one before the image. All other positions of taps
// and pixels are then known to the compiler: output j of a tile meets window pixel (j * down + k) / up with tap k if
// this is a whole number.

#pragma once

#include "common/axis.h"
#include "common/launch.cuh"
#include "common/pack.cuh"

namespace ganfoundry {

inline constexpr int kTaps = 4;

// An axis with 32-bit sizes and factors that the compiler knows.
template <int kUp, int kDown, int kTile>
struct TileAxis {
    static constexpr int kWindow = ((kTile - 1) * kDown + kTaps - 1) / kUp + 1;  // pixels under a tile

    int in, out, pad;

    explicit TileAxis(const Axis& a) : in(int(a.in)), out(int(a.out)), pad(int(a.pad)) {}

    // Number of outputs of the first tile before the image, 0 or 1.
    GF_HD int shift() const { return kUp == 1 ? 0 : pad & 1; }
    GF_HD uint32_t num_tiles() const { return uint32_t(out + shift() + kTile - 1) / kTile; }
    GF_HD int first_output(uint32_t tile) const { return int(tile) * kTile - shift(); }
    // The division has no remainder.
    GF_HD int first_pixel(uint32_t tile) const { return (first_output(tile) * kDown - pad) / kUp; }

    // Whether output j of a tile meets window pixel w with a tap, and that tap.
    GF_HD static constexpr int tap(int j, int w) { return w * kUp - j * kDown; }
    GF_HD static constexpr bool meets(int j, int w) { return tap(j, w) >= 0 && tap(j, w) < kTaps; }
};

// Distribution of tiles over the threads of a block, in powers of two.
struct Share {
    uint32_t lanes, columns;              // packs of channels, and tiles in a row, for neighboring threads
    uint32_t lane_blocks, column_blocks;  // number of blocks that cover them
    int64_t blocks;

    // `packs` per pixel, `width` tiles per row, `rows` rows of tiles in all planes together.
    Share(int64_t packs, int64_t width, int64_t rows, uint32_t threads, uint32_t most_lanes, uint32_t most_columns)
        : lanes(cover(packs, most_lanes)),
          columns(cover(width, most_columns)),
          lane_blocks(uint32_t(ceil_div(packs, lanes))),
          column_blocks(uint32_t(ceil_div(width, columns))),
          blocks(ceil_div(rows, threads / lanes / columns) * lane_blocks * column_blocks) {}

   private:
    // The smallest power of two of at least n, limited to `most`.
    static uint32_t cover(int64_t n, uint32_t most) {
        uint32_t result = 1;
        while (result < n && result < most) result *= 2;
        return result;
    }
};

// The tile of a thread: pack of channels, column, and row among those of all planes.
struct Place3 {
    uint32_t pack, column, row;

    GF_HD Place3(const Share& share, uint32_t threads, uint32_t block, uint32_t thread) {
        const uint32_t rows = threads / share.lanes / share.columns;
        column = block % share.column_blocks * share.columns + thread / share.lanes % share.columns;
        block /= share.column_blocks;
        pack = block % share.lane_blocks * share.lanes + thread % share.lanes;
        row = block / share.lane_blocks * rows + thread / share.lanes / share.columns;
    }
};

GF_HD void load_taps(const float* f, bool reversed, float (&weight)[kTaps][kTaps]) {
    constexpr int kLast = kTaps * kTaps - 1;
    GF_UNROLL for (int k = 0; k <= kLast; ++k) weight[k / kTaps][k % kTaps] = f[reversed ? kLast - k : k];
}

// Common part of both layouts: a tile of kTileY x kTileX outputs of P channels.
template <class T, int kUp, int kDown, int kTileY, int kTileX, int P, class Base = Kernel<>>
struct TileKernel : Base {
    using Base::kThreads;
    using AxisY = TileAxis<kUp, kDown, kTileY>;
    using AxisX = TileAxis<kUp, kDown, kTileX>;

    const T* x;
    const float* f;
    T* out;
    uint32_t planes, pixel;
    AxisY ay;
    AxisX ax;
    Share share;
    bool reversed = false;  // whether the taps are taken in reverse

    TileKernel(const T* x, const float* f, T* out, const Upfirdn2d& g, uint32_t most_lanes, uint32_t most_columns)
        : x(x), f(f), out(out), planes(uint32_t(g.planes)), pixel(uint32_t(g.pixel)), ay(g.y), ax(g.x),
          share(g.pixel / P, ax.num_tiles(), int64_t(planes) * ay.num_tiles(), kThreads, most_lanes, most_columns) {}

    int64_t num_blocks() const { return share.blocks; }

    // A thread's tile: its position and its sums.
    struct Tile {
        uint32_t plane, pack, row, column;
        float weight[kTaps][kTaps];
        float sum[kTileY][kTileX][P] = {};
    };

    // False if the thread has no tile.
    GF_HD bool find(uint32_t block, uint32_t thread, Tile& tile) const {
        const Place3 place(share, kThreads, block, thread);
        const uint32_t tiles = ay.num_tiles();
        tile.plane = place.row / tiles;
        tile.row = place.row % tiles;
        tile.column = place.column;
        tile.pack = place.pack;
        if (tile.plane >= planes || place.column >= ax.num_tiles() || place.pack * P >= pixel) return false;
        load_taps(f, reversed, tile.weight);
        return true;
    }

    GF_HD const T* input_row(const Tile& tile, int row) const {
        return x + uint64_t(tile.plane * uint32_t(ay.in) + uint32_t(row)) * uint32_t(ax.in) * pixel;
    }
    GF_HD T* output_row(const Tile& tile, int row) const {
        return out + uint64_t(tile.plane * uint32_t(ay.out) + uint32_t(row)) * uint32_t(ax.out) * pixel;
    }

    // Adds pixel (wy, wx) of the window to every sum that contains it.
    GF_HD static void add(Tile& tile, int wy, int wx, const float* v) {
        GF_UNROLL for (int j = 0; j < kTileY; ++j) {
            GF_UNROLL for (int i = 0; i < kTileX; ++i) {
                if (!AxisY::meets(j, wy) || !AxisX::meets(i, wx)) continue;
                const float w = tile.weight[AxisY::tap(j, wy)][AxisX::tap(i, wx)];
                GF_UNROLL for (int p = 0; p < P; ++p) tile.sum[j][i][p] += w * v[p];
            }
        }
    }
};

// NHWC: packs of channels, one load per pixel of the window. Kernels that fuse other steps with the filter derive from it.
template <class T, int kUp, int kDown, class Base = Kernel<>>
struct ChannelsLastTile : TileKernel<T, kUp, kDown, 2, 2, kPack<T>, Base> {
    static constexpr int P = kPack<T>;
    using Tiles = TileKernel<T, kUp, kDown, 2, 2, P, Base>;
    using typename Tiles::AxisX, typename Tiles::AxisY, typename Tiles::Tile;

    // 8 lanes are a cache line, and 8 columns keep a block's tiles together, because they share pixels.
    ChannelsLastTile(const T* x, const float* f, T* out, const Upfirdn2d& g) : Tiles(x, f, out, g, 8, 8) {}

    // Sums the window. before(v) changes the P values of a pixel.
    template <class Before>
    GF_HD void gather(Tile& tile, Before before) const {
        const int y0 = this->ay.first_pixel(tile.row), x0 = this->ax.first_pixel(tile.column);
        GF_UNROLL for (int wy = 0; wy < AxisY::kWindow; ++wy) {
            if (y0 + wy < 0 || y0 + wy >= this->ay.in) continue;
            const T* row = this->input_row(tile, y0 + wy) + tile.pack * P;
            GF_UNROLL for (int wx = 0; wx < AxisX::kWindow; ++wx) {
                if (x0 + wx < 0 || x0 + wx >= this->ax.in) continue;
                float v[P];
                load_pack<P>(row + uint32_t(x0 + wx) * this->pixel, v);
                before(v);
                Tiles::add(tile, wy, wx, v);
            }
        }
    }

    // Stores the results. after(v, pixel, at) changes the P values of a pixel of the result's planes; its first value
    // is out[at].
    template <class After>
    GF_HD void scatter(Tile& tile, After after) const {
        const int y0 = this->ay.first_output(tile.row), x0 = this->ax.first_output(tile.column);
        GF_UNROLL for (int j = 0; j < 2; ++j) {
            GF_UNROLL for (int i = 0; i < 2; ++i) {
                if (y0 + j < 0 || y0 + j >= this->ay.out || x0 + i < 0 || x0 + i >= this->ax.out) continue;
                const uint32_t row = tile.plane * uint32_t(this->ay.out) + uint32_t(y0 + j);
                const uint32_t pixel = row * uint32_t(this->ax.out) + uint32_t(x0 + i);
                const uint32_t at = pixel * this->pixel + tile.pack * P;
                after(tile.sum[j][i], pixel, at);
                store_pack<P>(tile.sum[j][i], this->out + at);
            }
        }
    }
};

template <class T, int kUp, int kDown>
struct ChannelsLastKernel : ChannelsLastTile<T, kUp, kDown> {
    using Tiles = ChannelsLastTile<T, kUp, kDown>;
    using Tiles::Tiles;

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        typename Tiles::Tile tile;
        if (!this->find(block, thread, tile)) return;
        this->gather(tile, [](float*) {});
        this->scatter(tile, [](float*, uint32_t, uint32_t) {});
    }
};

// Adds an image of the size of the result.
template <class T, int kUp, int kDown>
struct ChannelsLastAddKernel : ChannelsLastTile<T, kUp, kDown> {
    using Tiles = ChannelsLastTile<T, kUp, kDown>;
    static constexpr int P = Tiles::P;

    const T* added;

    ChannelsLastAddKernel(const T* added, const T* x, const float* f, T* out, const Upfirdn2d& g)
        : Tiles(x, f, out, g), added(added) {}

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        typename Tiles::Tile tile;
        if (!this->find(block, thread, tile)) return;
        this->gather(tile, [](float*) {});
        this->scatter(tile, [&](float* sum, uint32_t, uint32_t at) {
            float v[P];
            load_pack<P>(added + at, v);
            GF_UNROLL for (int p = 0; p < P; ++p) sum[p] += v[p];
        });
    }
};

// NCHW: a tile is 8 pixels wide. Rows are loaded in packs, and pixels before the window are shifted out.
template <class T, int kUp, int kDown, bool kAligned>
struct PlanarKernel : TileKernel<T, kUp, kDown, 4, 8, 1> {
    using Base = TileKernel<T, kUp, kDown, 4, 8, 1>;
    using typename Base::AxisX, typename Base::AxisY, typename Base::Tile;
    static constexpr int kStep = 8 * kDown / kUp;                      // pixels from one tile to the next
    static constexpr int kLoad = kStep < kPack<T> ? kStep : kPack<T>;  // pixels per load
    static constexpr int kLoads = (AxisX::kWindow + 2 * kLoad - 2) / kLoad;
    static constexpr int kStore = kPack<T>;

    bool aligned_out;

    PlanarKernel(const T* x, const float* f, T* out, const Upfirdn2d& g)
        : Base(x, f, out, g, 1, 32), aligned_out(g.x.out % kStore == 0 && this->ax.shift() == 0) {}

    static bool takes(const Upfirdn2d& g) { return g.x.in % kLoad == 0; }

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        Tile tile;
        if (!this->find(block, thread, tile)) return;
        const int y0 = this->ay.first_pixel(tile.row), x0 = this->ax.first_pixel(tile.column);
        GF_UNROLL for (int wy = 0; wy < AxisY::kWindow; ++wy) {
            if (y0 + wy < 0 || y0 + wy >= this->ay.in) continue;
            const T* row = this->input_row(tile, y0 + wy);
            float v[kLoads * kLoad];
            if (kAligned) {
                load_packs(row, x0, v);
            } else {
                GF_UNROLL for (int wx = 0; wx < AxisX::kWindow; ++wx) {
                    v[wx] = x0 + wx >= 0 && x0 + wx < this->ax.in ? load(row[x0 + wx]) : 0;
                }
            }
            GF_UNROLL for (int wx = 0; wx < AxisX::kWindow; ++wx) Base::add(tile, wy, wx, &v[wx]);
        }
        finish(tile);
    }

   private:
    // The window from pixel x0 on. All tiles have the same alignment to packs, so no warp takes both branches.
    GF_HD void load_packs(const T* row, int x0, float* v) const {
        const int before = x0 & (kLoad - 1);
        GF_UNROLL for (int k = 0; k < kLoads; ++k) {
            const int at = x0 - before + k * kLoad;
            if (at >= 0 && at < this->ax.in) {
                load_pack<kLoad>(row + at, v + k * kLoad);
            } else {
                GF_UNROLL for (int i = 0; i < kLoad; ++i) v[k * kLoad + i] = 0;
            }
        }
        shift_out<kLoad / 2>(before, v);
    }

    // v[i] = v[i + before], one binary digit of `before` at a time, because registers have no run-time index.
    template <int kDigit>
    GF_HD static void shift_out(int before, float* v) {
        if constexpr (kDigit > 0) {
            if (before & kDigit) {
                GF_UNROLL for (int i = 0; i + kDigit < kLoads * kLoad; ++i) v[i] = v[i + kDigit];
            }
            shift_out<kDigit / 2>(before, v);
        }
    }

    GF_HD void finish(const Tile& tile) const {
        const int y0 = this->ay.first_output(tile.row), x0 = this->ax.first_output(tile.column);
        GF_UNROLL for (int j = 0; j < 4; ++j) {
            if (y0 + j < 0 || y0 + j >= this->ay.out) continue;
            T* row = this->output_row(tile, y0 + j);
            GF_UNROLL for (int i = 0; i < 8; i += kStore) {
                float v[kStore];
                GF_UNROLL for (int k = 0; k < kStore; ++k) v[k] = tile.sum[j][i + k][0];
                if (aligned_out) {
                    if (x0 + i < this->ax.out) store_pack<kStore>(v, row + x0 + i);
                    continue;
                }
                GF_UNROLL for (int k = 0; k < kStore; ++k) {
                    if (x0 + i + k >= 0 && x0 + i + k < this->ax.out) store(&row[x0 + i + k], v[k]);
                }
            }
        }
    }
};

}  // namespace ganfoundry
