// Bias, leaky ReLU, gain and clamp in one pass, forward and backward. Does not include PyTorch.
//
// Work is divided into tasks; results do not depend on the threads that take them.

#pragma once

#include <algorithm>
#include <cstdint>

#include "common/activation.h"
#include "common/numeric.h"

namespace ganfoundry {

// Rows per task if the channels are innermost: enough to hide the start, few enough to sum in float32.
constexpr int64_t kRowsPerTask = 128;
// Elements that are summed together, for the same reason.
constexpr int64_t kSumLength = 4096;

inline int64_t num_tasks(const Layout& s) {
    return s.inner == 1 ? (s.outer + kRowsPerTask - 1) / kRowsPerTask : s.outer * s.channels;
}

inline int64_t task_length(const Layout& s) {
    return s.inner == 1 ? kRowsPerTask * s.channels : s.inner;
}

// Columns of the table [num_tasks, columns] of partial sums of the bias gradient.
inline int64_t sum_columns(const Layout& s) { return s.inner == 1 ? s.channels : 1; }

template <bool kBounded, class T>
void bias_act_tasks(const T* x, const compute_t<T>* b, T* y, Layout s, BiasAct p, int64_t begin, int64_t end) {
    using A = compute_t<T>;
    const Activation<kBounded, A> act(p);
    if (s.inner > 1) {
        for (int64_t task = begin; task < end; ++task) {
            const T* __restrict xs = x + task * s.inner;
            T* __restrict ys = y + task * s.inner;
            const A bias = b[task % s.channels];
#pragma omp simd
            for (int64_t i = 0; i < s.inner; ++i) store(&ys[i], act.value(load(xs[i]) + bias));
        }
        return;
    }
    for (int64_t row = begin * kRowsPerTask; row < std::min(end * kRowsPerTask, s.outer); ++row) {
        const T* __restrict xs = x + row * s.channels;
        T* __restrict ys = y + row * s.channels;
#pragma omp simd
        for (int64_t c = 0; c < s.channels; ++c) store(&ys[c], act.value(load(xs[c]) + b[c]));
    }
}

// Computes dx[i] = gradient(dy[i], y[i]) for n elements and returns their sum.
template <bool kBounded, class T>
compute_t<T> gradient_and_sum(
    const T* __restrict dy, const T* __restrict y, T* __restrict dx, int64_t n,
    const Activation<kBounded, compute_t<T>>& act) {
    using A = compute_t<T>;
    A total = 0;
    for (int64_t first = 0; first < n; first += kSumLength) {
        const int64_t last = std::min(n, first + kSumLength);
        A sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = first; i < last; ++i) {
            const A d = act.gradient(load(dy[i]), load(y[i]));
            store(&dx[i], d);
            sum += d;
        }
        total += sum;
    }
    return total;
}

// Writes dx, and in sums [num_tasks, sum_columns] each task's part of the gradient of the bias.
template <bool kBounded, class T>
void bias_act_grad_tasks(
    const T* dy, const T* y, T* dx, compute_t<T>* sums, Layout s, BiasAct p, int64_t begin, int64_t end) {
    using A = compute_t<T>;
    const Activation<kBounded, A> act(p);
    for (int64_t task = begin; task < end; ++task) {
        if (s.inner > 1) {
            const int64_t at = task * s.inner;
            sums[task] = gradient_and_sum<kBounded>(dy + at, y + at, dx + at, s.inner, act);
            continue;
        }
        A* __restrict sum = sums + task * s.channels;
        std::fill(sum, sum + s.channels, A(0));
        for (int64_t row = task * kRowsPerTask; row < std::min((task + 1) * kRowsPerTask, s.outer); ++row) {
            const T* __restrict dys = dy + row * s.channels;
            const T* __restrict ys = y + row * s.channels;
            T* __restrict dxs = dx + row * s.channels;
#pragma omp simd
            for (int64_t c = 0; c < s.channels; ++c) {
                const A d = act.gradient(load(dys[c]), load(ys[c]));
                store(&dxs[c], d);
                sum[c] += d;
            }
        }
    }
}

}  // namespace ganfoundry
