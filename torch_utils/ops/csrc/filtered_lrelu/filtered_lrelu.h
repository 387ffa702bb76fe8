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
#include <cstring>

#include "common/activation.h"
#include "common/vector.h"
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
        : g(sizes), rows(rows_per_band(sizes)), up({g.planes, 1, g.up_y, g.up_x}, fu, tolerance, true),
          down({g.planes, 1, band_axis(), g.down_x}, fd, tolerance, true) {}

    int64_t bands() const { return (g.down_y.out + rows - 1) / rows; }
    int64_t tasks() const { return g.planes * bands(); }
    int64_t height() const { return g.up_x.out > 0 ? g.up_y.out : 0; }  // of r
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
        axis.pad = 0;
        return axis;
    }
};

// Removes the samples of r without a code from its axes: `size` codes begin `offset` samples before r.
inline void limit_axis(Axis& up, Axis& down, int64_t& offset, int64_t size) {
    const int64_t begin = std::clamp<int64_t>(-offset, 0, up.out), end = std::clamp(size - offset, begin, up.out);
    up.out = end - begin;
    up.pad -= begin;
    down.in = up.out;
    down.pad = begin;
    offset += begin;
}

inline void limit_to_codes(FilteredSizes& g, StoredCodes& stored) {
    limit_axis(g.up_x, g.down_x, stored.offset_x, 4 * stored.bytes);
    limit_axis(g.up_y, g.down_y, stored.offset_y, stored.height);
}

// Rows of r are processed in whole vectors: after its n samples, a row has zeros, or samples that are not yet computed.
// Byte j of a row of codes holds those of samples j, j + q, j + 2 q and j + 3 q, where q is the number of bytes: all
// loops run over memory in order.

// Multiplies a row of r by m, and writes the codes of m, one per byte, if `codes` is not null.
template <bool kBounded, class A>
void activate_row(A* row, int64_t n, const Activation<kBounded, A>& act, uint8_t* codes) {
    using V = Vector<A>;
    const typename V::type zero = {}, clamp = zero + act.clamp;
    const typename V::Integers none = {}, negative = none + kNegative, clipped = none + kClipped;
    for (int64_t i = 0; i < n; i += V::lanes) {
        const auto r = V::load(row + i);
        auto y = r * (r > 0 ? zero + act.positive : zero + act.negative);
        auto code = r > 0 ? none + kPositive : negative;
        if constexpr (kBounded) {
            code += (y > clamp ? clipped : none) + (y < -clamp ? clipped : none);
            y = y > clamp ? clamp : (y < -clamp ? -clamp : y);
        }
        V::store(row + i, y);
        if (codes) V::store_bytes(codes + i, code);
    }
}

constexpr int64_t kWord = sizeof(uint64_t);

// Packs n codes of one per byte into code_bytes(n) bytes, eight at a time. `codes` has room for a word more, and is
// overwritten.
inline void pack_codes(uint8_t* codes, int64_t n, uint8_t* packed) {
    const int64_t bytes = code_bytes(n);
    std::fill(codes + n, codes + 4 * bytes, kPositive);
    for (int64_t j = 0; j < bytes; j += kWord) {
        uint64_t word = 0;
        for (int k = 0; k < 4; ++k) {
            uint64_t part;
            std::memcpy(&part, codes + k * bytes + j, kWord);
            word |= part << 2 * k;
        }
        std::memcpy(packed + j, &word, std::min(kWord, bytes - j));
    }
}

// Writes the m of a row of 4 * bytes codes. `codes` and `m` have room for a vector more.
template <class A>
void unpack_codes(const uint8_t* codes, int64_t bytes, A positive, A negative, A* m) {
    using V = Vector<A>;
    const typename V::type zero = {};
    for (int k = 0; k < 4; ++k) {
        for (int64_t j = 0; j < bytes; j += V::lanes) {
            const auto code = V::load_bytes(codes + j) >> 2 * k & 3;
            const auto below = code == kNegative ? zero + negative : zero;
            V::store(m + k * bytes + j, code == kPositive ? zero + positive : below);
        }
    }
}

// Writes the rows of the plane x [H, W] that rows [from, to) of r need, plus b, to the source of `up`.
template <class T, class A>
void load_rows(const T* x, A b, const FilteredLrelu<A>& e, int64_t from, int64_t to, A* source) {
    const Axis& y = e.g.up_y;
    const int64_t width = e.g.up_x.in;
    const int64_t end = std::min(y.in, e.up.place_y[to - 1].pixel + y.num_taps(0));
    for (int64_t i = std::max<int64_t>(0, e.up.place_y[from].pixel); i < end; ++i) {
        const T* image = x + i * width;
        A* pixels = source + i * e.up.pitch() + e.up.left;
#pragma omp simd
        for (int64_t j = 0; j < width; ++j) pixels[j] = load(image[j]) + b;
    }
}

// Runs tasks [begin, end). shift(plane) is added to the plane's pixels; step(row, plane, r, owned) treats row r of r,
// of which one band per row is the owner.
template <class T, class Shift, class Step>
void filtered_tasks(
    const T* x, T* y, const FilteredLrelu<compute_t<T>>& e, int64_t begin, int64_t end, Shift shift, Step step) {
    using A = compute_t<T>;
    const FilteredSizes& g = e.g;
    const int64_t pitch = e.down.pitch();
    RowMaker<A> up(e.up), down(e.down);
    Buffer<A> source(g.up_y.in * e.up.pitch()), whole(pitch + Vector<A>::lanes);
    Buffer<A> raised(e.raised_rows(e.rows) * pitch + Vector<A>::lanes);
    for (int64_t task = begin; task < end; ++task) {
        const int64_t plane = task / e.bands(), first = task % e.bands() * e.rows;
        const int64_t last = std::min(g.down_y.out, first + e.rows);
        const int64_t top = first * g.down_y.down - g.down_y.pad;  // the first row of r that the band needs
        const int64_t from = std::max<int64_t>(0, top), to = std::min(e.height(), top + e.raised_rows(last - first));
        if (from < to) load_rows(x + plane * g.up_y.in * g.up_x.in, shift(plane), e, from, to, source.data());
        for (int64_t r = from; r < to; ++r) {
            A* stored = raised.data() + (r - top) * pitch;
            A* row = (e.down.is_split ? whole.data() : stored) + e.down.left;
            up.make(source.data(), row, r);
            step(row, plane, r, last == g.down_y.out || r < last * g.down_y.down);
            if (e.down.is_split) split_row(whole.data(), stored, pitch / g.down_x.down, g.down_x.down);
        }
        T* result = y + (plane * g.down_y.out + first) * g.down_x.out;
        const Band rows{from - top, std::max(from, to) - top};
        for (int64_t o = 0; o < last - first; ++o) down.make(raised.data(), result + o * g.down_x.out, o, rows);
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
    Buffer<uint8_t> loose(4 * bytes + Vector<A>::lanes + kWord);
    filtered_tasks(
        x, y, e, begin, end, [&](int64_t plane) { return b[plane % channels]; },
        [&](A* row, int64_t plane, int64_t r, bool owned) {
            const bool keep = codes != nullptr && owned;
            activate_row(row, n, act, keep ? loose.data() : nullptr);
            if (keep) pack_codes(loose.data(), n, codes + (plane * height + r) * bytes);
        });
}

// down(m up(x)) with the stored m, which begins `offset` (x, y) before r. All of r has codes.
template <class T>
void filtered_lrelu_stored_tasks(
    const T* x, T* y, const FilteredLrelu<compute_t<T>>& e, const StoredCodes& stored, const BiasAct& p, int64_t begin,
    int64_t end) {
    using A = compute_t<T>;
    using V = Vector<A>;
    const A positive = A(p.gain), negative = A(p.gain * p.slope);
    const int64_t n = e.g.up_x.out, bytes = stored.bytes;
    Buffer<uint8_t> padded(bytes + V::lanes);
    Buffer<A> m(4 * bytes + 2 * V::lanes);
    filtered_tasks(
        x, y, e, begin, end, [](int64_t) { return A(0); },
        [&](A* row, int64_t plane, int64_t r, bool) {
            const uint8_t* codes = stored.codes + (plane * stored.height + r + stored.offset_y) * bytes;
            std::memcpy(padded.data(), codes, bytes);
            unpack_codes(padded.data(), bytes, positive, negative, m.data());
            const A* factors = m.data() + stored.offset_x;
            for (int64_t i = 0; i < n; i += V::lanes) V::store(row + i, V::load(row + i) * V::load(factors + i));
        });
}

}  // namespace ganfoundry
