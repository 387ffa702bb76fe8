// Operators ganfoundry::bias_act and ganfoundry::bias_act_grad, its gradient.

#include "bias_act/bias_act.h"

#include "common/operators.h"

namespace ganfoundry {
namespace {

using Clamp = std::optional<double>;

Tensor bias_act_cpu(const Tensor& x_, const Tensor& b_, int64_t dim, double slope, double gain, Clamp clamp) {
    const Tensor x = x_.contiguous(format_of(x_));
    const Tensor b = b_.to(compute_type(x.scalar_type())).contiguous();
    TORCH_CHECK_VALUE(b.dim() == 1 && b.size(0) == x.size(dim), "bias_act: b must have shape [", x.size(dim), "]");
    const Tensor y = at::empty_like(x);
    if (x.numel() == 0) return y;
    const Layout layout = layout_of(x, dim);
    const BiasAct p = parameters(slope, gain, clamp);
    with_type("bias_act", x.scalar_type(), [&](auto zero) {
        using T = decltype(zero);
        auto kernel = p.bounded ? &bias_act_tasks<true, T> : &bias_act_tasks<false, T>;
        run_tasks(num_tasks(layout), task_length(layout), [&](int64_t begin, int64_t end) {
            kernel(input<T>(x), input<compute_t<T>>(b), output<T>(y), layout, p, begin, end);
        });
    });
    return y;
}

std::tuple<Tensor, Tensor> bias_act_grad_cpu(
    const Tensor& dy_, const Tensor& y_, int64_t dim, double slope, double gain, Clamp clamp) {
    const Tensor y = y_.contiguous(format_of(y_));
    const Tensor dy = dy_.to(y.scalar_type()).contiguous(format_of(y_));
    TORCH_CHECK_VALUE(dy.sizes() == y.sizes(), "bias_act_grad: dy and y differ in shape");
    const Tensor dx = at::empty_like(y);
    const auto sum_options = y.options().dtype(compute_type(y.scalar_type()));
    if (y.numel() == 0) return {dx, at::zeros({y.size(dim)}, sum_options)};
    const Layout layout = layout_of(y, dim);
    const BiasAct p = parameters(slope, gain, clamp);
    const Tensor sums = at::empty({num_tasks(layout) * sum_columns(layout)}, sum_options);
    with_type("bias_act_grad", y.scalar_type(), [&](auto zero) {
        using T = decltype(zero);
        auto kernel = p.bounded ? &bias_act_grad_tasks<true, T> : &bias_act_grad_tasks<false, T>;
        run_tasks(num_tasks(layout), task_length(layout), [&](int64_t begin, int64_t end) {
            kernel(input<T>(dy), input<T>(y), output<T>(dx), output<compute_t<T>>(sums), layout, p, begin, end);
        });
    });
    return {dx, sums.view({-1, layout.channels}).sum(0)};
}

Tensor bias_act_meta(const Tensor& x, const Tensor&, int64_t, double, double, Clamp) {
    return at::empty_symint(x.sym_sizes(), x.options(), format_of(x));
}

std::tuple<Tensor, Tensor> bias_act_grad_meta(
    const Tensor&, const Tensor& y, int64_t dim, double, double, Clamp) {
    const Tensor dx = at::empty_symint(y.sym_sizes(), y.options(), format_of(y));
    return {dx, at::empty_symint({y.sym_size(dim)}, y.options().dtype(compute_type(y.scalar_type())))};
}

Tensor bias_act(const Tensor& x, const Tensor& b, int64_t dim, double slope, double gain, Clamp clamp) {
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("ganfoundry::bias_act", "")
                               .typed<decltype(bias_act_cpu)>();
    return op.call(x, b, dim, slope, gain, clamp);
}

std::tuple<Tensor, Tensor> bias_act_grad(
    const Tensor& dy, const Tensor& y, int64_t dim, double slope, double gain, Clamp clamp) {
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("ganfoundry::bias_act_grad", "")
                               .typed<decltype(bias_act_grad_cpu)>();
    return op.call(dy, y, dim, slope, gain, clamp);
}

void save_parameters(AutogradContext* ctx, int64_t dim, double slope, double gain, const Clamp& clamp) {
    ctx->saved_data["dim"] = dim;
    ctx->saved_data["slope"] = slope;
    ctx->saved_data["gain"] = gain;
    ctx->saved_data["clamp"] = clamp;
}

std::tuple<Tensor, Tensor> saved_gradient(AutogradContext* ctx, const Tensor& dy, const Tensor& y) {
    auto& saved = ctx->saved_data;
    return bias_act_grad(
        dy, y, saved["dim"].toInt(), saved["slope"].toDouble(), saved["gain"].toDouble(),
        saved["clamp"].toOptional<double>());
}

struct BiasActFunction : torch::autograd::Function<BiasActFunction> {
    static Tensor forward(
        AutogradContext* ctx, const Tensor& x, const Tensor& b, int64_t dim, double slope, double gain, Clamp clamp) {
        at::AutoDispatchBelowADInplaceOrView below;
        const Tensor y = bias_act(x, b, dim, slope, gain, clamp);
        ctx->save_for_backward({y});
        ctx->saved_data["b"] = int64_t(b.scalar_type());
        save_parameters(ctx, dim, slope, gain, clamp);
        return y;
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const auto [dx, db] = saved_gradient(ctx, grads[0], ctx->get_saved_variables()[0]);
        const auto type = at::ScalarType(ctx->saved_data["b"].toInt());
        return {dx, db.to(type), Tensor(), Tensor(), Tensor(), Tensor()};
    }
};

// Linear in dy and constant in y, because it depends on the sign of y only.
struct BiasActGradFunction : torch::autograd::Function<BiasActGradFunction> {
    static variable_list forward(
        AutogradContext* ctx, const Tensor& dy, const Tensor& y, int64_t dim, double slope, double gain, Clamp clamp) {
        at::AutoDispatchBelowADInplaceOrView below;
        const auto [dx, db] = bias_act_grad(dy, y, dim, slope, gain, clamp);
        ctx->save_for_backward({y});
        ctx->set_materialize_grads(false);
        save_parameters(ctx, dim, slope, gain, clamp);
        return {dx, db};
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const Tensor y = ctx->get_saved_variables()[0];
        Tensor v = grads[0];
        if (grads[1].defined()) {  // db sums dx over all axes except `dim`; its transpose repeats along them
            std::vector<c10::SymInt> shape(y.dim(), 1);
            const int64_t dim = ctx->saved_data["dim"].toInt();
            shape[dim] = y.sym_size(dim);
            const Tensor repeated = grads[1].to(y.scalar_type()).view_symint(shape).expand_symint(y.sym_sizes());
            v = v.defined() ? v + repeated : repeated;
        }
        const Tensor ddy = v.defined() ? std::get<0>(saved_gradient(ctx, v, y)) : Tensor();
        return {ddy, Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
    }
};

Tensor bias_act_autograd(const Tensor& x, const Tensor& b, int64_t dim, double slope, double gain, Clamp clamp) {
    return BiasActFunction::apply(x, b, dim, slope, gain, clamp);
}

std::tuple<Tensor, Tensor> bias_act_grad_autograd(
    const Tensor& dy, const Tensor& y, int64_t dim, double slope, double gain, Clamp clamp) {
    const variable_list result = BiasActGradFunction::apply(dy, y, dim, slope, gain, clamp);
    return {result[0], result[1]};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(ganfoundry, m) {
    m.def("bias_act(Tensor x, Tensor b, int dim, float slope, float gain, float? clamp) -> Tensor");
    m.def("bias_act_grad(Tensor dy, Tensor y, int dim, float slope, float gain, float? clamp) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(ganfoundry, CPU, m) {
    m.impl("bias_act", bias_act_cpu);
    m.impl("bias_act_grad", bias_act_grad_cpu);
}

TORCH_LIBRARY_IMPL(ganfoundry, Meta, m) {
    m.impl("bias_act", bias_act_meta);
    m.impl("bias_act_grad", bias_act_grad_meta);
}

TORCH_LIBRARY_IMPL(ganfoundry, Autograd, m) {
    m.impl("bias_act", bias_act_autograd);
    m.impl("bias_act_grad", bias_act_grad_autograd);
}

}  // namespace ganfoundry
