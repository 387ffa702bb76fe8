// CUDA kernels of ganfoundry::act_fir and ganfoundry::act_fir_backward.

#include "act_fir/act_fir_cuda.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>

#include "common/calls.h"
#include "common/operators_cuda.h"

namespace ganfoundry {
namespace {

using Gradients = std::tuple<Tensor, Tensor>;  // gradients of x and b

// Arguments of the kernels, in the types that they read.
struct Arguments {
    Tensor x, b, f;
    DType dtype;
    Upfirdn2d geometry;
    BiasAct act;
    bool fused;  // whether a kernel takes the filter

    Arguments(
        const char* name, const Tensor& x_, const Tensor& b_, const Tensor& f_, at::IntArrayRef padding, double slope,
        double gain, Clamp clamp)
        : x(dense(x_, kNHWC)), b(dense(b_.to(at::kFloat), at::MemoryFormat::Contiguous)),
          f(dense(f_.to(at::kFloat), at::MemoryFormat::Contiguous)), dtype(dtype_of(name, x_)),
          geometry{x.size(0), x.size(1), axis_of(x, f, 1, kOnes, kOnes, padding), axis_of(x, f, 0, kOnes, kOnes, padding)},
          act(parameters(slope, gain, clamp)), fused(ganfoundry_act_fir_takes(dtype, geometry)) {
        TORCH_CHECK_VALUE(b.dim() == 1 && b.size(0) == x.size(1), name, ": b must be [C]");
    }

    // From y to x.
    Upfirdn2d transposed() const { return {geometry.planes, geometry.pixel, back(geometry.y), back(geometry.x)}; }

   private:
    static constexpr int64_t kOnes[] = {1, 1};
    static Axis back(const Axis& a) { return {a.out, a.in, 1, 1, a.taps - 1 - a.pad, a.taps}; }
};

// Whether x or the result has more elements than a launch counts, and several samples.
bool are_too_large(const Tensor& x, const Tensor& f, at::IntArrayRef padding) {
    const int64_t height = x.size(2) + padding[2] + padding[3] - f.size(0) + 1;
    const int64_t width = x.size(3) + padding[0] + padding[1] - f.size(1) + 1;
    return x.size(0) > 1 && (is_too_large(x.numel()) || is_too_large(x.size(0) * x.size(1) * height * width));
}

Tensor act_fir_cuda(
    const Tensor& x, const Tensor& b, const Tensor& f, at::IntArrayRef padding, double slope, double gain,
    Clamp clamp) {
    const char* name = "act_fir";
    if (are_too_large(x, f, padding)) {
        const auto [x0, x1] = halves(x);
        return at::cat(
            {act_fir_cuda(x0, b, f, padding, slope, gain, clamp), act_fir_cuda(x1, b, f, padding, slope, gain, clamp)});
    }
    check_size(name, x);
    const OnDevice guard(x.device());
    const Arguments a(name, x, b, f, padding, slope, gain, clamp);
    if (!a.fused) {
        return call_upfirdn2d(call_bias_act(a.x, b, slope, gain, clamp), f, c10::fromIntArrayRefSlow(padding));
    }
    const Upfirdn2d& g = a.geometry;
    const Tensor y = at::empty({g.planes, g.pixel, g.y.out, g.x.out}, a.x.options(), kNHWC);
    check_size(name, y);
    if (y.numel() == 0) return y;
    const char* problem = ganfoundry_act_fir(
        a.x.const_data_ptr(), a.b.const_data_ptr<float>(), a.f.const_data_ptr<float>(), y.mutable_data_ptr(), a.dtype,
        g, a.act, target_of(x));
    check_launch(name, problem);
    return y;
}

Gradients act_fir_backward_cuda(
    const Tensor& dy_, const Tensor& x, const Tensor& b, const Tensor& f, at::IntArrayRef padding, double slope,
    double gain, Clamp clamp) {
    const char* name = "act_fir_backward";
    if (are_too_large(x, f, padding)) {
        const auto [dy0, dy1] = halves(dy_);
        const auto [x0, x1] = halves(x);
        const auto [dx0, db0] = act_fir_backward_cuda(dy0, x0, b, f, padding, slope, gain, clamp);
        const auto [dx1, db1] = act_fir_backward_cuda(dy1, x1, b, f, padding, slope, gain, clamp);
        return {at::cat({dx0, dx1}), db0.add(db1)};
    }
    check_size(name, x);
    check_size(name, dy_);
    const OnDevice guard(x.device());
    const Arguments a(name, x, b, f, padding, slope, gain, clamp);
    const Upfirdn2d g = a.transposed();
    TORCH_CHECK_VALUE(
        dy_.sizes() == at::IntArrayRef({g.planes, g.pixel, g.y.in, g.x.in}) && dy_.device() == x.device(), name,
        ": dy's shape or device");
    const Tensor dy = dense(dy_.to(x.scalar_type()), kNHWC);
    if (!a.fused) {
        const Tensor dh = call_upfirdn2d_transposed(dy, f, c10::fromIntArrayRefSlow(padding));
        return call_bias_act_grad(dh, call_bias_act(a.x, b, slope, gain, clamp), slope, gain, clamp);
    }
    const Tensor dx = at::empty_like(a.x), db = at::zeros_like(a.b);
    if (dx.numel() == 0) return {dx, db};
    const Tensor table = at::empty({ganfoundry_act_fir_table_rows(a.dtype, g), g.pixel}, db.options());
    const char* problem = ganfoundry_act_fir_backward(
        dy.const_data_ptr(), a.x.const_data_ptr(), a.b.const_data_ptr<float>(), a.f.const_data_ptr<float>(),
        dx.mutable_data_ptr(), db.mutable_data_ptr<float>(), table.mutable_data_ptr<float>(), a.dtype, g, a.act,
        target_of(x));
    check_launch(name, problem);
    return {dx, db};
}

}  // namespace

TORCH_LIBRARY_IMPL(ganfoundry, GF_DISPATCH_KEY, m) {
    m.impl("act_fir", act_fir_cuda);
    m.impl("act_fir_backward", act_fir_backward_cuda);
}

}  // namespace ganfoundry
