// Up-sampling, padding, filtering and down-sampling of images, one row of the result at a time. Does not include
// PyTorch.
//
//     out[oy, ox] = sum over ky, kx of f[ky, kx] * up(x)[oy * down + ky - pad, ox * down + kx - pad]
//
// up(x) has up - 1 zeros after every pixel and zeros around the image. Along each axis, every up-th tap from a first
// one on meets a pixel, the others an inserted zero, and these pixels are neighbors. A row is therefore two weighted
// sums: of neighboring rows of the image, then of neighboring pixels of that sum. Both run over memory in order. A
// filter that is not an outer product skips the first sum and takes all its rows in the second; if it equals itself
// upside down and `up` is 1, two rows that have the same taps are added first.
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
template <class A>
struct Plan {
    Upfirdn2d g;
    bool separable;
    bool mirrored;           // not separable, up = 1 along y: row k of the workspace is the sum of rows k and fh - 1 - k
    bool split;              // P = 1 and down > 1: a row is stored as `down` rows of every down-th pixel
    int64_t left, width;     // zero pixels before a row of the workspace, and its width with those after it
    int64_t num_rows;        // rows of the workspace that the second sum takes
    std::vector<Place> place_y, place_x;  // by row and by pixel of the result
    std::vector<Taps<A>> y;  // by first tap along y; offsets in pixels' rows
    std::vector<Taps<A>> x;  // by first tap along x, and along y unless separable; offsets in the workspace

    Plan(const Upfirdn2d& geometry, const double* f, double tolerance) : g(geometry) {
        std::vector<double> fy, fx;
        separable = separate(f, g.y.taps, g.x.taps, tolerance, fy, fx);
        split = g.pixel == 1 && g.x.up == 1 && g.x.down > 1;
        mirrored = !separable && g.y.up == 1 && is_mirrored(f, g.y.taps, g.x.taps);
        num_rows = separable ? 1 : (mirrored ? (g.y.taps + 1) / 2 : g.y.num_taps(0));
        place_y = places(g.y);
        place_x = places(g.x);
        measure_width();
        for (int64_t first = 0; first < g.y.up; ++first) y.push_back(taps_y(first, fy));
        for (int64_t first_y = 0; first_y < (separable ? 1 : g.y.up); ++first_y) {
            for (int64_t first_x = 0; first_x < g.x.up; ++first_x) {
                x.push_back(separable ? taps_x(fx.data(), 1, 0, first_x)
                                      : taps_x(f, mirrored ? num_rows : g.y.taps, first_y, first_x));
            }
        }
    }

    int64_t row_size() const { return width * g.pixel; }

    const Taps<A>& horizontal(int64_t first_y, int64_t first_x) const {
        return x[separable ? first_x : first_y * g.x.up + first_x];
    }

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
        width = left + end;
        if (split) width = (width + g.x.down - 1) / g.x.down * g.x.down;
    }

    Taps<A> taps_y(int64_t first, const std::vector<double>& fy) const {
        Taps<A> taps;
        for (int64_t t = 0; t < g.y.num_taps(first); ++t) {
            taps.add(t * g.x.in * g.pixel, A(separable ? fy[first + t * g.y.up] : 1));
        }
        return taps;
    }

    Taps<A> taps_x(const double* f, int64_t fh, int64_t first_y, int64_t first_x) const {
        Taps<A> taps;
        for (int64_t ky = first_y, row = 0; ky < fh; ky += g.y.up, ++row) {
            for (int64_t t = 0; t < g.x.num_taps(first_x); ++t) {
                const int64_t at = split ? t % g.x.down * (width / g.x.down) + t / g.x.down : t * g.pixel;
                taps.add(row * row_size() + at, A(f[ky * g.x.taps + first_x + t * g.x.up]));
            }
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
          rows_(plan.num_rows * plan.row_size()),
          whole_(plan.split ? plan.width : 0),
          phases_(g_.x.out + g_.x.up) {}

    // Writes row `oy` [out, P] of the result of the plane x [H, W, P].
    template <class To>
    void make(const T* x, To* out, int64_t oy) {
        const auto [first, top] = plan_.place_y[oy];
        if (plan_.separable) {
            blend(x, top, plan_.y[first], 0, plan_.y[first].size(), rows_.data());
        } else if (plan_.mirrored) {
            for (int64_t k = 0; k < plan_.num_rows; ++k) add_rows(x, top, k, g_.y.taps - 1 - k);
        } else {
            for (int64_t k = 0; k < plan_.y[first].size(); ++k) {
                blend(x, top, plan_.y[first], k, k + 1, rows_.data() + k * plan_.row_size());
            }
        }
        filter_row(out, first);
    }

   private:
    // Writes the weighted sum of the image's rows under the taps [begin, end) to a row of the workspace.
    void blend(const T* x, int64_t top, const Taps<A>& taps, int64_t begin, int64_t end, A* row) {
        A* target = (plan_.split ? whole_.data() : row) + plan_.left * g_.pixel;
        const int64_t n = g_.x.in * g_.pixel;
        begin = std::max(begin, -top);
        end = std::max(begin, std::min(end, g_.y.in - top));
        const T* source = x + (top + begin) * n;
        weighted_sum(target, n, source, taps.offset.data(), taps.weight.data() + begin, end - begin);
        if (plan_.split) split(row);
    }

    // Writes the sum of the image's rows top + a and top + b, of which some may be outside, to row `a` of the workspace.
    void add_rows(const T* x, int64_t top, int64_t a, int64_t b) {
        A* row = rows_.data() + a * plan_.row_size();
        A* target = (plan_.split ? whole_.data() : row) + plan_.left * g_.pixel;
        const int64_t n = g_.x.in * g_.pixel;
        const bool has_a = inside(top + a), has_b = inside(top + b) && b > a;
        const int64_t first = has_a ? top + a : (has_b ? top + b : 0);
        const int64_t offset[2] = {0, (b - a) * n};
        const A weight[2] = {1, 1};
        weighted_sum(target, n, x + first * n, offset, weight, has_a + has_b);
        if (plan_.split) split(row);
    }

    bool inside(int64_t row) const { return row >= 0 && row < g_.y.in; }

    // Pixels 0, down, 2 down, …, then 1, down + 1, …: neighbors in the result read neighbors in memory.
    void split(A* row) {
        const int64_t down = g_.x.down, length = plan_.width / down;
        const A* whole = whole_.data();
        if (down == 2) {
#pragma omp simd
            for (int64_t j = 0; j < length; ++j) {
                row[j] = whole[2 * j];
                row[length + j] = whole[2 * j + 1];
            }
            return;
        }
        for (int64_t j = 0; j < length; ++j) {
            for (int64_t d = 0; d < down; ++d) row[d * length + j] = whole[j * down + d];
        }
    }

    template <class To>
    void filter_row(To* out, int64_t first_y) {
        if (g_.x.up == 1 && (g_.x.down == 1 || plan_.split)) {
            sum_pixels(out, g_.x.out * g_.pixel, 0, first_y);
        } else if (g_.pixel == 1 && g_.x.down == 1) {
            interleave(out, first_y);
        } else {
            for (int64_t ox = 0; ox < g_.x.out; ++ox) sum_pixels(out + ox * g_.pixel, g_.pixel, ox, first_y);
        }
    }

    // n values of the result from pixel `ox` on, all at the same position relative to their taps.
    template <class To>
    void sum_pixels(To* out, int64_t n, int64_t ox, int64_t first_y) {
        const auto [first_x, pixel] = plan_.place_x[ox];
        const Taps<A>& taps = plan_.horizontal(first_y, first_x);
        const int64_t at = plan_.left + pixel;
        const A* row = rows_.data() + (plan_.split ? at / g_.x.down : at * g_.pixel);
        weighted_sum(out, n, row, taps.offset.data(), taps.weight.data(), taps.size());
    }

    // P = 1: pixels p, p + up, p + 2 up, … of the result are one sum; the sums are then interleaved.
    template <class To>
    void interleave(To* __restrict out, int64_t first_y) {
        const int64_t up = g_.x.up, length = (g_.x.out + up - 1) / up;
        for (int64_t p = 0; p < std::min(up, g_.x.out); ++p) {
            sum_pixels(phases_.data() + p * length, (g_.x.out - p + up - 1) / up, p, first_y);
        }
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
