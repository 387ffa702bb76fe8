// Leaky ReLU at a raised rate between two filters, on a GPU, on dense NCHW. Does not include PyTorch.
//
// A block computes a square tile of one plane of the result, and holds everything in shared memory: the pixels that the
// tile needs, their sums along y at the raised rate, the raised samples r (see filtered_lrelu.h), and sums of those
// along x. A filter that is not separable takes both sums at once.
//
// With fewer taps than `down`, no result reads some of the raised samples; their codes are not written, and multiply 0.

#pragma once

#include "common/launch.cuh"
#include "filtered_lrelu/filtered_lrelu_cuda.h"

namespace ganfoundry {

// An axis of a tile. Raised samples of a tile begin at tile * down of the first; pixels at the first that they need.
struct TileAxis {
    int in, raised, out, up, down, pad, taps_up, taps_down;
    int tile, span, pixels, tiles;  // results, raised samples and pixels of a tile; tiles

    TileAxis(const Axis& u, const Axis& d, int size)
        : in(int(u.in)), raised(int(u.out)), out(int(d.out)), up(int(u.up)), down(int(d.down)), pad(int(u.pad)),
          taps_up(int(u.taps)), taps_down(int(d.taps)), tile(size), span((size - 1) * down + taps_down),
          pixels(int(ceil_div(span - 1, up) + ceil_div(taps_up, up))), tiles(int(ceil_div(out, size))) {}

    // As in Axis, for raised sample j.
    GF_HD int first_tap(int j) const { return ((pad - j) % up + up) % up; }
    GF_HD int first_pixel(int j) const { return (j + first_tap(j) - pad) / up; }

    GF_HD int first_raised(int t) const { return t * tile * down; }
    // Raised samples whose codes the tile writes; it may compute more of them.
    GF_HD int owned(int t) const {
        const int left = raised - first_raised(t);
        return t == tiles - 1 ? left : tile * down;
    }
};

// 48 kB, the most that a block has without a request at run time, less what the compiler takes.
inline constexpr int kPool = 12000;
struct TilePool {
    float at[kPool];
};

template <class T, bool kStored>
struct FilteredKernel : Kernel<5, TilePool> {
    const T* x;
    const float* b;
    T* y;
    uint8_t* codes;
    StoredCodes stored;
    FilterPair f;
    TileAxis ay, ax;
    int planes, channels;
    Activation<true, float> act;
    bool bounded;

    FilteredKernel(
        const T* x, const float* b, T* y, uint8_t* codes, const StoredCodes& stored, const FilterPair& f,
        const FilteredSizes& g, int64_t channels, const BiasAct& p, int size)
        : x(x), b(b), y(y), codes(codes), stored(stored), f(f), ay(g.up_y, g.down_y, size), ax(g.up_x, g.down_x, size),
          planes(int(g.planes)), channels(int(channels)), act(p), bounded(p.bounded) {}

    // Places in the pool: pixels, then r, then sums, which are those along y first and those along x later.
    GF_HD int raised_at() const { return ay.pixels * ax.pixels; }
    GF_HD int sums_at() const { return raised_at() + ay.span * ax.span; }
    int pool_size() const { return sums_at() + ay.span * (ax.pixels > ax.tile ? ax.pixels : ax.tile); }

    int64_t num_blocks() const { return int64_t(planes) * ay.tiles * ax.tiles; }

    template <int kPhase>
    GF_HD void run(uint32_t block, uint32_t thread, TilePool& shared) const {
        const int tx = int(block) % ax.tiles, rest = int(block) / ax.tiles;
        const int ty = rest % ay.tiles, plane = rest / ay.tiles;
        float *pixels = shared.at, *raised = pixels + raised_at(), *sums = pixels + sums_at();
        if constexpr (kPhase == 0) load_pixels(plane, ty, tx, int(thread), pixels);
        if constexpr (kPhase == 1) {
            if (f.up_separable) sum_up_y(ty, int(thread), pixels, sums);
        }
        if constexpr (kPhase == 2) raise(plane, ty, tx, int(thread), pixels, sums, raised);
        if constexpr (kPhase == 3) {
            if (f.down_separable) sum_down_x(int(thread), raised, sums);
        }
        if constexpr (kPhase == 4) finish(plane, ty, tx, int(thread), raised, sums);
    }

   private:
    static constexpr int kStep = int(kThreads);

    GF_HD void load_pixels(int plane, int ty, int tx, int thread, float* pixels) const {
        const int top = ay.first_pixel(ay.first_raised(ty)), left = ax.first_pixel(ax.first_raised(tx));
        const T* image = x + int64_t(plane) * ay.in * ax.in;
        const float shift = kStored ? 0.0f : b[plane % channels];
        for (int i = thread; i < ay.pixels * ax.pixels; i += kStep) {
            const int py = top + i / ax.pixels, px = left + i % ax.pixels;
            const bool inside = py >= 0 && py < ay.in && px >= 0 && px < ax.in;
            pixels[i] = inside ? load(image[py * ax.in + px]) + shift : 0.0f;
        }
    }

    GF_HD void sum_up_y(int ty, int thread, const float* pixels, float* sums) const {
        const int r0 = ay.first_raised(ty), top = ay.first_pixel(r0);
        for (int i = thread; i < ay.span * ax.pixels; i += kStep) {
            const int j = r0 + i / ax.pixels, column = i % ax.pixels;
            const float* from = pixels + (ay.first_pixel(j) - top) * ax.pixels + column;
            float sum = 0;
            for (int k = ay.first_tap(j); k < ay.taps_up; k += ay.up, from += ax.pixels) sum += f.up[k] * *from;
            sums[i] = sum;
        }
    }

    // Four neighboring samples of r, which share a byte of codes.
    GF_HD void raise(
        int plane, int ty, int tx, int thread, const float* pixels, const float* sums, float* raised) const {
        const int y0 = ay.first_raised(ty), x0 = ax.first_raised(tx), groups = int(ceil_div(ax.span, 4));
        const int own_y = ay.owned(ty), own_x = ax.owned(tx), bytes = int(code_bytes(ax.raised));
        for (int i = thread; i < ay.span * groups; i += kStep) {
            const int row = i / groups, first = i % groups * 4;
            uint32_t packed = 0;
            GF_UNROLL for (int q = 0; q < 4; ++q) {
                const int column = first + q;
                if (column >= ax.span) continue;
                const float v = up_sum(y0, x0, row, column, pixels, sums);
                float* to = raised + row * ax.span + column;
                if constexpr (kStored) {
                    *to = v * factor(plane, y0 + row, x0 + column);
                } else {
                    const float r = v * (v > 0 ? act.positive : act.negative);
                    const bool clipped = bounded && (r > act.clamp || r < -act.clamp);
                    *to = clipped ? (r > 0 ? act.clamp : -act.clamp) : r;
                    const uint32_t code = clipped ? kClipped : (v > 0 ? kPositive : kNegative);
                    packed |= (column < own_x ? code : 0u) << 2 * q;
                }
            }
            if (!kStored && codes != nullptr && row < own_y && first < own_x) {
                codes[(int64_t(plane) * ay.raised + y0 + row) * bytes + (x0 + first) / 4] = uint8_t(packed);
            }
        }
    }

    GF_HD float up_sum(int y0, int x0, int row, int column, const float* pixels, const float* sums) const {
        const int j = x0 + column, left = ax.first_pixel(j) - ax.first_pixel(x0);
        float sum = 0;
        if (f.up_separable) {
            const float* from = sums + row * ax.pixels + left;
            for (int k = ax.first_tap(j); k < ax.taps_up; k += ax.up) sum += f.up[k] * *from++;
            return sum;
        }
        const int line = y0 + row;
        const float* top = pixels + (ay.first_pixel(line) - ay.first_pixel(y0)) * ax.pixels + left;
        for (int ky = ay.first_tap(line); ky < ay.taps_up; ky += ay.up, top += ax.pixels) {
            const float* from = top;
            for (int kx = ax.first_tap(j); kx < ax.taps_up; kx += ax.up) sum += f.up[ky * ax.taps_up + kx] * *from++;
        }
        return sum;
    }

    // The stored m of raised sample (row, column) of the plane.
    GF_HD float factor(int plane, int row, int column) const {
        const int64_t line = row + stored.offset_y, at = column + stored.offset_x;
        if (line < 0 || line >= stored.height || at < 0 || at >= 4 * stored.bytes) return 0;
        const uint8_t byte = stored.codes[(plane * stored.height + line) * stored.bytes + at / 4];
        const int code = byte >> 2 * (at % 4) & 3;
        return code == kPositive ? act.positive : (code == kNegative ? act.negative : 0.0f);
    }

    GF_HD void sum_down_x(int thread, const float* raised, float* sums) const {
        for (int i = thread; i < ay.span * ax.tile; i += kStep) {
            const float* from = raised + i / ax.tile * ax.span + i % ax.tile * ax.down;
            float sum = 0;
            for (int k = 0; k < ax.taps_down; ++k) sum += f.down[k] * from[k];
            sums[i] = sum;
        }
    }

    GF_HD void finish(int plane, int ty, int tx, int thread, const float* raised, const float* sums) const {
        for (int i = thread; i < ay.tile * ax.tile; i += kStep) {
            const int row = i / ax.tile, column = i % ax.tile, oy = ty * ay.tile + row, ox = tx * ax.tile + column;
            if (oy >= ay.out || ox >= ax.out) continue;
            float sum = 0;
            if (f.down_separable) {
                const float* from = sums + row * ay.down * ax.tile + column;
                for (int k = 0; k < ay.taps_down; ++k) sum += f.down[k] * from[k * ax.tile];
            } else {
                const float* from = raised + row * ay.down * ax.span + column * ax.down;
                for (int ky = 0; ky < ay.taps_down; ++ky, from += ax.span) {
                    for (int kx = 0; kx < ax.taps_down; ++kx) sum += f.down[ky * ax.taps_down + kx] * from[kx];
                }
            }
            store(&y[(int64_t(plane) * ay.out + oy) * ax.out + ox], sum);
        }
    }
};

}  // namespace ganfoundry
