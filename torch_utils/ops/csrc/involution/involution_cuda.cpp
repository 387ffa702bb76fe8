// CUDA kernels of ganfoundry::involution, ganfoundry::involution_adjoint and ganfoundry::involution_correlation.

#include "involution/involution_cuda.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/util/accumulate.h>

#include <vector>

#include "common/operators_cuda.h"
#include "involution/involution_shapes.h"

namespace ganfoundry {
namespace {

using Launcher = decltype(&ganfoundry_involution);

// Result of `launcher` for a and b, which are made dense; of too large ones in two halves.
Tensor run(const char* name, Launcher launcher, const Tensor& a_, const Tensor& b_, at::IntArrayRef shape,
           const Involution& g) {
    const int64_t elements = c10::multiply_integers(shape);
    if ((is_too_large(a_.numel()) || is_too_large(b_.numel()) || is_too_large(elements)) && g.samples > 1) {
        const auto [a0, a1] = halves(a_);
        const auto [b0, b1] = halves(b_);
        const auto half = [&](const Tensor& a, const Tensor& b) {
            Involution part = g;
            part.samples = a.size(0);
            std::vector<int64_t> size = shape.vec();
            size[0] = part.samples;
            return run(name, launcher, a, b, size, part);
        };
        return at::cat({half(a0, b0), half(a1, b1)});
    }
    for (const Tensor* t : {&a_, &b_}) check_size(name, *t);
    const DType dtype = dtype_of(name, a_);
    const OnDevice guard(a_.device());
    if (a_.numel() == 0) return at::zeros(shape, a_.options());
    const Tensor a = dense(a_, at::MemoryFormat::Contiguous), b = dense(b_, at::MemoryFormat::Contiguous);
    const Tensor out = at::empty(shape, a.options());
    check_size(name, out);
    const char* problem =
        launcher(a.const_data_ptr(), b.const_data_ptr(), out.mutable_data_ptr(), dtype, g, target_of(a));
    check_launch(name, problem);
    return out;
}

Tensor involution_cuda(const Tensor& x, const Tensor& w) {
    const Involution g = geometry_of("involution", x, w);
    return run("involution", ganfoundry_involution, x, w, x.sizes(), g).contiguous(format_of(x));
}

Tensor involution_adjoint_cuda(const Tensor& y, const Tensor& w) {
    const Involution g = geometry_of("involution_adjoint", y, w);
    return run("involution_adjoint", ganfoundry_involution_adjoint, y, w, y.sizes(), g).contiguous(format_of(y));
}

Tensor involution_correlation_cuda(const Tensor& y, const Tensor& x, int64_t groups, int64_t taps) {
    const Involution g = geometry_of("involution_correlation", y, x, groups, taps);
    const int64_t shape[] = {g.samples, groups, taps, g.height, g.width};
    return run("involution_correlation", ganfoundry_involution_correlation, y, x, shape, g);
}

}  // namespace

TORCH_LIBRARY_IMPL(ganfoundry, GF_DISPATCH_KEY, m) {
    m.impl("involution", involution_cuda);
    m.impl("involution_adjoint", involution_adjoint_cuda);
    m.impl("involution_correlation", involution_correlation_cuda);
}

}  // namespace ganfoundry
