// CUDA kernels of ganfoundry::bias_act and ganfoundry::bias_act_grad.

#include "bias_act/bias_act_cuda.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include "common/operators_cuda.h"

namespace ganfoundry {
namespace {

using Clamp = std::optional<double>;

Tensor bias_act_cuda(const Tensor& x_, const Tensor& b_, int64_t dim, double slope, double gain, Clamp clamp) {
    if (is_too_large(x_.numel()) && dim > 0 && x_.size(0) > 1) {
        const auto [first, second] = halves(x_);
        return at::cat(
            {bias_act_cuda(first, b_, dim, slope, gain, clamp), bias_act_cuda(second, b_, dim, slope, gain, clamp)});
    }
    check_size("bias_act", x_);
    const DType dtype = dtype_of("bias_act", x_);
    TORCH_CHECK_VALUE(
        b_.dim() == 1 && b_.size(0) == x_.size(dim) && b_.device() == x_.device(), "bias_act: b must have shape [",
        x_.size(dim), "] on ", x_.device());
    const OnDevice guard(x_.device());
    const Tensor x = dense(x_, format_of(x_));
    const Tensor b = dense(b_.to(at::kFloat), at::MemoryFormat::Contiguous);
    const Tensor y = at::empty_like(x);
    if (x.numel() == 0) return y;
    const char* problem = ganfoundry_bias_act(
        x.const_data_ptr(), b.const_data_ptr<float>(), y.mutable_data_ptr(), dtype, layout_of(x, dim),
        parameters(slope, gain, clamp), target_of(x));
    check_launch("bias_act", problem);
    return y;
}

// PyTorch adds the sums of the blocks in a fixed order: results are bit-identical.
std::tuple<Tensor, Tensor> bias_act_grad_cuda(
    const Tensor& dy_, const Tensor& y_, int64_t dim, double slope, double gain, Clamp clamp) {
    TORCH_CHECK_VALUE(
        dy_.sizes() == y_.sizes() && dy_.device() == y_.device(), "bias_act_grad: dy and y differ in shape or device");
    if (is_too_large(y_.numel()) && dim > 0 && y_.size(0) > 1) {
        const auto [dy0, dy1] = halves(dy_);
        const auto [y0, y1] = halves(y_);
        const auto [dx0, db0] = bias_act_grad_cuda(dy0, y0, dim, slope, gain, clamp);
        const auto [dx1, db1] = bias_act_grad_cuda(dy1, y1, dim, slope, gain, clamp);
        return {at::cat({dx0, dx1}), db0.add(db1)};
    }
    check_size("bias_act_grad", y_);
    const DType dtype = dtype_of("bias_act_grad", y_);
    const OnDevice guard(y_.device());
    const Tensor y = dense(y_, format_of(y_));
    const Tensor dy = dense(dy_.to(y.scalar_type()), format_of(y_));
    const Tensor dx = at::empty_like(y);
    const auto sum_options = y.options().dtype(at::kFloat);
    if (y.numel() == 0) return {dx, at::zeros({y.size(dim)}, sum_options)};
    const Layout layout = layout_of(y, dim);
    const Tensor sums = at::empty({ganfoundry_bias_act_sum_rows(dtype, layout), layout.channels}, sum_options);
    const char* problem = ganfoundry_bias_act_grad(
        dy.const_data_ptr(), y.const_data_ptr(), dx.mutable_data_ptr(), sums.mutable_data_ptr<float>(), dtype, layout,
        parameters(slope, gain, clamp), target_of(y));
    check_launch("bias_act_grad", problem);
    return {dx, sums.sum(0)};
}

}  // namespace

TORCH_LIBRARY_IMPL(ganfoundry, GF_DISPATCH_KEY, m) {
    m.impl("bias_act", bias_act_cuda);
    m.impl("bias_act_grad", bias_act_grad_cuda);
}

}  // namespace ganfoundry
