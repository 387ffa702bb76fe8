// A separable filter at constant resolution, over images [H, W, C], one row at a time: a weighted sum of rows, then of
// neighboring pixels of that sum. The rows may be anywhere, in an image or in a ring of the last few. Does not include
// PyTorch.

#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/weighted_sum.h"
#include "upfirdn2d/upfirdn2d.h"

namespace ganfoundry {

// out[o] = sum over k of taps[k] * in[o + k - pad], o < out, with zeros outside of [0, in).
template <class A>
struct FirAxis {
    std::vector<A> taps;
    int64_t pad, in, out;

    int64_t size() const { return int64_t(taps.size()); }

    // The transpose is a map of the same kind.
    FirAxis transposed() const { return {{taps.rbegin(), taps.rend()}, size() - 1 - pad, out, in}; }
};

// The `index`-th of `bands` equal parts of `rows` rows.
inline Band band(int64_t rows, int64_t index, int64_t bands) {
    return {rows * index / bands, rows * (index + 1) / bands};
}

// Rows of a band that is filtered. Neighboring bands both compute the few rows that both need.
constexpr int64_t kRowsPerFilteredBand = 32;

// Pixels that pass all steps together. 256 values measured best: with 1024 the backward pass of the epilogue, which has
// six buffers of that size, took 1.5 times as long.
inline int64_t pixels_per_chunk(int64_t channels) { return std::max<int64_t>(1, 256 / channels); }

// Makes, in order, the input rows that are in `in` or that results in `out` need, and filters each result as soon as
// its rows are complete: a ring of the last size() rows suffices.
template <class A, class Make, class Filter>
void slide(const FirAxis<A>& axis, Band in, Band out, Make make, Filter filter) {
    const int64_t reach = axis.size() - 1 - axis.pad;  // from a row of the result to the last one that it needs
    const int64_t last = std::min(axis.in, std::max(in.end, out.end + reach));
    int64_t o = out.begin;
    for (int64_t r = std::max<int64_t>(0, std::min(in.begin, out.begin - axis.pad)); r < last; ++r) {
        make(r);
        for (; o < out.end && o + reach <= r; ++o) filter(o);
    }
    for (; o < out.end; ++o) filter(o);
}

// One row of the result at a time. Each thread has its own, because it holds the row between the two sums.
template <class A>
class FirRow {
   public:
    FirRow(FirAxis<A> y, FirAxis<A> x, int64_t channels)
        : y_(std::move(y)),
          x_(std::move(x)),
          channels_(channels),
          left_(std::max<int64_t>(x_.pad, 0)),
          row_((left_ + std::max(x_.in, x_.out - x_.pad + x_.size() - 1)) * channels),
          source_(y_.size()),
          weight_(y_.size()) {
        for (int64_t k = 0; k < x_.size(); ++k) offset_.push_back(k * channels);
    }

    // Sums the rows that result row `o` needs; row_at(r) is the address of row r [in, C].
    template <class RowAt>
    void blend(int64_t o, RowAt row_at) {
        const int64_t begin = std::max<int64_t>(0, y_.pad - o), end = std::min(y_.size(), y_.in + y_.pad - o);
        A* target = row_.data() + left_ * channels_;
        const int64_t n = x_.in * channels_;
        if (begin >= end) {
            std::fill(target, target + n, A(0));
            return;
        }
        const auto* first = row_at(o + begin - y_.pad);
        for (int64_t k = begin; k < end; ++k) {
            source_[k - begin] = row_at(o + k - y_.pad) - first;
            weight_[k - begin] = y_.taps[k];
        }
        weighted_sum(target, n, first, source_.data(), weight_.data(), end - begin);
    }

    // Filters `count` pixels [count, C] of that row of the result, from `pixel` on.
    template <class T>
    void filter(int64_t pixel, int64_t count, T* out) {
        const A* row = row_.data() + (left_ + pixel - x_.pad) * channels_;
        weighted_sum(out, count * channels_, row, offset_.data(), x_.taps.data(), x_.size());
    }

   private:
    FirAxis<A> y_, x_;
    int64_t channels_, left_;
    Buffer<A> row_;  // pixels [-left, in + right), zero outside of [0, in)
    std::vector<int64_t> source_, offset_;
    std::vector<A> weight_;
};

}  // namespace ganfoundry
