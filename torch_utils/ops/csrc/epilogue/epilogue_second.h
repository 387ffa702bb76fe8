// The gradient of the epilogue's gradient, in one pass. Does not include PyTorch.
//
// With u = FIR(x), v = d u + noise + b, m(v) the slope of the activation, and the gradient
//     dv = m dy,  dx = FIR'(d dv),  dd = sum(dv u),  dnoise = sum(dv),  db = sum(dv)
// the gradients gx, gd, gn, gb of (dx, dd, dnoise, db) lead to
//     h = FIR(gx)
//     gradient of dy = m (d h + gd u + gn + gb)
//     gradient of x  = FIR'(gd dv)
//     gradient of d  = sum(h dv)
// where FIR' is the transposed filter, and m is constant between the kinks of the activation. The bracket is a second
// epilogue, whose features, factor, noise and bias are gx, gd, gn and gb.

#pragma once

#include "epilogue/epilogue.h"

namespace ganfoundry {

// Addresses of the gradients of dy and x, and per task its part [C] of that of d.
template <class T>
struct EpilogueSecondGradients {
    T *dy, *x;
    compute_t<T>* d;
};

// A band of the pass. Of `g`, the epilogue of the gradients, an absent factor means zero.
template <bool kBounded, class T>
class EpilogueSecond {
    using A = compute_t<T>;

   public:
    EpilogueSecond(
        const T* gx, const T* dy, const T* x, const EpilogueSecondGradients<T>& out, const Epilogue<A>& g,
        const Epilogue<A>& e)
        : gx_(gx), dy_(dy), x_(x), out_(out), e_(e), act_(e.act), of_g_(g), of_x_(e), transposed_(e),
          size_(e.chunk_pixels() * e.channels), sum_(size_), unused_sum_(size_), unused_dy_(size_) {
        if (!g.d) std::fill(of_g_.d(), of_g_.d() + size_, A(0));
    }

    void run(int64_t task) {
        image_ = task / e_.bands();
        of_g_.start_image(gx_, image_);
        of_x_.start_image(x_, image_);
        std::fill(sum_.data(), sum_.data() + size_, A(0));
        transposed_.run(out_.x, task, [this](int64_t oy, auto* gu, bool owned) { make_row(oy, gu, owned); });
        fold(sum_.data(), size_, out_.d + task * e_.channels, e_.channels);
    }

   private:
    // gd dv [W, C] of row `oy`. An owned row is also written and summed.
    template <class To>
    void make_row(int64_t oy, To* gu, bool owned) {
        of_g_.start_row(oy);
        of_x_.start_row(oy);
        const int64_t row = (image_ * e_.fir_y.out + oy) * e_.row_out();
        for (int64_t pixel = 0; pixel < e_.fir_x.out; pixel += e_.chunk_pixels()) {
            const int64_t count = std::min(e_.chunk_pixels(), e_.fir_x.out - pixel);
            of_g_.fill(pixel, count);
            of_x_.fill(pixel, count);
            const int64_t at = pixel * e_.channels;
            make_chunk(
                dy_ + row + at, owned ? out_.dy + row + at : unused_dy_.data(), gu + at,
                (owned ? sum_ : unused_sum_).data(), count * e_.channels);
        }
    }

    template <class To>
    void make_chunk(const T* __restrict dy, T* __restrict for_dy, To* __restrict gu, A* __restrict sum, int64_t n) {
        const A *__restrict h = of_g_.u(), *__restrict gd = of_g_.d(), *__restrict gshift = of_g_.shift();
        const A *__restrict u = of_x_.u(), *__restrict d = of_x_.d(), *__restrict shift = of_x_.shift();
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const A y = act_.value(d[i] * u[i] + shift[i]), dv = act_.gradient(load(dy[i]), y);
            store(&for_dy[i], act_.gradient(d[i] * h[i] + gd[i] * u[i] + gshift[i], y));
            store(&gu[i], gd[i] * dv);
            sum[i] += h[i] * dv;
        }
    }

    const T *gx_, *dy_, *x_;
    EpilogueSecondGradients<T> out_;
    const Epilogue<A>& e_;
    Activation<kBounded, A> act_;
    EpilogueChunk<T> of_g_, of_x_;
    TransposedRows<T> transposed_;
    int64_t size_;
    Buffer<A> sum_, unused_sum_;
    Buffer<T> unused_dy_;
    int64_t image_ = 0;
};

template <bool kBounded, class T>
void epilogue_second_tasks(
    const T* gx, const T* dy, const T* x, const EpilogueSecondGradients<T>& out, const Epilogue<compute_t<T>>& g,
    const Epilogue<compute_t<T>>& e, int64_t begin, int64_t end) {
    EpilogueSecond<kBounded, T> second(gx, dy, x, out, g, e);
    for (int64_t task = begin; task < end; ++task) second.run(task);
}

}  // namespace ganfoundry
