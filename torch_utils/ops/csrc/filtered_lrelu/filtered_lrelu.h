// Leaky ReLU at a raised rate between two filters, on a CPU, a band of rows of one plane at a time. Does not include
// PyTorch.
//
//     r = up(x + b),  y = down(m r),  m = gain, gain * slope, or 0 where |m r| exceeds the clamp
//
// `up` and `down` are those of upfirdn2d.h. r exists for one band of rows only, in the cache. Neighboring bands both
// compute the few rows that both need. m is kept as a code of two bits per sample if a gradient will be computed; the
// gradient is the same map with the filters exchanged and the stored m. Images are dense [N, C, H, W].

#pragma once

#include <algorithm>
#include <cstdint>

#include "common/activation.h"
#include "filtered_lrelu/filtered_lrelu_sizes.h"
#include "upfirdn2d/upfirdn2d.h"

namespace ganfoundry {

// Values of r per band: with those of the workspaces they stay in the L2 cache.
constexpr int64_t kRaisedValuesPerBand = 1 << 16;
constexpr int64_t kMinRowsPerBand = 8;

template <class A>
struct FilteredLrelu {
    FilteredSizes g;
    int64_t rows;  // rows of the result per band
    Plan<A> up, down;

    FilteredLrelu(const FilteredSizes& sizes, const double* fu, const double* fd, double tolerance)
        : g(sizes), rows(rows_per_band(sizes)), up({g.planes, 1, g.up_y, g.up_x}, fu, tolerance),
          down({g.planes, 1, band_axis(), g.down_x}, fd, tolerance) {}

    int64_t bands() const { return (g.down_y.out + rows - 1) / rows; }
    int64_t tasks() const { return g.planes * bands(); }
    int64_t raised_rows(int64_t out_rows) const { return (out_rows - 1) * g.down_y.down + g.down_y.taps; }

   private:
    static int64_t rows_per_band(const FilteredSizes& g) {
        const int64_t raised = kRaisedValuesPerBand / std::max<int64_t>(1, g.up_x.out) - g.down_y.taps;
        return std::min(g.down_y.out, std::max(kMinRowsPerBand, raised / g.down_y.down));
    }

    // A band is filtered like an image of its own.
    Axis band_axis() const {
        Axis axis = g.down_y;
        axis.in = raised_rows(rows);
        axis.out = rows;
        return axis;
    }
};

// Multiplies a row of r by m, and writes the codes of m if `codes` is not null. Byte j holds those of samples j, j + q,
// j + 2 q and j + 3 q, where q is the number of bytes: all loops run over memory in order. `work` has 4 q entries, those
// from n on zero.
template <bool kBounded, class A>
void activate_row(A* __restrict row, int64_t n, const Activation<kBounded, A>& act, uint8_t* codes, uint8_t* work) {
    if (codes == nullptr) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) row[i] = act.value(row[i]);
        return;
    }
    const A positive = act.positive, negative = act.negative, clamp = act.clamp;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
        const A y = row[i] * (row[i] > 0 ? positive : negative);
        const bool clipped = kBounded && (y > clamp || y < -clamp);
        work[i] = uint8_t((row[i] > 0 ? kPositive : kNegative) + (clipped ? kClipped : 0));
        row[i] = act.value(row[i]);
    }
    const int64_t q = code_bytes(n);
#pragma omp simd
    for (int64_t j = 0; j < q; ++j) {
        codes[j] = uint8_t(work[j] | work[q + j] << 2 | work[2 * q + j] << 4 | work[3 * q + j] << 6);
    }
}

// Multiplies a row of r by the m that begins `offset` samples before it, zero outside of [0, 4 * bytes).
template <class A>
void multiply_row(
    A* __restrict row, int64_t n, const uint8_t* __restrict codes, int64_t bytes, int64_t offset, A positive,
    A negative, A* __restrict work) {
    const int64_t begin = std::min(n, std::max<int64_t>(0, -offset));
    const int64_t end = std::max(begin, std::min(n, 4 * bytes - offset));
    for (int k = 0; k < 4; ++k) {
        A* __restrict part = work + k * bytes;
#pragma omp simd
        for (int64_t j = 0; j < bytes; ++j) {
            const int code = codes[j] >> 2 * k & 3;
            part[j] = code == kPositive ? positive : (code == kNegative ? negative : A(0));
        }
    }
    std::fill(row, row + begin, A(0));
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) row[i] *= work[i + offset];
    std::fill(row + end, row + n, A(0));
}

// Runs tasks [begin, end). shift(plane) is added to the plane's pixels; step(row, plane, r, owned) treats row r of r,
// of which one band per row is the owner.
template <class T, class Shift, class Step>
void filtered_tasks(
    const T* x, T* y, const FilteredLrelu<compute_t<T>>& e, int64_t begin, int64_t end, Shift shift, Step step) {
    using A = compute_t<T>;
    const FilteredSizes& g = e.g;
    const int64_t width = g.up_x.out;
    RowMaker<A> up(e.up), down(e.down);
    Buffer<A> source(g.up_y.in * g.up_x.in), raised(e.raised_rows(e.rows) * width);
    for (int64_t task = begin; task < end; ++task) {
        const int64_t plane = task / e.bands(), first = task % e.bands() * e.rows;
        const int64_t last = std::min(g.down_y.out, first + e.rows);
        const int64_t r0 = first * g.down_y.down, num = e.raised_rows(last - first);
        const Place &top = e.up.place_y[r0], &bottom = e.up.place_y[r0 + num - 1];
        const int64_t from = std::max<int64_t>(0, top.pixel) * g.up_x.in;
        const int64_t to = std::min(g.up_y.in, bottom.pixel + g.up_y.num_taps(0)) * g.up_x.in;
        const T* image = x + plane * g.up_y.in * g.up_x.in;
        const A b = shift(plane);
        A* pixels = source.data();
#pragma omp simd
        for (int64_t i = from; i < to; ++i) pixels[i] = load(image[i]) + b;
        for (int64_t r = 0; r < num; ++r) {
            A* row = raised.data() + r * width;
            up.make(pixels, row, r0 + r);
            step(row, plane, r0 + r, last == g.down_y.out || r0 + r < last * g.down_y.down);
        }
        T* result = y + (plane * g.down_y.out + first) * g.down_x.out;
        for (int64_t o = 0; o < last - first; ++o) down.make(raised.data(), result + o * g.down_x.out, o);
    }
}

// y of x and b [C]. `codes` [N, C, H, bytes] of r is written unless it is null.
template <bool kBounded, class T>
void filtered_lrelu_tasks(
    const T* x, const compute_t<T>* b, T* y, uint8_t* codes, const FilteredLrelu<compute_t<T>>& e, int64_t channels,
    const BiasAct& p, int64_t begin, int64_t end) {
    using A = compute_t<T>;
    const Activation<kBounded, A> act(p);
    const int64_t n = e.g.up_x.out, height = e.g.up_y.out, bytes = code_bytes(n);
    Buffer<uint8_t> work(4 * bytes);
    filtered_tasks(
        x, y, e, begin, end, [&](int64_t plane) { return b[plane % channels]; },
        [&](A* row, int64_t plane, int64_t r, bool owned) {
            uint8_t* to = codes == nullptr || !owned ? nullptr : codes + (plane * height + r) * bytes;
            activate_row(row, n, act, to, work.data());
        });
}

// down(m up(x)) with the stored m, which begins at `offset` (x, y) relative to r.
template <class T>
void filtered_lrelu_stored_tasks(
    const T* x, T* y, const FilteredLrelu<compute_t<T>>& e, const StoredCodes& stored, const BiasAct& p, int64_t begin,
    int64_t end) {
    using A = compute_t<T>;
    const A positive = A(p.gain), negative = A(p.gain * p.slope);
    const int64_t n = e.g.up_x.out;
    Buffer<A> work(4 * stored.bytes);
    filtered_tasks(
        x, y, e, begin, end, [](int64_t) { return A(0); },
        [&](A* row, int64_t plane, int64_t r, bool) {
            const int64_t line = r + stored.offset_y;
            if (line < 0 || line >= stored.height) {
                std::fill(row, row + n, A(0));
                return;
            }
            const uint8_t* codes = stored.codes + (plane * stored.height + line) * stored.bytes;
            multiply_row(row, n, codes, stored.bytes, stored.offset_x, positive, negative, work.data());
        });
}

}  // namespace ganfoundry
