// CUDA kernels of ganfoundry::involution, ganfoundry::involution_adjoint and ganfoundry::involution_correlation.

#include "involution/involution_cuda.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "common/operators_cuda.h"
#include "involution/involution_shapes.h"

namespace ganfoundry {
namespace {

using Launcher = decltype(&ganfoundry_involution);

bool is_channels_last(const Tensor& x) { return format_of(x) == at::MemoryFormat::ChannelsLast; }

// Fills `out` by a launch for a and b, which are made dense; too large ones are cut into halves. All are [N, ., H, W].
void fill(const char* name, Launcher launcher, const Tensor& a_, const Tensor& b_, const Tensor& out, Involution g) {
    if (g.samples > 1 && is_too_large(std::max({a_.numel(), b_.numel(), out.numel()}))) {
        const auto [a0, a1] = halves(a_);
        const auto [b0, b1] = halves(b_);
        const auto [out0, out1] = halves(out);
        g.samples = out0.size(0);
        fill(name, launcher, a0, b0, out0, g);
        g.samples = out1.size(0);
        fill(name, launcher, a1, b1, out1, g);
        return;
    }
    const Tensor a = dense(a_, format_of(a_)), b = dense(b_, format_of(b_));
    const ChannelsLast last{is_channels_last(a), is_channels_last(b), is_channels_last(out)};
    const char* problem = launcher(
        a.const_data_ptr(), b.const_data_ptr(), out.mutable_data_ptr(), dtype_of(name, a), g, last, target_of(a));
    check_launch(name, problem);
}

// Result [N, planes, H, W] of a map of a and b in a memory format.
Tensor run(
    const char* name, Launcher launcher, const Tensor& a, const Tensor& b, int64_t planes, at::MemoryFormat format,
    const Involution& g) {
    dtype_of(name, a);
    for (const int64_t of : {a.size(1), b.size(1), planes}) {
        check_size(name, {std::min<int64_t>(g.samples, 1), of, g.height, g.width});
    }
    const OnDevice guard(a.device());
    const Tensor out = at::empty({g.samples, planes, g.height, g.width}, a.options(), format);
    if (a.numel() == 0) return out.zero_();
    fill(name, launcher, a, b, out, g);
    return out;
}

// Weights [N, G, K * K, H, W] as an image of G * K * K channels: a view, unless their strides forbid it.
Tensor flat(const Tensor& w) { return w.flatten(1, 2); }

Tensor involution_cuda(const Tensor& x, const Tensor& w) {
    const Involution g = geometry_of("involution", x, w);
    return run("involution", ganfoundry_involution, x, flat(w), x.size(1), format_of(x), g);
}

Tensor involution_adjoint_cuda(const Tensor& y, const Tensor& w) {
    const Involution g = geometry_of("involution_adjoint", y, w);
    return run("involution_adjoint", ganfoundry_involution_adjoint, y, flat(w), y.size(1), format_of(y), g);
}

Tensor involution_correlation_cuda(const Tensor& y, const Tensor& x, int64_t groups, int64_t taps) {
    const Involution g = geometry_of("involution_correlation", y, x, groups, taps);
    return run("involution_correlation", ganfoundry_involution_correlation, y, x, groups * taps, format_of(x), g)
        .unflatten(1, {groups, taps});
}

}  // namespace

TORCH_LIBRARY_IMPL(ganfoundry, GF_DISPATCH_KEY, m) {
    m.impl("involution", involution_cuda);
    m.impl("involution_adjoint", involution_adjoint_cuda);
    m.impl("involution_correlation", involution_correlation_cuda);
}

}  // namespace ganfoundry
