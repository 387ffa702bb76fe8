// Involution, its transpose and its correlation, one band of rows of a group of channels at a time. Does not include
// PyTorch.
//
//     I(x, w)[c, q] = sum over k of w[k, q] * x[c, q + k]
//     A(y, w)[c, q] = sum over k of w[k, q - k] * y[c, q - k]
//     K(y, x)[k, q] = sum over c of y[c, q] * x[c, q + k]
//
// Letters: pixels q, taps k, channels c of a group; zeros outside the image. The planes of a band are copied into a
// workspace with `pitch` values per row, of which side - 1 are zeros, so that a tap has the same distance for every
// pixel of the band. Each map is then sums of products of planes at fixed distances, over memory in order, even for
// narrow images. The values of the sums between the rows are dropped.
//
// Tensors of any strides are read and written directly; NCHW is fast because its rows are copied as a whole.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "common/numeric.h"
#include "common/vector.h"
#include "involution/involution_sizes.h"

namespace ganfoundry {

// A tensor [samples, groups, planes, height, width]; planes are the members of a group, or the taps.
template <class T>
struct Planes {
    T* data;
    int64_t sample, group, plane, row, column;  // strides
};

// out[u][q] = sum over s of left[left_at[s] + q] * right[right_at[s] + step[u] + q], for `vectors` vectors of q.
template <class A>
struct Products {
    const A *left, *right;
    std::vector<int64_t> left_at, right_at, step;

    // Sums [u, u + kSums) of the kVectors vectors from q on: enough to hide the latency of an addition.
    template <int kSums, int kVectors>
    void sum(A* out, int64_t out_plane, int64_t u, int64_t q) const {
        using V = Vector<A>;
        typename V::type sums[kSums][kVectors] = {};
        const A *l = left + q, *r[kSums];
        for (int i = 0; i < kSums; ++i) r[i] = right + step[u + i] + q;
        for (size_t s = 0; s < left_at.size(); ++s) {
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) {
                const auto factor = V::load(l + left_at[s] + v * V::lanes);
#pragma GCC unroll 4
                for (int i = 0; i < kSums; ++i) sums[i][v] += factor * V::load(r[i] + right_at[s] + v * V::lanes);
            }
        }
        for (int i = 0; i < kSums; ++i) std::memcpy(out + (u + i) * out_plane + q, sums[i], sizeof(sums[i]));
    }

    // All sums of the kVectors vectors from q on, in blocks of nearly equal size.
    template <int kVectors>
    void sum_all(A* out, int64_t out_plane, int64_t q) const {
        const int64_t num = step.size(), blocks = (num + 3) / 4;
        for (int64_t block = 0; block < blocks; ++block) {
            const int64_t u = block * num / blocks;
            switch ((block + 1) * num / blocks - u) {
                case 1: sum<1, kVectors>(out, out_plane, u, q); break;
                case 2: sum<2, kVectors>(out, out_plane, u, q); break;
                case 3: sum<3, kVectors>(out, out_plane, u, q); break;
                default: sum<4, kVectors>(out, out_plane, u, q);
            }
        }
    }

    void run(A* out, int64_t out_plane, int64_t vectors) const {
        int64_t v = 0;
        for (; v + 2 <= vectors; v += 2) sum_all<2>(out, out_plane, v * Vector<A>::lanes);
        if (v < vectors) sum_all<1>(out, out_plane, v * Vector<A>::lanes);
    }
};

// Division of a group's rows into bands whose workspace fits into the L2 cache. A task is one band of one group.
struct Bands {
    int64_t pitch, per_group, rows;

    explicit Bands(const Involution& g) : pitch(g.width + 2 * g.radius()) {
        constexpr int64_t kWorkspace = 32768;  // values
        const int64_t planes = g.members + g.taps();
        const int64_t fitting = kWorkspace / (planes * pitch) - 2 * g.radius();
        // At least as many as the rows above and below that every band also copies.
        rows = std::min(g.height, std::max({fitting, 2 * g.radius(), int64_t(1)}));
        per_group = (g.height + rows - 1) / rows;
        rows = (g.height + per_group - 1) / per_group;
    }
};

inline int64_t num_tasks(const Involution& g) { return g.samples * g.groups * Bands(g).per_group; }

inline int64_t task_length(const Involution& g) { return Bands(g).rows * g.width * g.members * g.side; }

// Computes bands of the result. Each thread has its own, because it holds the workspace.
template <class T>
class BandMaker {
    using A = compute_t<T>;

   public:
    explicit BandMaker(const Involution& geometry)
        : g_(geometry),
          bands_(geometry),
          plane_((bands_.rows + 2 * g_.radius()) * bands_.pitch),
          left_(std::max(g_.taps(), g_.members) * plane_ + kSlack),
          right_(g_.members * plane_ + kSlack),
          out_plane_((bands_.rows * bands_.pitch + Vector<A>::lanes - 1) / Vector<A>::lanes * Vector<A>::lanes),
          out_(std::max(g_.taps(), g_.members) * out_plane_),
          products_{left_.data(), right_.data(), {}, {}, {}} {}

    // y = I(x, w)
    void involve(Planes<const T> x, Planes<const T> w, Planes<T> y, int64_t task) {
        begin(task);
        copy_in(w, g_.taps(), 0, left_.data());
        copy_in(x, g_.members, g_.radius(), right_.data());
        for (int64_t k = 0; k < g_.taps(); ++k) term(k * plane_, distance(k));
        for (int64_t c = 0; c < g_.members; ++c) products_.step.push_back(c * plane_);
        finish(y);
    }

    // x = A(y, w): the value that meets pixel q by tap k is at the position of the opposite tap from q.
    void transpose(Planes<const T> y, Planes<const T> w, Planes<T> x, int64_t task) {
        begin(task);
        copy_in(w, g_.taps(), g_.radius(), left_.data());
        copy_in(y, g_.members, g_.radius(), right_.data());
        for (int64_t k = 0; k < g_.taps(); ++k) {
            const int64_t opposite = distance(g_.taps() - 1 - k);
            term(k * plane_ + opposite, opposite);
        }
        for (int64_t c = 0; c < g_.members; ++c) products_.step.push_back(c * plane_);
        finish(x);
    }

    // w = K(y, x)
    void correlate(Planes<const T> y, Planes<const T> x, Planes<T> w, int64_t task) {
        begin(task);
        copy_in(y, g_.members, 0, left_.data());
        copy_in(x, g_.members, g_.radius(), right_.data());
        for (int64_t c = 0; c < g_.members; ++c) term(c * plane_, c * plane_);
        for (int64_t k = 0; k < g_.taps(); ++k) products_.step.push_back(distance(k));
        finish(w);
    }

   private:
    // After the last plane: taps of the last vector, which extends beyond the last pixel.
    static constexpr int64_t kSlack = 2 * Vector<A>::lanes;

    void begin(int64_t task) {
        const int64_t group = task / bands_.per_group;
        sample_ = group / g_.groups;
        group_ = group % g_.groups;
        top_ = task % bands_.per_group * bands_.rows;
        rows_ = std::max<int64_t>(0, std::min(bands_.rows, g_.height - top_));
        products_.left_at.clear();
        products_.right_at.clear();
        products_.step.clear();
    }

    // Distance from a pixel, minus the radius in both directions, to the pixel that tap k meets.
    int64_t distance(int64_t k) const { return k / g_.side * bands_.pitch + k % g_.side; }

    void term(int64_t left, int64_t right) {
        products_.left_at.push_back(left);
        products_.right_at.push_back(right);
    }

    template <class S>
    S* start(const Planes<S>& planes) const {
        return planes.data + sample_ * planes.sample + group_ * planes.group;
    }

    // The band with `halo` more rows and columns on every side; zero outside the image.
    // Columns outside the image are zero from the start and never written.
    void copy_in(const Planes<const T>& from, int64_t num_planes, int64_t halo, A* to) const {
        for (int64_t p = 0; p < num_planes; ++p) {
            for (int64_t row = -halo; row < rows_ + halo; ++row) {
                A* __restrict target = to + p * plane_ + (row + halo) * bands_.pitch + halo;
                if (top_ + row < 0 || top_ + row >= g_.height) {
                    std::fill(target, target + g_.width, A(0));
                    continue;
                }
                const T* __restrict source = start(from) + p * from.plane + (top_ + row) * from.row;
                if (from.column == 1) {
#pragma omp simd
                    for (int64_t i = 0; i < g_.width; ++i) target[i] = load(source[i]);
                } else {
                    for (int64_t i = 0; i < g_.width; ++i) target[i] = load(source[i * from.column]);
                }
            }
        }
    }

    void finish(const Planes<T>& to) {
        const int64_t numbers = rows_ * bands_.pitch - 2 * g_.radius(), lanes = Vector<A>::lanes;
        products_.run(out_.data(), out_plane_, (numbers + lanes - 1) / lanes);
        for (int64_t p = 0; p < int64_t(products_.step.size()); ++p) {
            for (int64_t row = 0; row < rows_; ++row) {
                const A* __restrict source = out_.data() + p * out_plane_ + row * bands_.pitch;
                T* __restrict target = start(to) + p * to.plane + (top_ + row) * to.row;
                if (to.column == 1) {
#pragma omp simd
                    for (int64_t i = 0; i < g_.width; ++i) store(&target[i], source[i]);
                } else {
                    for (int64_t i = 0; i < g_.width; ++i) store(&target[i * to.column], source[i]);
                }
            }
        }
    }

    const Involution g_;
    const Bands bands_;
    const int64_t plane_;
    std::vector<A> left_, right_;
    const int64_t out_plane_;
    std::vector<A> out_;
    Products<A> products_;
    int64_t sample_ = 0, group_ = 0, top_ = 0, rows_ = 0;
};

}  // namespace ganfoundry
