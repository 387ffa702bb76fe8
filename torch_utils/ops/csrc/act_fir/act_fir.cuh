// Bias, leaky ReLU and a filter of 4 x 4 taps on a GPU, for dense NHWC. Does not include PyTorch.
//
//     h = clip(gain * lrelu(x + b), -clamp, clamp),  y = FIR(h)
//
// The kernels are that of upfirdn2d with more steps: h is computed where a pixel is loaded, and its gradient where the
// transposed filter's result is stored. SumRowsKernel adds the blocks' sums of the gradient of b.

#pragma once

#include "common/activation.h"
#include "upfirdn2d/upfirdn2d.cuh"

namespace ganfoundry {

template <class T>
struct ActFirKernel : ChannelsLastTile<T, 1, 1> {
    using Tiles = ChannelsLastTile<T, 1, 1>;
    static constexpr int P = Tiles::P;
    static constexpr uint32_t kBlocks = 3;  // else nvcc spills two registers to fit four

    const float* b;
    AnyActivation act;

    ActFirKernel(const T* x, const float* b, const float* f, T* y, const Upfirdn2d& g, const BiasAct& p)
        : Tiles(x, f, y, g), b(b), act(p) {}

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        typename Tiles::Tile tile;
        if (!this->find(block, thread, tile)) return;
        float bias[P];
        load_floats<P>(b + tile.pack * P, bias);
        this->gather(tile, [&](float* v) {
            GF_UNROLL for (int p = 0; p < P; ++p) v[p] = act.value(v[p] + bias[p]);
        });
        this->scatter(tile, [](float*, uint32_t, uint32_t) {});
    }
};

// Sums of the threads of a block, by channel of a pack.
template <int P>
struct ActFirShared {
    float sum[P][256];
};

// dx from dy. The geometry is that of the transposed filter, from dy to dx.
template <class T>
struct ActFirGradKernel : ChannelsLastTile<T, 1, 1, Kernel<2, ActFirShared<kPack<T>>>> {
    using Shared = ActFirShared<kPack<T>>;
    using Tiles = ChannelsLastTile<T, 1, 1, Kernel<2, Shared>>;
    using Tiles::kThreads, Tiles::share;
    static constexpr int P = Tiles::P;
    static constexpr uint32_t kBlocks = 3;

    const T* x;
    const float* b;
    float* table;  // [table_rows, channels]
    AnyActivation act;

    ActFirGradKernel(
        const T* dy, const T* x, const float* b, const float* f, T* dx, float* table, const Upfirdn2d& g,
        const BiasAct& p)
        : Tiles(dy, f, dx, g), x(x), b(b), table(table), act(p) {
        this->reversed = true;
    }

    // Rows of the table of partial sums: blocks per block of lanes.
    static int64_t table_rows(const Upfirdn2d& g) {
        const Tiles tiles(nullptr, nullptr, nullptr, g);
        return tiles.share.blocks / tiles.share.lane_blocks;
    }

    template <int kPhase>
    GF_HD void run(uint32_t block, uint32_t thread, Shared& shared) const {
        if constexpr (kPhase == 0) {
            gradients(block, thread, shared);
        } else {
            // As in Place3.
            const uint32_t column = block % share.column_blocks, rest = block / share.column_blocks;
            const uint32_t c = rest % share.lane_blocks * share.lanes * P + thread;
            if (thread >= share.lanes * P || c >= this->pixel) return;
            float sum = 0;
            for (uint32_t t = thread / P; t < kThreads; t += share.lanes) sum += shared.sum[thread % P][t];
            table[uint64_t(rest / share.lane_blocks * share.column_blocks + column) * this->pixel + c] = sum;
        }
    }

   private:
    GF_HD void gradients(uint32_t block, uint32_t thread, Shared& shared) const {
        float sum[P] = {};
        typename Tiles::Tile tile;
        if (this->find(block, thread, tile)) {
            float bias[P];
            load_floats<P>(b + tile.pack * P, bias);
            this->gather(tile, [](float*) {});
            this->scatter(tile, [&](float* d, uint32_t, uint32_t at) {
                float v[P];
                load_pack<P>(x + at, v);
                GF_UNROLL for (int p = 0; p < P; ++p) {
                    d[p] = act.gradient(d[p], act.value(v[p] + bias[p]));
                    sum[p] += d[p];
                }
            });
        }
        GF_UNROLL for (int p = 0; p < P; ++p) shared.sum[p][thread] = sum[p];
    }
};

}  // namespace ganfoundry
