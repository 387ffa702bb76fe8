// Properties of tensors that the kernels need: memory format, type of the sums, axes. For CPU and CUDA.

#pragma once

#include <ATen/core/Tensor.h>

#include <numeric>
#include <vector>

#include "common/activation.h"
#include "common/axis.h"

namespace ganfoundry {

using at::Tensor;

inline at::ScalarType compute_type(at::ScalarType type) { return type == at::kDouble ? at::kDouble : at::kFloat; }

inline at::MemoryFormat format_of(const Tensor& x) {
    return x.dim() == 4 ? x.suggest_memory_format() : at::MemoryFormat::Contiguous;
}

// Layout of a dense x: sizes of the axes before and after `dim` in the order of memory.
inline Layout layout_of(const Tensor& x, int64_t dim) {
    std::vector<int64_t> axes(x.dim());
    std::iota(axes.begin(), axes.end(), 0);
    if (format_of(x) == at::MemoryFormat::ChannelsLast) axes = {0, 2, 3, 1};
    Layout layout{1, x.size(dim), 1};
    bool before = true;
    for (const int64_t axis : axes) {
        if (axis == dim) {
            before = false;
        } else {
            (before ? layout.outer : layout.inner) *= x.size(axis);
        }
    }
    return layout;
}

inline BiasAct parameters(double slope, double gain, const std::optional<double>& clamp) {
    return {slope, gain, clamp.value_or(0), clamp.has_value()};
}

// Size of upfirdn2d's result along an axis. Pairs are (x, y), paddings (x0, x1, y0, y1): axis 0 is x.
template <class Int>
Int output_size(
    Int in, int64_t taps, int64_t axis, at::IntArrayRef up, at::IntArrayRef down, at::ArrayRef<Int> padding) {
    return (in * up[axis] + padding[2 * axis] + padding[2 * axis + 1] - taps) / down[axis] + 1;
}

inline Axis axis_of(
    const Tensor& x, const Tensor& f, int64_t axis, at::IntArrayRef up, at::IntArrayRef down, at::IntArrayRef padding) {
    const int64_t in = x.size(3 - axis), taps = f.size(1 - axis);
    TORCH_CHECK_VALUE(
        in * up[axis] + padding[2 * axis] + padding[2 * axis + 1] >= taps, "upfirdn2d: nothing is left of ", x.sizes());
    const int64_t out = output_size<int64_t>(in, taps, axis, up, down, padding);
    return {in, out, up[axis], down[axis], padding[2 * axis], taps};
}

// Geometry of upfirdn2d for dense x [N, C, H, W] and f [fh, fw].
inline Upfirdn2d geometry_of(
    const Tensor& x, const Tensor& f, at::IntArrayRef up, at::IntArrayRef down, at::IntArrayRef padding) {
    const bool channels_last = format_of(x) == at::MemoryFormat::ChannelsLast;
    return {
        channels_last ? x.size(0) : x.size(0) * x.size(1), channels_last ? x.size(1) : 1,
        axis_of(x, f, 1, up, down, padding), axis_of(x, f, 0, up, down, padding)};
}

}  // namespace ganfoundry
