// Operator ganfoundry::epilogue_second, the gradient of ganfoundry::epilogue_backward. It has a kernel for CPUs; on other
// devices, and while a graph of it is built, it consists of operators.

#include "epilogue/epilogue_second.h"

#include <torch/csrc/autograd/functions/utils.h>

#include "common/calls.h"
#include "common/wide_sum.h"
#include "epilogue/epilogue_arguments.h"
#include "epilogue/epilogue_calls.h"

namespace ganfoundry {
namespace {

using Gradients = std::tuple<Tensor, Tensor, Tensor>;  // gradients of dy, x and d; empty if zero

// Sizes [N, C, H', W'] of dy, in its memory format.
Tensor zeros_like_dy(const Tensor& dy) { return at::zeros_like(dy, dy.options(), kNHWC); }

Tensor sum_or_first(const Tensor& sum, const Tensor& term) { return sum.defined() ? sum + term : term; }

// The formula of epilogue_second.h as differentiable operations, one pass over memory each.
std::array<Tensor, 3> by_parts(
    const EpilogueGrads& g, const Tensor& dy, const Tensor& x, const Optional& f, Padding padding, const Optional& d,
    const Optional& noise, const Optional& b, double slope, double gain, Clamp clamp) {
    const auto per_channel = [&](const Tensor& t) { return t.to(x.scalar_type()).unsqueeze(2).unsqueeze(3); };
    Tensor y;
    if (b || slope != 1 || gain != 1 || clamp) {
        at::NoGradGuard constant;  // m depends on the signs of y and the clamped values only
        y = call_epilogue(x, f, padding, d, noise, b, slope, gain, clamp);
    }
    const auto times_m = [&](const Tensor& t) {
        return y.defined() ? std::get<0>(call_bias_act_grad(t, y, slope, gain, clamp)) : t;
    };
    Tensor for_dy, for_x, for_d, dv;
    if (g.dd || (d && g.dx)) dv = times_m(dy);
    if (g.dx) {
        const Tensor h = f ? call_upfirdn2d(*g.dx, *f, padding) : *g.dx;
        for_dy = d ? h * per_channel(*d) : h;
        if (d) for_d = WideSum::apply(dv * h, std::vector<int64_t>{2, 3}, compute_type(x.scalar_type())).flatten(1);
    }
    if (g.dd) {
        const Tensor u = f ? call_upfirdn2d(x, *f, padding) : x, gu = dv * per_channel(*g.dd);
        for_dy = sum_or_first(for_dy, u * per_channel(*g.dd));
        for_x = f ? call_upfirdn2d_transposed(gu, *f, padding) : gu;
    }
    if (!for_dy.defined()) for_dy = zeros_like_dy(dy);
    if (g.dnoise) for_dy = for_dy + g.dnoise->to(x.scalar_type());
    if (g.db) for_dy = for_dy + g.db->to(x.scalar_type()).view({1, -1, 1, 1});
    return {times_m(for_dy), for_x, for_d};
}

Gradients epilogue_second_cpu(
    const Optional& gx, const Optional& gd, const Optional& gnoise, const Optional& gb, const Tensor& dy_,
    const Tensor& x, const Optional& f, at::IntArrayRef padding, const Optional& d, const Optional& noise,
    const Optional& b, double slope, double gain, Clamp clamp) {
    const EpilogueArguments a(x, f, padding, d, noise, b, slope, gain, clamp);
    if (!a.outer) {
        auto [for_dy, for_x, for_d] = by_parts(
            {gx, gd, gnoise, gb}, dy_, x, f, c10::fromIntArrayRefSlow(padding), d, noise, b, slope, gain, clamp);
        return {for_dy, for_x.defined() ? for_x : absent(x), for_d.defined() ? for_d : absent(x)};
    }
    const Tensor of_dx = gx ? gx->to(x.scalar_type()) : at::zeros_like(a.x);
    const EpilogueArguments of_g(of_dx, f, padding, gd, gnoise, gb, slope, gain, clamp);
    const int64_t n = x.size(0), c = x.size(1);
    const Tensor dy = dy_.to(x.scalar_type()).contiguous(kNHWC), for_dy = at::empty_like(dy);
    TORCH_CHECK_VALUE(dy.sizes() == at::IntArrayRef({n, c, a.height, a.width}), "epilogue_second: dy's shape");
    const Tensor for_x = at::empty_like(a.x);
    Tensor sums = at::zeros({n, 1, c}, x.options().dtype(compute_type(x.scalar_type())));
    if (dy.numel() > 0) {
        with_type("epilogue_second", x.scalar_type(), [&](auto zero) {
            using T = decltype(zero);
            using A = compute_t<T>;
            const auto e = a.kernel<A>(padding), g = of_g.kernel<A>(padding);
            sums = at::empty({n, e.bands(), c}, sums.options());
            const EpilogueSecondGradients<T> out{output<T>(for_dy), output<T>(for_x), output<A>(sums)};
            auto kernel = e.act.bounded ? &epilogue_second_tasks<true, T> : &epilogue_second_tasks<false, T>;
            run_tasks(e.tasks(), dy.numel() / e.tasks(), [&](int64_t begin, int64_t end) {
                kernel(input<T>(of_g.x), input<T>(dy), input<T>(a.x), out, g, e, begin, end);
            });
        });
    }
    return {for_dy, gd ? for_x : absent(x), d && gx ? sums.sum(1) : absent(x)};
}

Gradients epilogue_second_meta(
    const Optional& gx, const Optional& gd, const Optional&, const Optional&, const Tensor& dy, const Tensor& x,
    const Optional&, Padding, const Optional& d, const Optional&, const Optional&, double, double, Clamp) {
    const auto wide = x.options().dtype(compute_type(x.scalar_type()));
    return {
        at::empty_symint(dy.sym_sizes(), x.options(), kNHWC),
        gd ? at::empty_symint(x.sym_sizes(), x.options(), kNHWC) : absent(x),
        d && gx ? at::empty_symint(d->sym_sizes(), wide) : absent(x)};
}

Gradients epilogue_second_autograd(
    const Optional& gx, const Optional& gd, const Optional& gnoise, const Optional& gb, const Tensor& dy,
    const Tensor& x, const Optional& f, Padding padding, const Optional& d, const Optional& noise, const Optional& b,
    double slope, double gain, Clamp clamp) {
    auto [for_dy, for_x, for_d] =
        call_epilogue_second({gx, gd, gnoise, gb}, dy, x, f, padding, d, noise, b, slope, gain, clamp);
    return {for_dy, for_x.defined() ? for_x : absent(x), for_d.defined() ? for_d : absent(x)};
}

}  // namespace

std::array<Tensor, 3> call_epilogue_second(
    const EpilogueGrads& g, const Tensor& dy, const Tensor& x, const Optional& f, Padding padding, const Optional& d,
    const Optional& noise, const Optional& b, double slope, double gain, Clamp clamp) {
    const bool graph = torch::autograd::compute_requires_grad(g.dx, g.dd, g.dnoise, g.db, dy, x, d);
    const bool has_kernel = (x.is_cpu() && x.scalar_type() != at::kHalf) || x.is_meta();
    if (graph || !has_kernel) {
        return by_parts(g, dy, x, f, padding, d, noise, b, slope, gain, clamp);
    }
    static const auto op = find_operator<decltype(epilogue_second_meta)>("ganfoundry::epilogue_second");
    at::AutoDispatchBelowADInplaceOrView below;
    auto [for_dy, for_x, for_d] =
        op.call(g.dx, g.dd, g.dnoise, g.db, dy, x, f, padding, d, noise, b, slope, gain, clamp);
    return {for_dy, g.dd ? for_x : Tensor(), d && g.dx ? for_d : Tensor()};
}

TORCH_LIBRARY_FRAGMENT(ganfoundry, m) {
    m.def(
        "epilogue_second(Tensor? gx, Tensor? gd, Tensor? gnoise, Tensor? gb, Tensor dy, Tensor x, Tensor? f, "
        "SymInt[] padding, Tensor? d, Tensor? noise, Tensor? b, float slope, float gain, float? clamp) "
        "-> (Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(ganfoundry, CPU, m) { m.impl("epilogue_second", epilogue_second_cpu); }

TORCH_LIBRARY_IMPL(ganfoundry, Meta, m) { m.impl("epilogue_second", epilogue_second_meta); }

TORCH_LIBRARY_IMPL(ganfoundry, Autograd, m) { m.impl("epilogue_second", epilogue_second_autograd); }

}  // namespace ganfoundry
