// Call of ganfoundry::conv2d_weight_gradient by the convolutions' gradients.

#pragma once

#include "common/calls.h"

namespace ganfoundry {

// Whether the kernel computes the gradient of a weight [O, I, ky, kx], and is faster than oneDNN's.
bool has_weight_gradient(const Tensor& dy, const Tensor& x, at::IntArrayRef kernel);

// The gradient of a convolution's weight [O, I, ky, kx] for that of its result, `dy`, and its features `x`.
inline Tensor call_weight_gradient(
    const Tensor& dy, const Tensor& x, at::IntArrayRef kernel, at::IntArrayRef stride, at::IntArrayRef padding) {
    using Signature = Tensor(const Tensor&, const Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef);
    static const auto op = find_operator<Signature>("ganfoundry::conv2d_weight_gradient");
    return op.call(dy, x, kernel, stride, padding);
}

}  // namespace ganfoundry
