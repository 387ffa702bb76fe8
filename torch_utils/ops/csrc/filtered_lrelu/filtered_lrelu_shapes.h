// Shapes of the tensors of filtered_lrelu. For CPU and CUDA.

#pragma once

#include <ATen/ops/flip.h>

#include "common/shapes.h"
#include "filtered_lrelu/filtered_lrelu_sizes.h"

namespace ganfoundry {

// Size of the result along an axis; axis 0 is x. padding is (x0, x1, y0, y1).
template <class Int>
Int filtered_size(
    Int in, int64_t taps_up, int64_t taps_down, int64_t axis, int64_t up, int64_t down, at::ArrayRef<Int> padding) {
    return (in * up + padding[2 * axis] + padding[2 * axis + 1] - (taps_up - 1) - taps_down) / down + 1;
}

// Taps of a filter [fh, fw], or [fw] that is applied along both axes.
inline int64_t taps_of(const Tensor& f, int64_t axis) { return axis == 0 ? f.size(f.dim() - 1) : f.size(0); }

inline bool is_filter(const Tensor& f) { return (f.dim() == 1 || f.dim() == 2) && f.numel() > 0; }

inline Tensor reversed(const Tensor& f) { return f.dim() == 1 ? f.flip({0}) : f.flip({0, 1}); }

// Axes of x [N, C, H, W], with filters as in taps_of.
inline FilteredSizes filtered_geometry(
    const char* name, const Tensor& x, const Tensor& fu, const Tensor& fd, int64_t up, int64_t down,
    at::IntArrayRef padding) {
    TORCH_CHECK_VALUE(
        x.dim() == 4 && is_filter(fu) && is_filter(fd) && padding.size() == 4,
        name, ": x [N, C, H, W], filters [fw] or [fh, fw], padding (x0, x1, y0, y1)");
    TORCH_CHECK_VALUE(up >= 1 && down >= 1, name, ": factors of at least 1, got ", up, " and ", down);
    FilteredSizes g{x.size(0) * x.size(1), {}, {}, {}, {}};
    for (int64_t axis = 0; axis < 2; ++axis) {
        const int64_t in = x.size(3 - axis), taps_up = taps_of(fu, axis), taps_down = taps_of(fd, axis);
        const int64_t padded = in * up + padding[2 * axis] + padding[2 * axis + 1];
        TORCH_CHECK_VALUE(padded >= taps_up + taps_down - 1, name, ": nothing is left of ", x.sizes());
        const int64_t out = filtered_size<int64_t>(in, taps_up, taps_down, axis, up, down, padding);
        const int64_t raised = (out - 1) * down + taps_down;
        (axis == 0 ? g.up_x : g.up_y) = {in, raised, up, 1, padding[2 * axis], taps_up};
        (axis == 0 ? g.down_x : g.down_y) = {raised, out, 1, down, 0, taps_down};
    }
    return g;
}

inline StoredCodes stored_codes(const char* name, const Tensor& x, const Tensor& codes, at::IntArrayRef offset) {
    TORCH_CHECK_VALUE(
        codes.dim() == 4 && codes.scalar_type() == at::kByte && codes.is_contiguous() && offset.size() == 2 &&
            codes.size(0) == x.size(0) && codes.size(1) == x.size(1),
        name, ": codes [N, C, H, bytes] uint8 dense, offset (x, y)");
    return {codes.const_data_ptr<uint8_t>(), codes.size(2), codes.size(3), offset[0], offset[1]};
}

}  // namespace ganfoundry
