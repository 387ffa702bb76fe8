// Checks of the tensors of the epilogue. For CPU and CUDA.

#pragma once

#include "common/shapes.h"

namespace ganfoundry {

// height, width: size of the result. d, noise and b are undefined if absent.
inline void check_epilogue(
    const Tensor& x, int64_t height, int64_t width, const Tensor& d, const Tensor& noise, const Tensor& b) {
    const int64_t n = x.size(0), c = x.size(1);
    TORCH_CHECK_VALUE(height > 0 && width > 0, "epilogue: nothing is left of ", x.sizes());
    TORCH_CHECK_VALUE(!d.defined() || d.sizes() == at::IntArrayRef({n, c}), "epilogue: d must be [N, C]");
    TORCH_CHECK_VALUE(!b.defined() || b.sizes() == at::IntArrayRef({c}), "epilogue: b must be [C]");
    TORCH_CHECK_VALUE(
        !noise.defined() || noise.sizes() == at::IntArrayRef({n, 1, height, width}) ||
            noise.sizes() == at::IntArrayRef({height, width}),
        "epilogue: noise must be [N, 1, H, W] or [H, W]");
}

}  // namespace ganfoundry
