// Up-sampling, padding, filtering and down-sampling of images, one row of the result at a time. Does not include
// PyTorch.
//
//     out[oy, ox] = sum over ky, kx of f[ky, kx] * up(x)[oy * down + ky - pad, ox * down + kx - pad]
//
// up(x) has up - 1 zeros after every pixel and zeros around the image. Along each axis, every up-th tap from a first
// one on meets a pixel, the others an inserted zero, and these pixels are neighbors. A row is therefore two weighted
// sums: of neighboring rows of the image, one for each different column of the filter, then of neighboring pixels of
// these. Both run over memory in order. All columns of an outer product share one sum of rows; equal columns, as of a
// round filter, share theirs. If the filter equals itself upside down and `up` is 1, two rows that have the same taps
// are added first.
//
// Planes [H, W, P] are dense: NCHW has N C planes with P = 1 value per pixel, NHWC has N with P = C.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "common/axis.h"
#include "common/numeric.h"
#include "common/weighted_sum.h"

namespace ganfoundry {

// The rows of a band, [begin, end).
struct Band {
    int64_t begin, end;

    bool has(int64_t row) const { return begin <= row && row < end; }
};

// Place of an output along an axis: its first tap that meets a pixel, and that pixel.
struct Place {
    int64_t tap, pixel;
};

inline std::vector<Place> places(const Axis& axis) {
    std::vector<Place> result;
    for (int64_t o = 0; o < axis.out; ++o) result.push_back({axis.first_tap(o), axis.first_pixel(o)});
    return result;
}

// Whether f [fh, fw] is the outer product fy fx, to `tolerance` of its largest tap.
inline bool separate(
    const double* f, int64_t fh, int64_t fw, double tolerance, std::vector<double>& fy, std::vector<double>& fx) {
    const auto smaller = [](double a, double b) { return std::abs(a) < std::abs(b); };
    const double* largest = std::max_element(f, f + fh * fw, smaller);
    const double pivot = *largest == 0 ? 1 : *largest;
    const int64_t row = (largest - f) / fw, column = (largest - f) % fw;
    for (int64_t i = 0; i < fh; ++i) fy.push_back(f[i * fw + column]);
    for (int64_t j = 0; j < fw; ++j) fx.push_back(f[row * fw + j] / pivot);
    for (int64_t i = 0; i < fh * fw; ++i) {
        if (!(std::abs(f[i] - fy[i / fw] * fx[i % fw]) <= tolerance * std::abs(pivot))) return false;
    }
    return true;
}

// Whether f [fh, fw] equals itself upside down.
inline bool is_mirrored(const double* f, int64_t fh, int64_t fw) {
    for (int64_t i = 0; i < fh / 2; ++i) {
        if (!std::equal(f + i * fw, f + (i + 1) * fw, f + (fh - 1 - i) * fw)) return false;
    }
    return true;
}

// For each column of f [fh, fw], the number of its values among the different columns, whose positions are returned.
inline std::vector<int64_t> different_columns(const double* f, int64_t fh, int64_t fw, std::vector<int64_t>& number) {
    const auto are_equal = [&](int64_t a, int64_t b) {
        for (int64_t i = 0; i < fh; ++i) {
            if (f[i * fw + a] != f[i * fw + b]) return false;
        }
        return true;
    };
    std::vector<int64_t> columns;
    for (int64_t j = 0; j < fw; ++j) {
        int64_t k = 0;
        while (k < int64_t(columns.size()) && !are_equal(columns[k], j)) ++k;
        if (k == int64_t(columns.size())) columns.push_back(j);
        number.push_back(k);
    }
    return columns;
}

// Writes pixels 0, down, 2 down, …, then 1, down + 1, …: neighbors in the result read neighbors in memory.
template <int kDown, class A>
void split_fixed(const A* __restrict whole, A* __restrict row, int64_t length) {
#pragma omp simd
    for (int64_t j = 0; j < length; ++j) {
#pragma GCC unroll 4
        for (int d = 0; d < kDown; ++d) row[d * length + j] = whole[j * kDown + d];
    }
}

template <class A>
void split_row(const A* whole, A* row, int64_t length, int64_t down) {
    if (down == 2) return split_fixed<2>(whole, row, length);
    if (down == 4) return split_fixed<4>(whole, row, length);
    for (int64_t j = 0; j < length; ++j) {
        for (int64_t d = 0; d < down; ++d) row[d * length + j] = whole[j * down + d];
    }
}

// Array of values, initially zero, that begins at a cache line.
template <class A>
class Buffer {
   public:
    explicit Buffer(int64_t size) : storage_(size_t(size) + kLine / sizeof(A)) {}

    A* data() {
        const auto address = reinterpret_cast<uintptr_t>(storage_.data());
        return reinterpret_cast<A*>((address + kLine - 1) / kLine * kLine);
    }

   private:
    static constexpr uintptr_t kLine = 64;
    std::vector<A> storage_;
};

// Everything that depends on sizes and filter only, computed once per call: divisions cost more than the sums.
//
// The workspace has a row of sums for each different column. The image may be in a workspace, too (`in_workspace`): its
// rows then have the same width, `left` zeros before the pixels and zeros after them, and are split if `is_split`.
template <class A>
struct Plan {
    Upfirdn2d g;
    bool in_workspace;
    bool separable;
    bool mirrored;           // not separable, up = 1 along y: rows k and fh - 1 - k of the filter are equal
    bool split;              // P = 1 and down > 1: a row is stored as `down` rows of every down-th pixel
    bool is_split;           // the image is split: cheaper than splitting every row of sums
    int64_t left, width;     // zero pixels before a row of the workspace, and its width with those after it
    int64_t num_rows;        // rows of the workspace: different columns
    std::vector<Place> place_y, place_x;  // by row and by pixel of the result
    std::vector<Taps<A>> y;  // by first tap along y, if separable; offsets in the image
    std::vector<std::vector<A>> columns;  // by first tap along y, unless separable: weights [rows, num_rows]
    std::vector<Taps<A>> x;  // by first tap along x; offsets in the workspace

    Plan(const Upfirdn2d& geometry, const double* f, double tolerance, bool image_in_workspace = false)
        : g(geometry), in_workspace(image_in_workspace) {
        std::vector<double> fy, fx;
        std::vector<int64_t> number;
        separable = separate(f, g.y.taps, g.x.taps, tolerance, fy, fx);
        mirrored = !separable && g.y.up == 1 && is_mirrored(f, g.y.taps, g.x.taps);
        const std::vector<int64_t> different = different_columns(f, g.y.taps, g.x.taps, number);
        num_rows = separable ? 1 : int64_t(different.size());
        if (separable) {
            number.assign(g.x.taps, 0);
        } else {
            fx.assign(g.x.taps, 1);
        }
        split = g.pixel == 1 && g.x.up == 1 && g.x.down > 1;
        is_split = split && in_workspace && num_rows > g.x.down;
        place_y = places(g.y);
        place_x = places(g.x);
        measure_width();
        for (int64_t first = 0; first < g.y.up; ++first) {
            if (separable) {
                y.push_back(taps_y(first, fy));
            } else {
                columns.push_back(weights(first, f, different));
            }
        }
        for (int64_t first = 0; first < g.x.up; ++first) x.push_back(taps_x(first, number, fx));
    }

    int64_t row_size() const { return width * g.pixel; }

    // Values of a row of the image, all of which the sums of rows take.
    int64_t pitch() const { return (in_workspace ? width : g.x.in) * g.pixel; }

   private:
    void measure_width() {
        int64_t begin = 0, end = g.x.in;
        for (const auto& [tap, pixel] : place_x) {
            begin = std::min(begin, pixel);
            end = std::max(end, pixel + g.x.num_taps(tap));
        }
        left = -begin;
        // The pixel at the first tap of output 0 begins a group of `down`.
        if (split) left += ((g.x.pad - left) % g.x.down + g.x.down) % g.x.down;
        const int64_t unit = (split ? g.x.down : 1) * (g.pixel == 1 ? Vector<A>::lanes : 1);
        width = (left + end + unit - 1) / unit * unit;
    }

    Taps<A> taps_y(int64_t first, const std::vector<double>& fy) const {
        Taps<A> taps;
        for (int64_t t = 0; t < g.y.num_taps(first); ++t) taps.add(t * pitch(), A(fy[first + t * g.y.up]));
        return taps;
    }

    std::vector<A> weights(int64_t first, const double* f, const std::vector<int64_t>& different) const {
        std::vector<A> result;
        const int64_t rows = mirrored ? (g.y.taps + 1) / 2 : g.y.num_taps(first);
        for (int64_t t = 0; t < rows; ++t) {
            for (const int64_t j : different) result.push_back(A(f[(first + t * g.y.up) * g.x.taps + j]));
        }
        return result;
    }

    // Column k of the filter is weight[k] times that of row[k] of the workspace.
    Taps<A> taps_x(int64_t first, const std::vector<int64_t>& row, const std::vector<double>& weight) const {
        Taps<A> taps;
        for (int64_t t = 0; t < g.x.num_taps(first); ++t) {
            const int64_t k = first + t * g.x.up;
            const int64_t at = split ? t % g.x.down * (width / g.x.down) + t / g.x.down : t * g.pixel;
            taps.add(row[k] * row_size() + at, A(weight[k]));
        }
        return taps;
    }
};

// Computes rows of the result. Each thread has its own, because it holds the workspace.
template <class T>
class RowMaker {
    using A = compute_t<T>;

   public:
    explicit RowMaker(const Plan<A>& plan)
        : plan_(plan),
          g_(plan.g),
          rows_(plan.num_rows * plan.row_size() + kSlack),
          whole_(plan.split && !plan.is_split ? plan.num_rows * plan.width : 0),
          phases_(g_.x.up > 1 ? g_.x.up * phase() : 0),
          zeros_(plan.mirrored ? plan.pitch() : 0),
          above_(g_.y.taps),
          below_(g_.y.taps) {}

    // Writes row `oy` [out, P] of the result of the plane x [H, W, P].
    template <class To>
    void make(const T* x, To* out, int64_t oy) {
        make(x, out, oy, {0, g_.y.in});
    }

    // The same, with zeros in place of all rows of x but `present`.
    template <class To>
    void make(const T* x, To* out, int64_t oy, Band present) {
        const auto [first, top] = plan_.place_y[oy];
        const bool splits = plan_.split && !plan_.is_split;
        A* sums = (splits ? whole_.data() : rows_.data()) + (plan_.in_workspace ? 0 : plan_.left * g_.pixel);
        if (plan_.separable) {
            sum_rows(x, top, present, plan_.y[first], sums);
        } else {
            sum_rows_by_column(x, top, present, first, sums);
        }
        for (int64_t k = 0; splits && k < plan_.num_rows; ++k) {
            const int64_t at = k * plan_.width;
            split_row(whole_.data() + at, rows_.data() + at, plan_.width / g_.x.down, g_.x.down);
        }
        filter_row(out);
    }

   private:
    // The last block of vectors of a row of sums may read beyond the workspace.
    static constexpr int64_t kSlack = 4 * Vector<A>::lanes;

    int64_t phase() const { return whole_vectors<A>((g_.x.out + g_.x.up - 1) / g_.x.up); }

    // Writes the weighted sum of the image's rows under the taps.
    void sum_rows(const T* x, int64_t top, Band present, const Taps<A>& taps, A* target) {
        const int64_t begin = std::max<int64_t>(0, present.begin - top), n = plan_.pitch();
        const int64_t num = std::max<int64_t>(0, std::min(taps.size(), present.end - top) - begin);
        weighted_sum(target, n, x + (top + begin) * n, taps.offset.data(), taps.weight.data() + begin, num);
    }

    // Writes a weighted sum for each different column.
    void sum_rows_by_column(const T* x, int64_t top, Band present, int64_t first, A* target) {
        const std::vector<A>& weights = plan_.columns[first];
        const int64_t num = int64_t(weights.size()) / plan_.num_rows, n = plan_.pitch();
        int64_t begin = 0, end = num;  // of the weights' rows
        if (plan_.mirrored) {
            for (int64_t k = 0; k < num; ++k) {
                const int64_t a = top + k, b = top + g_.y.taps - 1 - k;
                above_[k] = present.has(a) ? x + a * n : zeros_.data();
                below_[k] = present.has(b) && b > a ? x + b * n : zeros_.data();
            }
        } else {
            begin = std::clamp<int64_t>(present.begin - top, 0, num);
            end = std::clamp(present.end - top, begin, num);
            for (int64_t k = begin; k < end; ++k) above_[k] = x + (top + k) * n;
        }
        const T* const* below = plan_.mirrored ? below_.data() : nullptr;
        const RowSums<T, A> sums{
            above_.data() + begin, below, weights.data() + begin * plan_.num_rows, end - begin, plan_.num_rows};
        sums.run(target, plan_.row_size(), plan_.num_rows, n);
    }

    template <class To>
    void filter_row(To* out) {
        if (g_.x.up == 1 && (g_.x.down == 1 || plan_.split)) {
            sum_pixels(out, g_.x.out * g_.pixel, 0);
        } else if (g_.pixel == 1 && g_.x.down == 1) {
            interleave(out);
        } else {
            for (int64_t ox = 0; ox < g_.x.out; ++ox) sum_pixels(out + ox * g_.pixel, g_.pixel, ox);
        }
    }

    // n values of the result from pixel `ox` on, all at the same position relative to their taps.
    template <class To>
    void sum_pixels(To* out, int64_t n, int64_t ox) {
        const auto [first, pixel] = plan_.place_x[ox];
        const Taps<A>& taps = plan_.x[first];
        const int64_t at = plan_.left + pixel;
        const A* row = rows_.data() + (plan_.split ? at / g_.x.down : at * g_.pixel);
        weighted_sum(out, n, row, taps.offset.data(), taps.weight.data(), taps.size());
    }

    // P = 1: pixels p, p + up, p + 2 up, … of the result are one sum; the sums are then interleaved.
    template <class To>
    void interleave(To* __restrict out) {
        const int64_t up = g_.x.up, length = phase();
        for (int64_t p = 0; p < std::min(up, g_.x.out); ++p) sum_pixels(phases_.data() + p * length, length, p);
        int64_t done = 0;
        if (up == 2) done = interleave_fixed<2>(out, length);
        if (up == 4) done = interleave_fixed<4>(out, length);
        for (int64_t ox = done; ox < g_.x.out; ++ox) store(&out[ox], phases_.data()[ox % up * length + ox / up]);
    }

    // Writes the pixels of whole groups of kUp, and returns their number.
    template <int kUp, class To>
    int64_t interleave_fixed(To* __restrict out, int64_t length) {
        const int64_t groups = g_.x.out / kUp;
        const A* phases = phases_.data();
#pragma omp simd
        for (int64_t j = 0; j < groups; ++j) {
#pragma GCC unroll 4
            for (int p = 0; p < kUp; ++p) store(&out[kUp * j + p], phases[p * length + j]);
        }
        return groups * kUp;
    }

    const Plan<A>& plan_;
    const Upfirdn2d& g_;
    Buffer<A> rows_, whole_, phases_;
    Buffer<T> zeros_;
    std::vector<const T*> above_, below_;
};

// Rows [begin, end) of all planes' rows.
template <class T>
void upfirdn2d_rows(const T* x, T* out, const Plan<compute_t<T>>& plan, int64_t begin, int64_t end) {
    const Upfirdn2d& g = plan.g;
    RowMaker<T> maker(plan);
    for (int64_t row = begin; row < end; ++row) {
        const T* plane = x + row / g.y.out * (g.y.in * g.x.in * g.pixel);
        maker.make(plane, out + row * g.x.out * g.pixel, row % g.y.out);
    }
}

}  // namespace ganfoundry
