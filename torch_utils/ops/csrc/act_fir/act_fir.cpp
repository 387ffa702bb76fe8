// Operators ganfoundry::act_fir and ganfoundry::act_fir_backward, its gradient.

#include "act_fir/act_fir.h"

#include <torch/csrc/autograd/functions/utils.h>

#include "common/calls.h"

namespace ganfoundry {
namespace {

using Gradients = std::tuple<Tensor, Tensor>;  // gradients of x and b

// Arguments of the kernels, in the types that they read.
struct Arguments {
    Tensor x, b, f;
    std::vector<double> fy, fx;
    bool outer;  // whether f is the outer product fy fx, which the kernels need
    std::vector<int64_t> sizes;  // shape of the result
    BiasAct act;

    Arguments(
        const Tensor& x_, const Tensor& b_, const Tensor& f_, at::IntArrayRef padding, double slope, double gain,
        Clamp clamp)
        : x(x_.contiguous(kNHWC)), b(b_.to(compute_type(x_.scalar_type())).contiguous()),
          f(f_.to(at::kDouble).contiguous()), act{slope, gain, clamp.value_or(0), clamp.has_value()} {
        const double tolerance = x.scalar_type() == at::kDouble ? 1e-15 : 1e-6;
        outer = separate(input<double>(f), f.size(0), f.size(1), tolerance, fy, fx);
        for (const auto& size : filtered_sizes(x, f, c10::fromIntArrayRefSlow(padding))) {
            sizes.push_back(size.expect_int());
        }
        TORCH_CHECK_VALUE(sizes[2] > 0 && sizes[3] > 0, "act_fir: nothing is left of ", x.sizes());
        TORCH_CHECK_VALUE(b.dim() == 1 && b.size(0) == x.size(1), "act_fir: b must be [C]");
    }

    template <class A>
    ActFir<A> kernel(at::IntArrayRef padding) const {
        return {
            x.size(0), x.size(1), {{fy.begin(), fy.end()}, padding[2], x.size(2), sizes[2]},
            {{fx.begin(), fx.end()}, padding[0], x.size(3), sizes[3]}, input<A>(b), act};
    }
};

Tensor act_fir_cpu(
    const Tensor& x, const Tensor& b, const Tensor& f, at::IntArrayRef padding, double slope, double gain,
    Clamp clamp) {
    const Arguments a(x, b, f, padding, slope, gain, clamp);
    if (!a.outer) {
        return call_upfirdn2d(call_bias_act(a.x, b, slope, gain, clamp), f, c10::fromIntArrayRefSlow(padding));
    }
    const Tensor y = at::empty(a.sizes, x.options(), kNHWC);
    if (y.numel() == 0) return y;
    with_type("act_fir", x.scalar_type(), [&](auto zero) {
        using T = decltype(zero);
        const auto e = a.kernel<compute_t<T>>(padding);
        auto kernel = e.act.bounded ? &act_fir_tasks<true, T> : &act_fir_tasks<false, T>;
        run_tasks(e.tasks(), x.numel() / e.tasks(), [&](int64_t begin, int64_t end) {
            kernel(input<T>(a.x), output<T>(y), e, begin, end);
        });
    });
    return y;
}

Gradients act_fir_backward_cpu(
    const Tensor& dy_, const Tensor& x, const Tensor& b, const Tensor& f, at::IntArrayRef padding, double slope,
    double gain, Clamp clamp) {
    const Arguments a(x, b, f, padding, slope, gain, clamp);
    const Tensor dy = dy_.to(x.scalar_type()).contiguous(kNHWC);
    TORCH_CHECK_VALUE(dy.sizes() == at::IntArrayRef(a.sizes), "act_fir_backward: dy's shape");
    if (!a.outer) {
        const Tensor dh = call_upfirdn2d_transposed(dy, f, c10::fromIntArrayRefSlow(padding));
        return call_bias_act_grad(dh, call_bias_act(a.x, b, slope, gain, clamp), slope, gain, clamp);
    }
    const Tensor dx = at::empty_like(a.x);
    if (dy.numel() == 0) return {dx.zero_(), at::zeros_like(a.b)};
    Tensor db;
    with_type("act_fir_backward", x.scalar_type(), [&](auto zero) {
        using T = decltype(zero);
        using A = compute_t<T>;
        const auto e = a.kernel<A>(padding);
        db = at::empty({e.tasks(), e.channels}, a.b.options());
        auto kernel = e.act.bounded ? &act_fir_backward_tasks<true, T> : &act_fir_backward_tasks<false, T>;
        run_tasks(e.tasks(), x.numel() / e.tasks(), [&](int64_t begin, int64_t end) {
            kernel(input<T>(a.x), input<T>(dy), output<T>(dx), output<A>(db), e, begin, end);
        });
    });
    return {dx, db.sum(0)};
}

Tensor act_fir_meta(const Tensor& x, const Tensor&, const Tensor& f, Padding padding, double, double, Clamp) {
    return at::empty_symint(filtered_sizes(x, f, padding), x.options(), kNHWC);
}

Gradients act_fir_backward_meta(
    const Tensor&, const Tensor& x, const Tensor& b, const Tensor&, Padding, double, double, Clamp) {
    const auto options = x.options().dtype(compute_type(x.scalar_type()));
    return {at::empty_symint(x.sym_sizes(), x.options(), kNHWC), at::empty_symint(b.sym_sizes(), options)};
}

Tensor act_fir(
    const Tensor& x, const Tensor& b, const Tensor& f, Padding padding, double slope, double gain, Clamp clamp) {
    static const auto op = find_operator<decltype(act_fir_meta)>("ganfoundry::act_fir");
    return op.call(x, b, f, padding, slope, gain, clamp);
}

Gradients act_fir_backward(
    const Tensor& dy, const Tensor& x, const Tensor& b, const Tensor& f, Padding padding, double slope, double gain,
    Clamp clamp) {
    static const auto op = find_operator<decltype(act_fir_backward_meta)>("ganfoundry::act_fir_backward");
    return op.call(dy, x, b, f, padding, slope, gain, clamp);
}

struct ActFirFunction : torch::autograd::Function<ActFirFunction> {
    static Tensor forward(
        AutogradContext* ctx, const Tensor& x, const Tensor& b, const Tensor& f, Padding padding, double slope,
        double gain, Clamp clamp) {
        at::AutoDispatchBelowADInplaceOrView below;
        ctx->save_for_backward({x, b, f});
        ctx->saved_data["padding"] = padding;
        ctx->saved_data["slope"] = slope;
        ctx->saved_data["gain"] = gain;
        ctx->saved_data["clamp"] = clamp;
        return act_fir(x, b, f, padding, slope, gain, clamp);
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const variable_list t = ctx->get_saved_variables();
        auto& saved = ctx->saved_data;
        const auto [dx, db] = act_fir_backward(
            grads[0], t[0], t[1], t[2], saved["padding"].toSymIntVector(), saved["slope"].toDouble(),
            saved["gain"].toDouble(), saved["clamp"].toOptional<double>());
        return {dx, db.to(t[1].scalar_type()), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
    }
};

Tensor act_fir_autograd(
    const Tensor& x, const Tensor& b, const Tensor& f, Padding padding, double slope, double gain, Clamp clamp) {
    return ActFirFunction::apply(x, b, f, padding, slope, gain, clamp);
}

// One pass for a gradient alone; differentiable operators if a graph of the gradient is being built.
Gradients act_fir_backward_autograd(
    const Tensor& dy, const Tensor& x, const Tensor& b, const Tensor& f, Padding padding, double slope, double gain,
    Clamp clamp) {
    if (!torch::autograd::compute_requires_grad(dy, x, b)) {
        at::AutoDispatchBelowADInplaceOrView below;
        return act_fir_backward(dy, x, b, f, padding, slope, gain, clamp);
    }
    Tensor h;
    {
        at::NoGradGuard constant;  // the gradient depends on the signs of h and the clamped values only
        h = call_bias_act(x, b, slope, gain, clamp);
    }
    return call_bias_act_grad(call_upfirdn2d_transposed(dy, f, padding), h, slope, gain, clamp);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(ganfoundry, m) {
    m.def(
        "act_fir(Tensor x, Tensor b, Tensor f, SymInt[] padding, float slope, float gain, float? clamp) -> Tensor");
    m.def(
        "act_fir_backward(Tensor dy, Tensor x, Tensor b, Tensor f, SymInt[] padding, float slope, float gain, "
        "float? clamp) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(ganfoundry, CPU, m) {
    m.impl("act_fir", act_fir_cpu);
    m.impl("act_fir_backward", act_fir_backward_cpu);
}

TORCH_LIBRARY_IMPL(ganfoundry, Meta, m) {
    m.impl("act_fir", act_fir_meta);
    m.impl("act_fir_backward", act_fir_backward_meta);
}

TORCH_LIBRARY_IMPL(ganfoundry, Autograd, m) {
    m.impl("act_fir", act_fir_autograd);
    m.impl("act_fir_backward", act_fir_backward_autograd);
}

}  // namespace ganfoundry
