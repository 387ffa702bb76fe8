// Operators ganfoundry::epilogue and ganfoundry::epilogue_backward, its gradient.

#include "epilogue/epilogue.h"

#include <torch/csrc/autograd/functions/utils.h>

#include "common/calls.h"
#include "epilogue/epilogue_arguments.h"
#include "epilogue/epilogue_calls.h"

namespace ganfoundry {
namespace {

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor>;  // gradients of x, d, noise, b; empty if that is absent

Tensor epilogue_cpu(
    const Tensor& x, const Optional& f, at::IntArrayRef padding, const Optional& d, const Optional& noise,
    const Optional& b, double slope, double gain, Clamp clamp) {
    const EpilogueArguments a(x, f, padding, d, noise, b, slope, gain, clamp);
    if (!a.outer) {
        const Tensor u = call_upfirdn2d(a.x, *f, c10::fromIntArrayRefSlow(padding));
        return epilogue_cpu(u, {}, {}, d, noise, b, slope, gain, clamp);
    }
    const Tensor y = at::empty({x.size(0), x.size(1), a.height, a.width}, x.options(), kNHWC);
    if (y.numel() == 0) return y;
    with_type("epilogue", x.scalar_type(), [&](auto zero) {
        using T = decltype(zero);
        const auto e = a.kernel<compute_t<T>>(padding);
        auto kernel = e.act.bounded ? &epilogue_tasks<true, T> : &epilogue_tasks<false, T>;
        run_tasks(e.tasks(), y.numel() / e.tasks(), [&](int64_t begin, int64_t end) {
            kernel(input<T>(a.x), output<T>(y), e, begin, end);
        });
    });
    return y;
}

Gradients epilogue_backward_cpu(
    const Tensor& dy_, const Tensor& x, const Optional& f, at::IntArrayRef padding, const Optional& d,
    const Optional& noise, const Optional& b, double slope, double gain, Clamp clamp) {
    const EpilogueArguments a(x, f, padding, d, noise, b, slope, gain, clamp);
    if (!a.outer) {
        const Tensor u = call_upfirdn2d(a.x, *f, c10::fromIntArrayRefSlow(padding));
        auto grads = epilogue_backward_cpu(dy_, u, {}, {}, d, noise, b, slope, gain, clamp);
        std::get<0>(grads) = call_upfirdn2d_transposed(std::get<0>(grads), *f, c10::fromIntArrayRefSlow(padding));
        return grads;
    }
    const int64_t n = x.size(0), c = x.size(1);
    const Tensor dy = dy_.to(x.scalar_type()).contiguous(kNHWC), dx = at::empty_like(a.x);
    TORCH_CHECK_VALUE(dy.sizes() == at::IntArrayRef({n, c, a.height, a.width}), "epilogue_backward: dy's shape");
    const auto options = x.options().dtype(compute_type(x.scalar_type()));
    Tensor dnoise = at::empty({noise ? n : 0, 1, a.height, a.width}, options), sums = at::zeros({2, n, 1, c}, options);
    if (dy.numel() > 0) {
        with_type("epilogue_backward", x.scalar_type(), [&](auto zero) {
            using T = decltype(zero);
            using A = compute_t<T>;
            const auto e = a.kernel<A>(padding);
            sums = at::empty({2, n, e.bands(), c}, options);
            A *const dd = output<A>(sums), *const db = dd + sums.numel() / 2;
            const EpilogueGradients<T> out{output<T>(dx), dd, noise ? output<A>(dnoise) : nullptr, db};
            auto kernel = e.act.bounded ? &epilogue_backward_tasks<true, T> : &epilogue_backward_tasks<false, T>;
            run_tasks(e.tasks(), dy.numel() / e.tasks(), [&](int64_t begin, int64_t end) {
                kernel(input<T>(a.x), input<T>(dy), out, e, begin, end);
            });
        });
    }
    if (noise && noise->dim() == 2) dnoise = dnoise.sum(at::IntArrayRef({0, 1}));
    const Tensor dd = sums[0].sum(1), db = sums[1].sum(at::IntArrayRef({0, 1}));
    return {dx, d ? dd : absent(x), noise ? dnoise : absent(x), b ? db : absent(x)};
}

Tensor epilogue_meta(
    const Tensor& x, const Optional& f, Padding padding, const Optional&, const Optional&, const Optional&, double,
    double, Clamp) {
    const auto sizes = f ? filtered_sizes(x, *f, padding) : x.sym_sizes().vec();
    return at::empty_symint(sizes, x.options(), kNHWC);
}

Gradients epilogue_backward_meta(
    const Tensor&, const Tensor& x, const Optional&, Padding, const Optional& d, const Optional& noise,
    const Optional& b, double, double, Clamp) {
    const auto options = x.options().dtype(compute_type(x.scalar_type()));
    const auto like = [&](const Optional& t) {
        return t ? at::empty_symint(t->sym_sizes(), options) : absent(x);
    };
    return {at::empty_symint(x.sym_sizes(), x.options(), kNHWC), like(d), like(noise), like(b)};
}

Gradients epilogue_backward(
    const Tensor& dy, const Tensor& x, const Optional& f, Padding padding, const Optional& d, const Optional& noise,
    const Optional& b, double slope, double gain, Clamp clamp) {
    static const auto op = find_operator<decltype(epilogue_backward_meta)>("ganfoundry::epilogue_backward");
    return op.call(dy, x, f, padding, d, noise, b, slope, gain, clamp);
}

void save_settings(AutogradContext* ctx, Padding padding, double slope, double gain, Clamp clamp) {
    ctx->saved_data["padding"] = padding;
    ctx->saved_data["slope"] = slope;
    ctx->saved_data["gain"] = gain;
    ctx->saved_data["clamp"] = clamp;
}

// The gradient, whose own gradient is ganfoundry::epilogue_second. Piecewise constant in noise and b.
struct EpilogueBackwardFunction : torch::autograd::Function<EpilogueBackwardFunction> {
    static variable_list forward(
        AutogradContext* ctx, const Tensor& dy, const Tensor& x, const Optional& f, Padding padding, const Optional& d,
        const Optional& noise, const Optional& b, double slope, double gain, Clamp clamp) {
        at::AutoDispatchBelowADInplaceOrView below;
        ctx->set_materialize_grads(false);
        ctx->save_for_backward({dy, x, or_none(f), or_none(d), or_none(noise), or_none(b)});
        save_settings(ctx, padding, slope, gain, clamp);
        const auto [dx, dd, dnoise, db] = epilogue_backward(dy, x, f, padding, d, noise, b, slope, gain, clamp);
        variable_list absent_ones;
        if (!d) absent_ones.push_back(dd);
        if (!noise) absent_ones.push_back(dnoise);
        if (!b) absent_ones.push_back(db);
        ctx->mark_non_differentiable(absent_ones);
        return {dx, dd, dnoise, db};
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const variable_list t = ctx->get_saved_variables();
        auto& saved = ctx->saved_data;
        const auto [for_dy, for_x, for_d] = call_epilogue_second(
            {maybe(grads[0]), maybe(grads[1]), maybe(grads[2]), maybe(grads[3])}, t[0], t[1], maybe(t[2]),
            saved["padding"].toSymIntVector(), maybe(t[3]), maybe(t[4]), maybe(t[5]), saved["slope"].toDouble(),
            saved["gain"].toDouble(), saved["clamp"].toOptional<double>());
        const Tensor g_d = for_d.defined() && t[3].defined() ? for_d.to(t[3].scalar_type()) : Tensor();
        return {for_dy, for_x, Tensor(), Tensor(), g_d, Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
    }
};

struct EpilogueFunction : torch::autograd::Function<EpilogueFunction> {
    static Tensor forward(
        AutogradContext* ctx, const Tensor& x, const Optional& f, Padding padding, const Optional& d,
        const Optional& noise, const Optional& b, double slope, double gain, Clamp clamp) {
        at::AutoDispatchBelowADInplaceOrView below;
        ctx->save_for_backward({x, or_none(f), or_none(d), or_none(noise), or_none(b)});
        save_settings(ctx, padding, slope, gain, clamp);
        return call_epilogue(x, f, padding, d, noise, b, slope, gain, clamp);
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const variable_list t = ctx->get_saved_variables();
        auto& saved = ctx->saved_data;
        const auto [dx, dd, dnoise, db] = epilogue_backward(
            grads[0], t[0], maybe(t[1]), saved["padding"].toSymIntVector(), maybe(t[2]), maybe(t[3]), maybe(t[4]),
            saved["slope"].toDouble(), saved["gain"].toDouble(), saved["clamp"].toOptional<double>());
        const auto as = [](const Tensor& g, const Tensor& like) {
            return like.defined() ? g.to(like.scalar_type()) : Tensor();
        };
        return {dx, Tensor(), Tensor(), as(dd, t[2]), as(dnoise, t[3]), as(db, t[4]), Tensor(), Tensor(), Tensor()};
    }
};

Tensor epilogue_autograd(
    const Tensor& x, const Optional& f, Padding padding, const Optional& d, const Optional& noise, const Optional& b,
    double slope, double gain, Clamp clamp) {
    return EpilogueFunction::apply(x, f, padding, d, noise, b, slope, gain, clamp);
}

Gradients epilogue_backward_autograd(
    const Tensor& dy, const Tensor& x, const Optional& f, Padding padding, const Optional& d, const Optional& noise,
    const Optional& b, double slope, double gain, Clamp clamp) {
    const variable_list all = EpilogueBackwardFunction::apply(dy, x, f, padding, d, noise, b, slope, gain, clamp);
    return {all[0], all[1], all[2], all[3]};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(ganfoundry, m) {
    m.def(
        "epilogue(Tensor x, Tensor? f, SymInt[] padding, Tensor? d, Tensor? noise, Tensor? b, float slope, "
        "float gain, float? clamp) -> Tensor");
    m.def(
        "epilogue_backward(Tensor dy, Tensor x, Tensor? f, SymInt[] padding, Tensor? d, Tensor? noise, Tensor? b, "
        "float slope, float gain, float? clamp) -> (Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(ganfoundry, CPU, m) {
    m.impl("epilogue", epilogue_cpu);
    m.impl("epilogue_backward", epilogue_backward_cpu);
}

TORCH_LIBRARY_IMPL(ganfoundry, Meta, m) {
    m.impl("epilogue", epilogue_meta);
    m.impl("epilogue_backward", epilogue_backward_meta);
}

TORCH_LIBRARY_IMPL(ganfoundry, Autograd, m) {
    m.impl("epilogue", epilogue_autograd);
    m.impl("epilogue_backward", epilogue_backward_autograd);
}

}  // namespace ganfoundry
