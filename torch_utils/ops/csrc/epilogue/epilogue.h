// The steps after a synthesis layer's convolution, in one pass forward and one backward. Does not include PyTorch.
//
//     u = FIR(x),  v = d u + noise + b,  y = clip(gain * lrelu(v), -clamp, clamp)
//
// Images are dense [N, H, W, C] (channels last); d [N, C], noise [N or 1, H, W], b [C]. Work is divided into bands of
// rows, the same for every number of threads; a chunk of a row's pixels passes all steps while it is in the L1 cache.
// Along a chunk the channels' factors and sums are repeated for every pixel, so that few channels vectorize, too.
//
// Backward, u is computed from x again instead of solving y for it: this reads as many bytes, and is exact even if
// bfloat16 has rounded y, and if d u is small compared with noise + b.

#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "bias_act/bias_act.h"
#include "common/fir.h"
#include "common/numeric.h"

namespace ganfoundry {

// Rows per band without a filter.
constexpr int64_t kRowsPerBand = 8;

template <class A>
struct Epilogue {
    int64_t images, channels;
    bool filtered;
    FirAxis<A> fir_y, fir_x;  // without a filter: no taps, sizes only
    const A *d, *noise, *b;   // nullptr: absent
    int64_t noise_stride;     // from one image's noise to the next; 0: shared
    BiasAct act;

    int64_t bands() const {
        return std::max<int64_t>(1, fir_y.out / (filtered ? kRowsPerFilteredBand : kRowsPerBand));
    }
    int64_t tasks() const { return images * bands(); }
    int64_t chunk_pixels() const { return pixels_per_chunk(channels); }
    int64_t row_in() const { return fir_x.in * channels; }
    int64_t row_out() const { return fir_x.out * channels; }
};

// A thread's chunk: u with its factors and shifts.
template <class T>
class EpilogueChunk {
   public:
    using A = compute_t<T>;

    explicit EpilogueChunk(const Epilogue<A>& e)
        : size_(e.chunk_pixels() * e.channels), u_(size_), d_(size_), shift_(size_), bias_(size_), e_(e),
          fir_(e.fir_y, e.fir_x, e.channels) {
        std::fill(d(), d() + size_, A(1));
        for (int64_t i = 0; e.b && i < size_; ++i) shift()[i] = bias_.data()[i] = e.b[i % e.channels];
    }

    const A* u() const { return from_; }
    A* d() { return d_.data(); }
    A* shift() { return shift_.data(); }

    void start_image(const T* x, int64_t image) {
        x_ = x + image * e_.fir_y.in * e_.row_in();
        noise_ = e_.noise ? e_.noise + image * e_.noise_stride : nullptr;
        for (int64_t i = 0; e_.d && i < size_; ++i) d()[i] = e_.d[image * e_.channels + i % e_.channels];
    }

    void start_row(int64_t oy) {
        oy_ = oy;
        if (e_.filtered) fir_.blend(oy, [this](int64_t r) { return x_ + r * e_.row_in(); });
    }

    // Fills u and the shift with the row's pixels [pixel, pixel + count).
    void fill(int64_t pixel, int64_t count) {
        const T* __restrict from = x_ + oy_ * e_.row_in() + pixel * e_.channels;
        A* __restrict to = u_.data();
        from_ = to;
        if (e_.filtered) {
            fir_.filter(pixel, count, to);
        } else if constexpr (std::is_same_v<T, A>) {
            from_ = from;
        } else {
#pragma omp simd
            for (int64_t i = 0; i < count * e_.channels; ++i) to[i] = load(from[i]);
        }
        if (!noise_) return;
        const A* noise = noise_ + oy_ * e_.fir_x.out + pixel;
        for (int64_t p = 0; p < count; ++p) {
            A* __restrict to = shift() + p * e_.channels;
            const A* __restrict bias = bias_.data();
#pragma omp simd
            for (int64_t c = 0; c < e_.channels; ++c) to[c] = bias[c] + noise[p];
        }
    }

   private:
    int64_t size_;
    Buffer<A> u_, d_, shift_, bias_;  // each [chunk_pixels, C]
    const Epilogue<A>& e_;
    FirRow<A> fir_;
    const T* x_ = nullptr;
    const A *noise_ = nullptr, *from_ = nullptr;
    int64_t oy_ = 0;
};

template <bool kBounded, class T>
void epilogue_tasks(const T* x, T* y, const Epilogue<compute_t<T>>& e, int64_t begin, int64_t end) {
    using A = compute_t<T>;
    const Activation<kBounded, A> act(e.act);
    EpilogueChunk<T> chunk(e);
    for (int64_t task = begin; task < end; ++task) {
        const int64_t image = task / e.bands();
        const Band rows = band(e.fir_y.out, task % e.bands(), e.bands());
        chunk.start_image(x, image);
        for (int64_t oy = rows.begin; oy < rows.end; ++oy) {
            chunk.start_row(oy);
            T* row = y + (image * e.fir_y.out + oy) * e.row_out();
            for (int64_t pixel = 0; pixel < e.fir_x.out; pixel += e.chunk_pixels()) {
                const int64_t count = std::min(e.chunk_pixels(), e.fir_x.out - pixel), n = count * e.channels;
                chunk.fill(pixel, count);
                const A *__restrict u = chunk.u(), *__restrict d = chunk.d();
                const A* __restrict shift = chunk.shift();
                T* __restrict to = row + pixel * e.channels;
#pragma omp simd
                for (int64_t i = 0; i < n; ++i) store(&to[i], act.value(d[i] * u[i] + shift[i]));
            }
        }
    }
}

// Addresses of the gradients: dx, d noise [N, H, W] or nullptr, and per task its parts [C] of those of d and b.
template <class T>
struct EpilogueGradients {
    T* dx;
    compute_t<T>*dd, *dnoise, *db;
};

// Rows of the result's size that pass the transposed filter, band by band: a ring of the last few suffices. Without a
// filter they are rows of the image themselves.
template <class T>
class TransposedRows {
    using A = compute_t<T>;

   public:
    explicit TransposedRows(const Epilogue<A>& e)
        : e_(e), back_(e.fir_y.transposed()), fir_(back_, e.fir_x.transposed(), e.channels),
          ring_(e.fir_y.size() * e.row_out()) {}

    // Writes the task's band of `to` [N, H, W, C]. make(oy, row, owned) makes a row [W', C] of type A or T; a row that
    // is not owned belongs to another band, whose result needs it, too.
    template <class Make>
    void run(T* to, int64_t task, Make make) {
        const int64_t image = task / e_.bands(), index = task % e_.bands();
        const Band rows = band(e_.fir_y.out, index, e_.bands());
        const auto row_of = [&](int64_t iy) { return to + (image * e_.fir_y.in + iy) * e_.row_in(); };
        const auto ring_row = [&](int64_t oy) { return ring_.data() + oy % e_.fir_y.size() * e_.row_out(); };
        if (!e_.filtered) {
            for (int64_t oy = rows.begin; oy < rows.end; ++oy) make(oy, row_of(oy), true);
            return;
        }
        slide(
            back_, rows, band(back_.out, index, e_.bands()),
            [&](int64_t oy) { make(oy, ring_row(oy), rows.has(oy)); },
            [&](int64_t iy) {
                fir_.blend(iy, ring_row);
                fir_.filter(0, e_.fir_x.in, row_of(iy));
            });
    }

   private:
    const Epilogue<A>& e_;
    FirAxis<A> back_;
    FirRow<A> fir_;
    Buffer<A> ring_;
};

// Sums `sums` [pixels, C], of `size` values, over the pixels.
template <class A>
void fold(const A* sums, int64_t size, A* out, int64_t channels) {
    std::fill(out, out + channels, A(0));
    for (int64_t i = 0; i < size; ++i) out[i % channels] += sums[i];
}

// Backward pass of a band: dv row by row, and dx from it.
template <bool kBounded, class T>
class EpilogueBackward {
    using A = compute_t<T>;

   public:
    EpilogueBackward(const T* x, const T* dy, const EpilogueGradients<T>& out, const Epilogue<A>& e)
        : x_(x), dy_(dy), out_(out), e_(e), act_(e.act), chunk_(e), transposed_(e),
          size_(e.chunk_pixels() * e.channels), dv_(size_), sum_d_(size_), sum_b_(size_), unused_(size_) {}

    void run(int64_t task) {
        image_ = task / e_.bands();
        chunk_.start_image(x_, image_);
        for (A* sum : {sum_d_.data(), sum_b_.data()}) std::fill(sum, sum + size_, A(0));
        transposed_.run(out_.dx, task, [this](int64_t oy, auto* du, bool owned) { make_row(oy, du, owned); });
        fold(sum_d_.data(), size_, out_.dd + task * e_.channels, e_.channels);
        fold(sum_b_.data(), size_, out_.db + task * e_.channels, e_.channels);
    }

   private:
    // du [W, C] = d dv of row `oy`. An owned row is also summed.
    template <class To>
    void make_row(int64_t oy, To* du, bool owned) {
        chunk_.start_row(oy);
        const int64_t row = image_ * e_.fir_y.out + oy;
        for (int64_t pixel = 0; pixel < e_.fir_x.out; pixel += e_.chunk_pixels()) {
            const int64_t count = std::min(e_.chunk_pixels(), e_.fir_x.out - pixel);
            chunk_.fill(pixel, count);
            const int64_t at = pixel * e_.channels;
            make_chunk(
                dy_ + row * e_.row_out() + at, du + at, (owned ? sum_d_ : unused_).data(),
                (owned ? sum_b_ : unused_).data(), count * e_.channels);
            if (owned && out_.dnoise) sum_pixels(out_.dnoise + row * e_.fir_x.out + pixel, count);
        }
    }

    template <class To>
    void make_chunk(const T* __restrict dy, To* __restrict du, A* sum_d, A* sum_b, int64_t n) {
        const A *__restrict u = chunk_.u(), *__restrict d = chunk_.d();
        const A* __restrict shift = chunk_.shift();
        A* __restrict dvs = dv_.data();
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const A dv = act_.gradient(load(dy[i]), act_.value(d[i] * u[i] + shift[i]));
            sum_d[i] += dv * u[i];
            sum_b[i] += dv;
            dvs[i] = dv;
            store(&du[i], d[i] * dv);
        }
    }

    void sum_pixels(A* dnoise, int64_t count) {
        for (int64_t p = 0; p < count; ++p) {
            const A* dv = dv_.data() + p * e_.channels;
            A sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t c = 0; c < e_.channels; ++c) sum += dv[c];
            dnoise[p] = sum;
        }
    }

    const T *x_, *dy_;
    EpilogueGradients<T> out_;
    const Epilogue<A>& e_;
    Activation<kBounded, A> act_;
    EpilogueChunk<T> chunk_;
    TransposedRows<T> transposed_;
    int64_t size_;
    Buffer<A> dv_, sum_d_, sum_b_, unused_;
    int64_t image_ = 0;
};

template <bool kBounded, class T>
void epilogue_backward_tasks(
    const T* x, const T* dy, const EpilogueGradients<T>& out, const Epilogue<compute_t<T>>& e, int64_t begin,
    int64_t end) {
    EpilogueBackward<kBounded, T> backward(x, dy, out, e);
    for (int64_t task = begin; task < end; ++task) backward.run(task);
}

}  // namespace ganfoundry
