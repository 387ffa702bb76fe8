// Operators ganfoundry::involution, ganfoundry::involution_adjoint and ganfoundry::involution_correlation: the maps
// I(x, w), A(y, w) and K(y, x) of involution.py. The gradients of each are the two others.

#include "involution/involution.h"

#include "common/operators.h"
#include "involution/involution_shapes.h"

namespace ganfoundry {
namespace {

using c10::SymInt;

template <class T>
Planes<const T> image_planes(const Tensor& x, const Involution& g) {
    return {input<T>(x), x.stride(0), g.members * x.stride(1), x.stride(1), x.stride(2), x.stride(3)};
}

template <class T>
Planes<const T> weight_planes(const Tensor& w) {
    return {input<T>(w), w.stride(0), w.stride(1), w.stride(2), w.stride(3), w.stride(4)};
}

template <class T>
Planes<T> writable(Planes<const T> planes, const Tensor& owner) {
    return {output<T>(owner), planes.sample, planes.group, planes.plane, planes.row, planes.column};
}

template <class T, class F>
void run_bands(const Involution& g, F make) {
    run_tasks(num_tasks(g), task_length(g), [&](int64_t begin, int64_t end) {
        BandMaker<T> maker(g);
        for (int64_t task = begin; task < end; ++task) make(maker, task);
    });
}

Tensor involution_cpu(const Tensor& x, const Tensor& w) {
    const Involution g = geometry_of("involution", x, w);
    const Tensor y = at::empty(x.sizes(), x.options(), format_of(x));
    if (y.numel() == 0) return y;
    with_type("involution", x.scalar_type(), [&](auto zero) {
        using T = decltype(zero);
        const auto from = image_planes<T>(x, g), weights = weight_planes<T>(w);
        const auto to = writable<T>(image_planes<T>(y, g), y);
        run_bands<T>(g, [&](BandMaker<T>& maker, int64_t task) { maker.involve(from, weights, to, task); });
    });
    return y;
}

Tensor involution_adjoint_cpu(const Tensor& y, const Tensor& w) {
    const Involution g = geometry_of("involution_adjoint", y, w);
    const Tensor x = at::empty(y.sizes(), y.options(), format_of(y));
    if (x.numel() == 0) return x;
    with_type("involution_adjoint", y.scalar_type(), [&](auto zero) {
        using T = decltype(zero);
        const auto from = image_planes<T>(y, g), weights = weight_planes<T>(w);
        const auto to = writable<T>(image_planes<T>(x, g), x);
        run_bands<T>(g, [&](BandMaker<T>& maker, int64_t task) { maker.transpose(from, weights, to, task); });
    });
    return x;
}

Tensor involution_correlation_cpu(const Tensor& y, const Tensor& x, int64_t groups, int64_t taps) {
    const Involution g = geometry_of("involution_correlation", y, x, groups, taps);
    const Tensor w = at::empty({g.samples, groups * taps, g.height, g.width}, x.options(), format_of(x))
                         .unflatten(1, {groups, taps});
    if (x.numel() == 0) return w.zero_();
    with_type("involution_correlation", x.scalar_type(), [&](auto zero) {
        using T = decltype(zero);
        const auto left = image_planes<T>(y, g), right = image_planes<T>(x, g);
        const auto to = writable<T>(weight_planes<T>(w), w);
        run_bands<T>(g, [&](BandMaker<T>& maker, int64_t task) { maker.correlate(left, right, to, task); });
    });
    return w;
}

// Meta kernels: images have the memory format of the argument, and so do the weights as images of G * K * K channels.
Tensor image_meta(const Tensor& image, const Tensor&) {
    return at::empty_symint(image.sym_sizes(), image.options(), format_of(image));
}

Tensor weight_meta(const Tensor&, const Tensor& x, SymInt groups, SymInt taps) {
    const SymInt planes = groups * taps;
    return at::empty_symint({x.sym_size(0), planes, x.sym_size(2), x.sym_size(3)}, x.options(), format_of(x))
        .unflatten_symint(1, {groups, taps});
}

Tensor involution(const Tensor& x, const Tensor& w) {
    static const auto op =
        c10::Dispatcher::singleton().findSchemaOrThrow("ganfoundry::involution", "").typed<decltype(image_meta)>();
    return op.call(x, w);
}

Tensor involution_adjoint(const Tensor& y, const Tensor& w) {
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("ganfoundry::involution_adjoint", "")
                               .typed<decltype(image_meta)>();
    return op.call(y, w);
}

Tensor involution_correlation(const Tensor& y, const Tensor& x, const SymInt& groups, const SymInt& taps) {
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("ganfoundry::involution_correlation", "")
                               .typed<decltype(weight_meta)>();
    return op.call(y, x, groups, taps);
}

// K(y, x), shaped as w is.
Tensor correlation_like(const Tensor& w, const Tensor& y, const Tensor& x) {
    return involution_correlation(y, x, w.sym_size(1), w.sym_size(2));
}

// y = I(x, w): gradients A(dy, w) and K(dy, x).
struct InvolutionFunction : torch::autograd::Function<InvolutionFunction> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w) {
        at::AutoDispatchBelowADInplaceOrView below;
        ctx->save_for_backward({x, w});
        return involution(x, w);
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const auto saved = ctx->get_saved_variables();
        const Tensor &x = saved[0], &w = saved[1], &dy = grads[0];
        return {
            ctx->needs_input_grad(0) ? involution_adjoint(dy, w) : Tensor(),
            ctx->needs_input_grad(1) ? correlation_like(w, dy, x) : Tensor()};
    }
};

// x = A(y, w): gradients I(dx, w) and K(y, dx).
struct AdjointFunction : torch::autograd::Function<AdjointFunction> {
    static Tensor forward(AutogradContext* ctx, const Tensor& y, const Tensor& w) {
        at::AutoDispatchBelowADInplaceOrView below;
        ctx->save_for_backward({y, w});
        return involution_adjoint(y, w);
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const auto saved = ctx->get_saved_variables();
        const Tensor &y = saved[0], &w = saved[1], &dx = grads[0];
        return {
            ctx->needs_input_grad(0) ? involution(dx, w) : Tensor(),
            ctx->needs_input_grad(1) ? correlation_like(w, y, dx) : Tensor()};
    }
};

// w = K(y, x): gradients I(x, dw) and A(y, dw).
struct CorrelationFunction : torch::autograd::Function<CorrelationFunction> {
    static Tensor forward(
        AutogradContext* ctx, const Tensor& y, const Tensor& x, const SymInt& groups, const SymInt& taps) {
        at::AutoDispatchBelowADInplaceOrView below;
        ctx->save_for_backward({y, x});
        return involution_correlation(y, x, groups, taps);
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const auto saved = ctx->get_saved_variables();
        const Tensor &y = saved[0], &x = saved[1], &dw = grads[0];
        return {
            ctx->needs_input_grad(0) ? involution(x, dw) : Tensor(),
            ctx->needs_input_grad(1) ? involution_adjoint(y, dw) : Tensor(), Tensor(), Tensor()};
    }
};

Tensor involution_autograd(const Tensor& x, const Tensor& w) { return InvolutionFunction::apply(x, w); }

Tensor involution_adjoint_autograd(const Tensor& y, const Tensor& w) { return AdjointFunction::apply(y, w); }

Tensor involution_correlation_autograd(const Tensor& y, const Tensor& x, SymInt groups, SymInt taps) {
    return CorrelationFunction::apply(y, x, groups, taps);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(ganfoundry, m) {
    m.def("involution(Tensor x, Tensor w) -> Tensor");
    m.def("involution_adjoint(Tensor y, Tensor w) -> Tensor");
    m.def("involution_correlation(Tensor y, Tensor x, SymInt groups, SymInt taps) -> Tensor");
}

TORCH_LIBRARY_IMPL(ganfoundry, CPU, m) {
    m.impl("involution", involution_cpu);
    m.impl("involution_adjoint", involution_adjoint_cpu);
    m.impl("involution_correlation", involution_correlation_cpu);
}

TORCH_LIBRARY_IMPL(ganfoundry, Meta, m) {
    m.impl("involution", image_meta);
    m.impl("involution_adjoint", image_meta);
    m.impl("involution_correlation", weight_meta);
}

TORCH_LIBRARY_IMPL(ganfoundry, Autograd, m) {
    m.impl("involution", involution_autograd);
    m.impl("involution_adjoint", involution_adjoint_autograd);
    m.impl("involution_correlation", involution_correlation_autograd);
}

}  // namespace ganfoundry
