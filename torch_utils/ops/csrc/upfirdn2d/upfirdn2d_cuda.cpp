// CUDA kernels of ganfoundry::upfirdn2d and ganfoundry::upfirdn2d_add.

#include "upfirdn2d/upfirdn2d_cuda.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>

#include "common/operators_cuda.h"

namespace ganfoundry {
namespace {

Tensor upfirdn2d_cuda(
    const Tensor& x_, const Tensor& f_, at::IntArrayRef up, at::IntArrayRef down, at::IntArrayRef padding) {
    const DType dtype = dtype_of("upfirdn2d", x_);
    TORCH_CHECK_VALUE(
        x_.dim() == 4 && f_.dim() == 2 && f_.numel() > 0 && f_.device() == x_.device(),
        "upfirdn2d: x [N, C, H, W] and f [fh, fw] on one device");
    const Upfirdn2d sizes = geometry_of(x_, f_, up, down, padding);
    const int64_t elements = x_.size(0) * x_.size(1) * sizes.y.out * sizes.x.out;
    if ((is_too_large(x_.numel()) || is_too_large(elements)) && x_.size(0) > 1) {
        const auto [first, second] = halves(x_);
        return at::cat(
            {upfirdn2d_cuda(first, f_, up, down, padding), upfirdn2d_cuda(second, f_, up, down, padding)});
    }
    check_size("upfirdn2d", x_);
    const OnDevice guard(x_.device());
    const Tensor x = dense(x_, format_of(x_));
    const Tensor f = dense(f_.to(at::kFloat), at::MemoryFormat::Contiguous);
    const Upfirdn2d g = geometry_of(x, f, up, down, padding);
    const Tensor y = at::empty({x.size(0), x.size(1), g.y.out, g.x.out}, x.options(), format_of(x));
    check_size("upfirdn2d", y);
    if (y.numel() == 0) return y;
    if (x.numel() == 0) return y.zero_();
    const char* problem = ganfoundry_upfirdn2d(
        x.const_data_ptr(), f.const_data_ptr<float>(), y.mutable_data_ptr(), dtype, g, target_of(x));
    check_launch("upfirdn2d", problem);
    return y;
}

Tensor upfirdn2d_add_cuda(
    const Tensor& r_, const Tensor& x_, const Tensor& f_, at::IntArrayRef up, at::IntArrayRef down,
    at::IntArrayRef padding) {
    const DType dtype = dtype_of("upfirdn2d_add", x_);
    const Upfirdn2d g = geometry_of(x_, f_, up, down, padding);
    TORCH_CHECK_VALUE(
        r_.sizes() == at::IntArrayRef({x_.size(0), x_.size(1), g.y.out, g.x.out}) && r_.dtype() == x_.dtype() &&
            r_.device() == x_.device(),
        "upfirdn2d_add: r's shape, type or device");
    const bool small = !is_too_large(std::max(x_.numel(), r_.numel()));
    if (r_.numel() == 0 || x_.numel() == 0 || !small || !ganfoundry_upfirdn2d_adds(dtype, g)) {
        return upfirdn2d_cuda(x_, f_, up, down, padding).add_(r_);
    }
    const OnDevice guard(x_.device());
    const auto format = at::MemoryFormat::ChannelsLast;
    const Tensor x = dense(x_, format), r = dense(r_, format);
    const Tensor f = dense(f_.to(at::kFloat), at::MemoryFormat::Contiguous), y = at::empty_like(r);
    const char* problem = ganfoundry_upfirdn2d_add(
        r.const_data_ptr(), x.const_data_ptr(), f.const_data_ptr<float>(), y.mutable_data_ptr(), dtype, g,
        target_of(x));
    check_launch("upfirdn2d_add", problem);
    return y;
}

}  // namespace

TORCH_LIBRARY_IMPL(ganfoundry, GF_DISPATCH_KEY, m) {
    m.impl("upfirdn2d", upfirdn2d_cuda);
    m.impl("upfirdn2d_add", upfirdn2d_add_cuda);
}

}  // namespace ganfoundry
