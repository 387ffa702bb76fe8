// Checks of involution's tensors and their sizes, for CPU and CUDA.

#pragma once

#include "common/shapes.h"
#include "involution/involution_sizes.h"

namespace ganfoundry {

// Sizes for images [N, C, H, W] and kernels of the given numbers of groups and taps.
inline Involution geometry_of(const char* name, const Tensor& image, int64_t groups, int64_t taps) {
    int64_t side = 1;
    while (side * side < taps) side += 2;
    TORCH_CHECK_VALUE(side * side == taps, name, ": expected K * K taps for an odd K, got ", taps);
    TORCH_CHECK_VALUE(image.dim() == 4, name, ": expected images [N, C, H, W], got ", image.sizes());
    TORCH_CHECK_VALUE(
        groups > 0 && image.size(1) % groups == 0, name, ": expected groups that divide the ", image.size(1),
        " channels, got ", groups);
    return {image.size(0), groups, image.size(1) / groups, side, image.size(2), image.size(3)};
}

// Sizes for images and weights [N, G, K * K, H, W].
inline Involution geometry_of(const char* name, const Tensor& image, const Tensor& w) {
    TORCH_CHECK_VALUE(w.dim() == 5, name, ": expected weights [N, G, K * K, H, W], got ", w.sizes());
    const Involution g = geometry_of(name, image, w.size(1), w.size(2));
    TORCH_CHECK_VALUE(
        w.size(0) == g.samples && w.size(3) == g.height && w.size(4) == g.width, name, ": expected weights [",
        g.samples, ", G, K * K, ", g.height, ", ", g.width, "], got ", w.sizes());
    TORCH_CHECK_VALUE(
        w.scalar_type() == image.scalar_type() && w.device() == image.device(), name,
        ": expected weights of the images' type and device, ", image.scalar_type(), " on ", image.device(), ", got ",
        w.scalar_type(), " on ", w.device());
    return g;
}

// Sizes for two images, whose correlation has the given numbers of groups and taps.
inline Involution geometry_of(const char* name, const Tensor& y, const Tensor& x, int64_t groups, int64_t taps) {
    TORCH_CHECK_VALUE(
        y.sizes() == x.sizes() && y.scalar_type() == x.scalar_type() && y.device() == x.device(), name,
        ": expected two images of one shape, type and device, got ", y.sizes(), " and ", x.sizes());
    return geometry_of(name, x, groups, taps);
}

}  // namespace ganfoundry
