// upfirdn2d on a GPU for the filters and factors that upfirdn2d.cuh does not cover. Does not include PyTorch.

#pragma once

#include "common/axis.h"
#include "common/launch.cuh"
#include "common/pack.cuh"

namespace ganfoundry {

// Any filter and factors: every thread computes one pack of V channels, or one value.
template <class T, int V>
struct GeneralKernel : Kernel<> {
    struct Axis32 {
        int in, out, up, down, pad, taps;

        explicit Axis32(const Axis& a)
            : in(int(a.in)), out(int(a.out)), up(int(a.up)), down(int(a.down)), pad(int(a.pad)), taps(int(a.taps)) {}

        // As in Axis.
        GF_HD int first_tap(int o) const { return ((pad - o * down) % up + up) % up; }
        GF_HD int first_pixel(int o) const { return (o * down + first_tap(o) - pad) / up; }
    };

    const T* x;
    const float* f;
    T* out;
    uint32_t packs, size;  // packs per pixel; packs in the result
    Axis32 ay, ax;

    GeneralKernel(const T* x, const float* f, T* out, const Upfirdn2d& g)
        : x(x), f(f), out(out), packs(uint32_t(g.pixel / V)), size(uint32_t(g.planes * g.y.out * g.x.out * packs)),
          ay(g.y), ax(g.x) {}

    int64_t num_blocks() const { return ceil_div(size, kThreads); }

    template <int>
    GF_HD void run(uint32_t block, uint32_t thread, Nothing&) const {
        const uint32_t i = block * kThreads + thread;
        if (i >= size) return;
        const uint32_t pixel = i / packs, row = pixel / uint32_t(ax.out);
        const int ox = int(pixel % uint32_t(ax.out)), oy = int(row % uint32_t(ay.out));
        const T* plane = x + uint64_t(row / uint32_t(ay.out) * uint32_t(ay.in)) * uint32_t(ax.in) * (packs * V);
        const T* from = plane + i % packs * V;
        float sum[V] = {};
        int py = ay.first_pixel(oy);
        for (int ky = ay.first_tap(oy); ky < ay.taps; ky += ay.up, ++py) {
            if (py < 0 || py >= ay.in) continue;
            int px = ax.first_pixel(ox);
            for (int kx = ax.first_tap(ox); kx < ax.taps; kx += ax.up, ++px) {
                if (px < 0 || px >= ax.in) continue;
                float v[V];
                load_pack<V>(from + uint64_t(uint32_t(py) * uint32_t(ax.in) + uint32_t(px)) * (packs * V), v);
                const float w = f[ky * ax.taps + kx];
                GF_UNROLL for (int j = 0; j < V; ++j) sum[j] += w * v[j];
            }
        }
        store_pack<V>(sum, out + uint64_t(i) * V);
    }
};

}  // namespace ganfoundry
