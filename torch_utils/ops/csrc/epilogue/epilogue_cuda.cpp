// CUDA kernels of ganfoundry::epilogue and ganfoundry::epilogue_backward.

#include "epilogue/epilogue_cuda.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "common/calls.h"
#include "common/operators_cuda.h"
#include "epilogue/epilogue_shapes.h"

namespace ganfoundry {
namespace {

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor>;  // gradients of x, d, noise, b; empty if that is absent

// Arguments of the kernels, in the types that they read.
struct Arguments {
    Tensor x, f, d, noise, b;  // undefined: absent
    DType dtype;
    EpilogueSizes sizes;
    BiasAct act;
    bool fused;  // whether a kernel takes the filter

    Arguments(
        const Tensor& x_, const Optional& f_, at::IntArrayRef padding, const Optional& d_, const Optional& noise_,
        const Optional& b_, double slope, double gain, Clamp clamp)
        : x(dense(x_, kNHWC)), d(dense_floats(d_)), noise(dense_floats(noise_)), b(dense_floats(b_)),
          dtype(dtype_of("epilogue", x_)),
          sizes{x.size(0), x.size(1), x.size(2), x.size(3), {}, {}, f_.has_value()},
          act(parameters(slope, gain, clamp)), fused(true) {
        if (f_) {
            f = dense(f_->to(at::kFloat), at::MemoryFormat::Contiguous);
            sizes.height += padding[2] + padding[3] - f.size(0) + 1;
            sizes.width += padding[0] + padding[1] - f.size(1) + 1;
            sizes.y = {x.size(2), sizes.height, 1, 1, padding[2], f.size(0)};
            sizes.x = {x.size(3), sizes.width, 1, 1, padding[0], f.size(1)};
            fused = ganfoundry_epilogue_filters(dtype, sizes.channels, f.size(0), f.size(1));
        }
        check_epilogue(x, sizes.height, sizes.width, d, noise, b);
    }

    const float* filter() const { return f.defined() ? f.const_data_ptr<float>() : nullptr; }
    EpilogueTerms terms() const {
        const auto pointer = [](const Tensor& t) { return t.defined() ? t.const_data_ptr<float>() : nullptr; };
        const bool own = noise.defined() && noise.dim() == 4;
        return {pointer(d), pointer(noise), pointer(b), own ? sizes.height * sizes.width : 0};
    }

   private:
    static Tensor dense_floats(const Optional& t) {
        return t ? dense(t->to(at::kFloat), at::MemoryFormat::Contiguous) : Tensor();
    }
};

// Whether x or the result has more elements than a launch counts, and several samples.
bool are_too_large(const Tensor& x, const Optional& f, at::IntArrayRef padding) {
    int64_t height = x.size(2), width = x.size(3);
    if (f) {
        height += padding[2] + padding[3] - f->size(0) + 1;
        width += padding[0] + padding[1] - f->size(1) + 1;
    }
    return x.size(0) > 1 && (is_too_large(x.numel()) || is_too_large(x.size(0) * x.size(1) * height * width));
}

// The halves of an operand with a part per sample; the whole operand twice where all samples share it.
std::pair<Optional, Optional> halves_of(const Optional& t, bool per_sample) {
    if (!t || !per_sample) return {t, t};
    const auto [first, second] = halves(*t);
    return {first, second};
}

Tensor epilogue_cuda(
    const Tensor& x, const Optional& f, at::IntArrayRef padding, const Optional& d, const Optional& noise,
    const Optional& b, double slope, double gain, Clamp clamp) {
    if (are_too_large(x, f, padding)) {
        const auto [x0, x1] = halves(x);
        const auto [d0, d1] = halves_of(d, true);
        const auto [noise0, noise1] = halves_of(noise, noise && noise->dim() == 4);
        return at::cat(
            {epilogue_cuda(x0, f, padding, d0, noise0, b, slope, gain, clamp),
             epilogue_cuda(x1, f, padding, d1, noise1, b, slope, gain, clamp)});
    }
    check_size("epilogue", x);
    const OnDevice guard(x.device());
    const Arguments a(x, f, padding, d, noise, b, slope, gain, clamp);
    if (!a.fused) {
        const Tensor u = call_upfirdn2d(a.x, *f, c10::fromIntArrayRefSlow(padding));
        return epilogue_cuda(u, {}, {}, d, noise, b, slope, gain, clamp);
    }
    const EpilogueSizes& g = a.sizes;
    const Tensor y = at::empty({g.images, g.channels, g.height, g.width}, a.x.options(), kNHWC);
    check_size("epilogue", y);
    if (y.numel() == 0) return y;
    const char* problem = ganfoundry_epilogue(
        a.x.const_data_ptr(), a.filter(), y.mutable_data_ptr(), a.dtype, g, a.terms(), a.act, target_of(x));
    check_launch("epilogue", problem);
    return y;
}

Gradients epilogue_backward_cuda(
    const Tensor& dy_, const Tensor& x, const Optional& f, at::IntArrayRef padding, const Optional& d,
    const Optional& noise, const Optional& b, double slope, double gain, Clamp clamp) {
    if (are_too_large(x, f, padding)) {
        const bool own_noise = noise && noise->dim() == 4;
        const auto [dy0, dy1] = halves(dy_);
        const auto [x0, x1] = halves(x);
        const auto [d0, d1] = halves_of(d, true);
        const auto [noise0, noise1] = halves_of(noise, own_noise);
        const auto [dx0, dd0, dn0, db0] =
            epilogue_backward_cuda(dy0, x0, f, padding, d0, noise0, b, slope, gain, clamp);
        const auto [dx1, dd1, dn1, db1] =
            epilogue_backward_cuda(dy1, x1, f, padding, d1, noise1, b, slope, gain, clamp);
        return {
            at::cat({dx0, dx1}), at::cat({dd0, dd1}), own_noise ? at::cat({dn0, dn1}) : dn0.add(dn1), db0.add(db1)};
    }
    check_size("epilogue_backward", x);
    check_size("epilogue_backward", dy_);
    const OnDevice guard(x.device());
    const Arguments a(x, f, padding, d, noise, b, slope, gain, clamp);
    const EpilogueSizes& g = a.sizes;
    TORCH_CHECK_VALUE(
        dy_.sizes() == at::IntArrayRef({g.images, g.channels, g.height, g.width}) && dy_.device() == x.device(),
        "epilogue_backward: dy's shape or device");
    if (!a.fused) {
        const Tensor u = call_upfirdn2d(a.x, *f, c10::fromIntArrayRefSlow(padding));
        auto grads = epilogue_backward_cuda(dy_, u, {}, {}, d, noise, b, slope, gain, clamp);
        std::get<0>(grads) = call_upfirdn2d_transposed(std::get<0>(grads), *f, c10::fromIntArrayRefSlow(padding));
        return grads;
    }
    const Tensor dy = dense(dy_.to(x.scalar_type()), kNHWC), dx = at::empty_like(a.x);
    const auto options = x.options().dtype(at::kFloat);
    const auto like = [&](const Tensor& t) { return t.defined() ? at::empty(t.sizes(), options) : absent(x); };
    const Tensor dd = like(a.d), dnoise = like(a.noise), db = like(a.b);
    if (dy.numel() == 0) return {dx, dd.zero_(), dnoise.zero_(), db.zero_()};
    const EpilogueTables t = ganfoundry_epilogue_tables(a.dtype, g);
    const Tensor tables = at::empty({2, g.images, t.tiles, g.channels}, options);
    const Tensor noise_table = at::empty({noise ? t.parts : 0, g.images, g.height, g.width}, options);
    const auto pointer = [](const Tensor& to, bool present) {
        return present ? to.mutable_data_ptr<float>() : nullptr;
    };
    float* const table = tables.mutable_data_ptr<float>();
    const EpilogueSums sums{
        table, table + tables.numel() / 2, pointer(noise_table, noise.has_value()), pointer(dd, d.has_value()),
        pointer(db, b.has_value()), pointer(dnoise, noise.has_value())};
    const char* problem = ganfoundry_epilogue_backward(
        dy.const_data_ptr(), a.x.const_data_ptr(), a.filter(), dx.mutable_data_ptr(), a.dtype, g, a.terms(), sums,
        a.act, target_of(x));
    check_launch("epilogue_backward", problem);
    return {dx, dd, dnoise, db};
}

}  // namespace

TORCH_LIBRARY_IMPL(ganfoundry, GF_DISPATCH_KEY, m) {
    m.impl("epilogue", epilogue_cuda);
    m.impl("epilogue_backward", epilogue_backward_cuda);
}

}  // namespace ganfoundry
