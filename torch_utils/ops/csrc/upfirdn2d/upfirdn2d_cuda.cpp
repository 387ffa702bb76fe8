// CUDA kernel of ganfoundry::upfirdn2d.

#include "upfirdn2d/upfirdn2d_cuda.h"

#include <ATen/ops/empty.h>

#include "common/operators_cuda.h"

namespace ganfoundry {
namespace {

Tensor upfirdn2d_cuda(
    const Tensor& x_, const Tensor& f_, at::IntArrayRef up, at::IntArrayRef down, at::IntArrayRef padding) {
    check_size("upfirdn2d", x_);
    const DType dtype = dtype_of("upfirdn2d", x_);
    TORCH_CHECK_VALUE(
        x_.dim() == 4 && f_.dim() == 2 && f_.numel() > 0 && f_.device() == x_.device(),
        "upfirdn2d: x [N, C, H, W] and f [fh, fw] on one device");
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

}  // namespace

TORCH_LIBRARY_IMPL(ganfoundry, GF_DISPATCH_KEY, m) { m.impl("upfirdn2d", upfirdn2d_cuda); }

}  // namespace ganfoundry
