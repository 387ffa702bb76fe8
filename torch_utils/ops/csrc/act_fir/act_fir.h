// Bias, leaky ReLU and the filter before a strided convolution, in one pass forward and one backward. Does not include
// PyTorch.
//
//     h = clip(gain * lrelu(x + b), -clamp, clamp),  y = FIR(h)
//
// Images are dense [N, H, W, C] (channels last), b [C]. Work is divided into bands of rows as in epilogue.h; h and its
// gradient exist in a ring of the last few rows, and in a chunk of pixels. h is not stored: the backward pass computes
// from x again where x + b was positive or clipped.

#pragma once

#include <algorithm>
#include <cstdint>

#include "bias_act/bias_act.h"
#include "common/fir.h"
#include "common/numeric.h"

namespace ganfoundry {

template <class A>
struct ActFir {
    int64_t images, channels;
    FirAxis<A> y, x;  // axes of the filter, from h to y
    const A* b;
    BiasAct act;

    int64_t bands() const { return std::max<int64_t>(1, y.in / kRowsPerFilteredBand); }
    int64_t tasks() const { return images * bands(); }
    int64_t row_in() const { return x.in * channels; }
    int64_t row_out() const { return x.out * channels; }
    int64_t chunk() const { return pixels_per_chunk(channels) * channels; }  // in values
};

// b, repeated for every pixel of a chunk.
template <class A>
Buffer<A> repeated_bias(const ActFir<A>& e) {
    Buffer<A> bias(e.chunk());
    for (int64_t i = 0; i < e.chunk(); ++i) bias.data()[i] = e.b[i % e.channels];
    return bias;
}

template <bool kBounded, class T>
void act_fir_tasks(const T* x, T* y, const ActFir<compute_t<T>>& e, int64_t begin, int64_t end) {
    using A = compute_t<T>;
    const Activation<kBounded, A> act(e.act);
    FirRow<A> fir(e.y, e.x, e.channels);
    Buffer<A> ring(e.y.size() * e.row_in()), bias_buffer = repeated_bias(e);
    const A* __restrict bias = bias_buffer.data();
    const auto ring_row = [&](int64_t iy) { return ring.data() + iy % e.y.size() * e.row_in(); };
    for (int64_t task = begin; task < end; ++task) {
        const int64_t image = task / e.bands();
        const auto make = [&](int64_t iy) {
            const T* row = x + (image * e.y.in + iy) * e.row_in();
            for (int64_t at = 0; at < e.row_in(); at += e.chunk()) {
                const T* __restrict from = row + at;
                A* __restrict h = ring_row(iy) + at;
                const int64_t n = std::min(e.chunk(), e.row_in() - at);
#pragma omp simd
                for (int64_t i = 0; i < n; ++i) h[i] = act.value(load(from[i]) + bias[i]);
            }
        };
        const auto filter = [&](int64_t oy) {
            fir.blend(oy, ring_row);
            fir.filter(0, e.x.out, y + (image * e.y.out + oy) * e.row_out());
        };
        const Band rows = band(e.y.out, task % e.bands(), e.bands());
        slide(e.y, Band{rows.begin - e.y.pad, rows.begin - e.y.pad}, rows, make, filter);
    }
}

// Writes dx, and per task its part [C] of the gradient of b.
template <bool kBounded, class T>
void act_fir_backward_tasks(
    const T* x, const T* dy, T* dx, compute_t<T>* db, const ActFir<compute_t<T>>& e, int64_t begin, int64_t end) {
    using A = compute_t<T>;
    const Activation<kBounded, A> act(e.act);
    FirRow<A> fir(e.y.transposed(), e.x.transposed(), e.channels);
    Buffer<A> dh_buffer(e.chunk()), sum_buffer(e.chunk()), bias_buffer = repeated_bias(e);
    A *__restrict dh = dh_buffer.data(), *__restrict sum = sum_buffer.data();
    const A* __restrict bias = bias_buffer.data();
    for (int64_t task = begin; task < end; ++task) {
        const int64_t image = task / e.bands();
        const Band rows = band(e.y.in, task % e.bands(), e.bands());
        std::fill(sum, sum + e.chunk(), A(0));
        for (int64_t iy = rows.begin; iy < rows.end; ++iy) {
            fir.blend(iy, [&](int64_t oy) { return dy + (image * e.y.out + oy) * e.row_out(); });
            for (int64_t at = 0; at < e.row_in(); at += e.chunk()) {
                const int64_t n = std::min(e.chunk(), e.row_in() - at), first = (image * e.y.in + iy) * e.row_in() + at;
                fir.filter(at / e.channels, n / e.channels, dh);
                const T* __restrict from = x + first;
                T* __restrict to = dx + first;
#pragma omp simd
                for (int64_t i = 0; i < n; ++i) {
                    const A d = act.gradient(dh[i], act.value(load(from[i]) + bias[i]));
                    store(&to[i], d);
                    sum[i] += d;
                }
            }
        }
        std::fill(db + task * e.channels, db + (task + 1) * e.channels, A(0));
        for (int64_t i = 0; i < e.chunk(); ++i) db[task * e.channels + i % e.channels] += sum[i];
    }
}

}  // namespace ganfoundry
