// Operators ganfoundry::modulation, its gradient modulation_backward, and the gradient of that, modulation_second.
//
// Letters: N batch, I and O input and output channels; s [N, I] styles, q [O, I] sums of a kernel's squares over its
// taps, a [N] 1 / the largest |s| of a sample if `normalize`, else 1, without a gradient. s' = a s.
//
//     d = (u q^T + eps)^(-1/2),  u = s'^2
//
// With the gradients ds' of s' and dd of d, and t = -dd d^3 / 2:
//
//     ds = a (ds' + 2 s' (t q)),  dq = t^T u
//
// With the gradients G of ds and H of dq, G' = a G, P = 2 s' G' q^T + u H^T and r = 3 dd d^5 P / 4:
//
//     of ds': G';  of dd: -d^3 P / 2;  of s: a (2 G' (t q) + 2 s' (t H + r q));  of q: t^T (2 s' G') + r^T u

#include "common/calls.h"

namespace ganfoundry {
namespace {

using Pair = std::tuple<Tensor, Tensor>;
using Three = std::tuple<Tensor, Tensor, Tensor>;
using Four = std::tuple<Tensor, Tensor, Tensor, Tensor>;

constexpr double kEps = 1e-8;

Three modulation_cpu(const Tensor& s_, const Tensor& q, at::ScalarType dtype, bool normalize) {
    const Tensor a = normalize ? 1 / s_.abs().amax(1) : at::ones({s_.size(0)}, s_.options());
    const Tensor s = s_ * a.unsqueeze(1);
    return {s.to(dtype, false, true), (s.square().matmul(q.t()) + kEps).rsqrt(), a};
}

Three modulation_meta(const Tensor& s, const Tensor& q, at::ScalarType dtype, bool) {
    return {
        at::empty_symint(s.sym_sizes(), s.options().dtype(dtype)),
        at::empty_symint({s.sym_size(0), q.sym_size(0)}, s.options()),
        at::empty_symint({s.sym_size(0)}, s.options())};
}

Pair backward_of(
    const Optional& ds_, const Optional& dd, const Tensor& s_, const Tensor& q, const Tensor& d, const Tensor& a_) {
    const Tensor a = a_.unsqueeze(1), s = s_ * a;
    Tensor ds = ds_ ? ds_->to(s.scalar_type()) : at::zeros_like(s), dq = at::zeros_like(q);
    if (dd) {
        const Tensor t = *dd * d.pow(3) * -0.5;
        ds = ds + t.matmul(q) * (2 * s);
        dq = t.t().matmul(s.square());
    }
    return {ds * a, dq};
}

Pair modulation_backward_cpu(
    const Optional& ds, const Optional& dd, const Tensor& s, const Tensor& q, const Tensor& d, const Tensor& a,
    at::ScalarType) {
    return backward_of(ds, dd, s, q, d, a);
}

Pair modulation_backward_meta(
    const Optional&, const Optional&, const Tensor& s, const Tensor& q, const Tensor&, const Tensor&,
    at::ScalarType) {
    return {at::empty_symint(s.sym_sizes(), s.options()), at::empty_symint(q.sym_sizes(), q.options())};
}

Four modulation_second_cpu(
    const Optional& G_, const Optional& H_, const Optional& dd_, const Tensor& s_, const Tensor& q, const Tensor& d,
    const Tensor& a_, at::ScalarType dtype) {
    const Tensor a = a_.unsqueeze(1), s = s_ * a, u = s.square();
    const Tensor G = G_ ? *G_ * a : at::zeros_like(s), H = H_ ? *H_ : at::zeros_like(q);
    const Tensor dd = dd_ ? *dd_ : at::zeros_like(d);
    const Tensor t = dd * d.pow(3) * -0.5, P = (2 * s * G).matmul(q.t()) + u.matmul(H.t());
    const Tensor r = dd * d.pow(5) * P * 0.75;
    return {
        G.to(dtype), d.pow(3) * P * -0.5, (2 * G * t.matmul(q) + 2 * s * (t.matmul(H) + r.matmul(q))) * a,
        t.t().matmul(2 * s * G) + r.t().matmul(u)};
}

Four modulation_second_meta(
    const Optional&, const Optional&, const Optional&, const Tensor& s, const Tensor& q, const Tensor& d,
    const Tensor&, at::ScalarType dtype) {
    return {
        at::empty_symint(s.sym_sizes(), s.options().dtype(dtype)), at::empty_symint(d.sym_sizes(), d.options()),
        at::empty_symint(s.sym_sizes(), s.options()), at::empty_symint(q.sym_sizes(), q.options())};
}

Pair modulation_backward(
    const Optional& ds, const Optional& dd, const Tensor& s, const Tensor& q, const Tensor& d, const Tensor& a,
    at::ScalarType dtype) {
    static const auto op = find_operator<decltype(modulation_backward_meta)>("ganfoundry::modulation_backward");
    return op.call(ds, dd, s, q, d, a, dtype);
}

struct Modulation : torch::autograd::Function<Modulation> {
    static variable_list forward(
        AutogradContext* ctx, const Tensor& s, const Tensor& q, at::ScalarType dtype, bool normalize) {
        at::AutoDispatchBelowADInplaceOrView below;
        static const auto op = find_operator<decltype(modulation_meta)>("ganfoundry::modulation");
        const auto [low, d, a] = op.call(s, q, dtype, normalize);
        ctx->save_for_backward({s, q, d, a});
        ctx->mark_non_differentiable({a});
        ctx->set_materialize_grads(false);
        ctx->saved_data["dtype"] = dtype;
        return {low, d, a};
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const variable_list t = ctx->get_saved_variables();
        const auto [ds, dq] = modulation_backward(
            maybe(grads[0]), maybe(grads[1]), t[0], t[1], t[2].detach(), t[3],
            ctx->saved_data["dtype"].toScalarType());
        return {ds, dq, Tensor(), Tensor()};
    }
};

Three modulation_autograd(const Tensor& s, const Tensor& q, at::ScalarType dtype, bool normalize) {
    const variable_list out = Modulation::apply(s, q, dtype, normalize);
    return {out[0], out[1], out[2]};
}

// d counts as a function of s and q: its own gradient is none.
struct ModulationBackward : torch::autograd::Function<ModulationBackward> {
    static variable_list forward(
        AutogradContext* ctx, const Optional& ds, const Optional& dd, const Tensor& s, const Tensor& q,
        const Tensor& d, const Tensor& a, at::ScalarType dtype) {
        at::AutoDispatchBelowADInplaceOrView below;
        const auto [of_s, of_q] = modulation_backward(ds, dd, s, q, d, a, dtype);
        ctx->save_for_backward({or_none(dd), s, q, d, a});
        ctx->set_materialize_grads(false);
        ctx->saved_data["dtype"] = dtype;
        ctx->saved_data["has_ds"] = ds.has_value();
        return {of_s, of_q};
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const variable_list t = ctx->get_saved_variables();
        TORCH_CHECK(!at::GradMode::is_enabled(), "modulation is differentiable twice");
        static const auto op = find_operator<decltype(modulation_second_meta)>("ganfoundry::modulation_second");
        const auto [of_ds, of_dd, of_s, of_q] = op.call(
            maybe(grads[0]), maybe(grads[1]), maybe(t[0]), t[1], t[2], t[3], t[4],
            ctx->saved_data["dtype"].toScalarType());
        variable_list result;
        result.push_back(ctx->saved_data["has_ds"].toBool() ? of_ds : Tensor());
        result.push_back(t[0].defined() ? of_dd : Tensor());
        for (const Tensor& grad : {of_s, of_q}) result.push_back(grad);
        result.resize(7);
        return result;
    }
};

Pair modulation_backward_autograd(
    const Optional& ds, const Optional& dd, const Tensor& s, const Tensor& q, const Tensor& d, const Tensor& a,
    at::ScalarType dtype) {
    const variable_list out = ModulationBackward::apply(ds, dd, s, q, d, a, dtype);
    return {out[0], out[1]};
}

// Differentiable as a function of its arguments; ModulationBackward, for which d is a function of s and q, asks for two
// derivatives at most.
Four modulation_second_autograd(
    const Optional& G, const Optional& H, const Optional& dd, const Tensor& s, const Tensor& q, const Tensor& d,
    const Tensor& a, at::ScalarType dtype) {
    const auto requires_grad = [](const Optional& t) { return t && t->requires_grad(); };
    const bool builds = requires_grad(G) || requires_grad(H) || requires_grad(dd) || s.requires_grad() ||
                        q.requires_grad() || d.requires_grad() || a.requires_grad();
    if (builds && at::GradMode::is_enabled()) return modulation_second_cpu(G, H, dd, s, q, d, a, dtype);
    at::AutoDispatchBelowADInplaceOrView below;
    static const auto op = find_operator<decltype(modulation_second_meta)>("ganfoundry::modulation_second");
    return op.call(G, H, dd, s, q, d, a, dtype);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(ganfoundry, m) {
    m.def("modulation(Tensor s, Tensor q, ScalarType dtype, bool normalize) -> (Tensor, Tensor, Tensor)");
    m.def(
        "modulation_backward(Tensor? ds, Tensor? dd, Tensor s, Tensor q, Tensor d, Tensor a, ScalarType dtype) "
        "-> (Tensor, Tensor)");
    m.def(
        "modulation_second(Tensor? G, Tensor? H, Tensor? dd, Tensor s, Tensor q, Tensor d, Tensor a, "
        "ScalarType dtype) -> (Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(ganfoundry, CPU, m) {
    m.impl("modulation", modulation_cpu);
    m.impl("modulation_backward", modulation_backward_cpu);
    m.impl("modulation_second", modulation_second_cpu);
}

TORCH_LIBRARY_IMPL(ganfoundry, Meta, m) {
    m.impl("modulation", modulation_meta);
    m.impl("modulation_backward", modulation_backward_meta);
    m.impl("modulation_second", modulation_second_meta);
}

TORCH_LIBRARY_IMPL(ganfoundry, Autograd, m) {
    m.impl("modulation", modulation_autograd);
    m.impl("modulation_backward", modulation_backward_autograd);
    m.impl("modulation_second", modulation_second_autograd);
}

}  // namespace ganfoundry
