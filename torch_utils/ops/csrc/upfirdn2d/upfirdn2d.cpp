// Operators ganfoundry::upfirdn2d, which is its own gradient, and ganfoundry::upfirdn2d_add, which adds it to an image.

#include "upfirdn2d/upfirdn2d.h"

#include "common/operators.h"

namespace ganfoundry {
namespace {

Tensor upfirdn2d_cpu(
    const Tensor& x_, const Tensor& f_, at::IntArrayRef up, at::IntArrayRef down, at::IntArrayRef padding) {
    TORCH_CHECK_VALUE(x_.dim() == 4 && f_.dim() == 2 && f_.numel() > 0, "upfirdn2d: x [N, C, H, W] and f [fh, fw]");
    const Tensor x = x_.contiguous(format_of(x_));
    const Tensor f = f_.to(at::kDouble).contiguous();
    const Upfirdn2d g = geometry_of(x, f, up, down, padding);
    const Tensor y = at::empty({x.size(0), x.size(1), g.y.out, g.x.out}, x.options(), format_of(x));
    if (y.numel() == 0) return y;
    if (x.numel() == 0) return y.zero_();
    with_type("upfirdn2d", x.scalar_type(), [&](auto zero) {
        using T = decltype(zero);
        const double tolerance = x.scalar_type() == at::kDouble ? 1e-15 : 1e-6;
        const Plan<compute_t<T>> plan(g, input<double>(f), tolerance);
        run_tasks(g.planes * g.y.out, g.x.out * g.pixel, [&](int64_t begin, int64_t end) {
            upfirdn2d_rows<T>(input<T>(x), output<T>(y), plan, begin, end);
        });
    });
    return y;
}

Tensor upfirdn2d_add_cpu(
    const Tensor& r, const Tensor& x, const Tensor& f, at::IntArrayRef up, at::IntArrayRef down,
    at::IntArrayRef padding) {
    const Tensor y = upfirdn2d_cpu(x, f, up, down, padding);
    TORCH_CHECK_VALUE(r.sizes() == y.sizes() && r.dtype() == y.dtype(), "upfirdn2d_add: r's shape or type");
    return y.add_(r);
}

Tensor upfirdn2d_meta(
    const Tensor& x, const Tensor& f, at::IntArrayRef up, at::IntArrayRef down, c10::SymIntArrayRef padding) {
    const auto height = output_size<c10::SymInt>(x.sym_size(2), f.size(0), 1, up, down, padding);
    const auto width = output_size<c10::SymInt>(x.sym_size(3), f.size(1), 0, up, down, padding);
    return at::empty_symint({x.sym_size(0), x.sym_size(1), height, width}, x.options(), format_of(x));
}

Tensor upfirdn2d(
    const Tensor& x, const Tensor& f, at::IntArrayRef up, at::IntArrayRef down, c10::SymIntArrayRef padding) {
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("ganfoundry::upfirdn2d", "")
                               .typed<decltype(upfirdn2d_meta)>();
    return op.call(x, f, up, down, padding);
}

// The transpose is a map of the same kind: up and down are swapped, the filter is reversed.
struct Upfirdn2dFunction : torch::autograd::Function<Upfirdn2dFunction> {
    static Tensor forward(
        AutogradContext* ctx, const Tensor& x, const Tensor& f, at::IntArrayRef up, at::IntArrayRef down,
        c10::SymIntArrayRef padding) {
        at::AutoDispatchBelowADInplaceOrView below;
        const Tensor y = upfirdn2d(x, f, up, down, padding);
        remember(ctx, x, f, y, up, down, padding);
        return y;
    }

    static void remember(
        AutogradContext* ctx, const Tensor& x, const Tensor& f, const Tensor& y, at::IntArrayRef up,
        at::IntArrayRef down, c10::SymIntArrayRef padding) {
        ctx->save_for_backward({f});
        ctx->saved_data["up"] = up;
        ctx->saved_data["down"] = down;
        ctx->saved_data["padding"] = c10::SymIntArrayRef(transposed_padding(x, f, y, up, down, padding));
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const Tensor f = ctx->get_saved_variables()[0].flip({0, 1});
        const auto up = ctx->saved_data["up"].toIntVector(), down = ctx->saved_data["down"].toIntVector();
        const auto padding = ctx->saved_data["padding"].toSymIntVector();
        return {upfirdn2d(grads[0], f, down, up, padding), Tensor(), Tensor(), Tensor(), Tensor()};
    }

    static std::vector<c10::SymInt> transposed_padding(
        const Tensor& x, const Tensor& f, const Tensor& y, at::IntArrayRef up, at::IntArrayRef down,
        c10::SymIntArrayRef padding) {
        std::vector<c10::SymInt> result;
        for (int64_t axis = 0; axis < 2; ++axis) {
            const auto in = x.sym_size(3 - axis), out = y.sym_size(3 - axis), before = padding[2 * axis];
            result.push_back(f.size(1 - axis) - 1 - before);
            result.push_back(in * up[axis] - out * down[axis] + before - up[axis] + 1);
        }
        return result;
    }
};

Tensor upfirdn2d_autograd(
    const Tensor& x, const Tensor& f, at::IntArrayRef up, at::IntArrayRef down, c10::SymIntArrayRef padding) {
    return Upfirdn2dFunction::apply(x, f, up, down, padding);
}

Tensor upfirdn2d_add_meta(
    const Tensor&, const Tensor& x, const Tensor& f, at::IntArrayRef up, at::IntArrayRef down,
    c10::SymIntArrayRef padding) {
    return upfirdn2d_meta(x, f, up, down, padding);
}

Tensor upfirdn2d_add(
    const Tensor& r, const Tensor& x, const Tensor& f, at::IntArrayRef up, at::IntArrayRef down,
    c10::SymIntArrayRef padding) {
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("ganfoundry::upfirdn2d_add", "")
                               .typed<decltype(upfirdn2d_add_meta)>();
    return op.call(r, x, f, up, down, padding);
}

struct Upfirdn2dAddFunction : torch::autograd::Function<Upfirdn2dAddFunction> {
    static Tensor forward(
        AutogradContext* ctx, const Tensor& r, const Tensor& x, const Tensor& f, at::IntArrayRef up,
        at::IntArrayRef down, c10::SymIntArrayRef padding) {
        at::AutoDispatchBelowADInplaceOrView below;
        const Tensor y = upfirdn2d_add(r, x, f, up, down, padding);
        Upfirdn2dFunction::remember(ctx, x, f, y, up, down, padding);
        return y;
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        variable_list result = Upfirdn2dFunction::backward(ctx, grads);
        result.insert(result.begin(), grads[0]);
        return result;
    }
};

Tensor upfirdn2d_add_autograd(
    const Tensor& r, const Tensor& x, const Tensor& f, at::IntArrayRef up, at::IntArrayRef down,
    c10::SymIntArrayRef padding) {
    return Upfirdn2dAddFunction::apply(r, x, f, up, down, padding);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(ganfoundry, m) {
    m.def("upfirdn2d(Tensor x, Tensor f, int[] up, int[] down, SymInt[] padding) -> Tensor");
    m.def(
        "upfirdn2d_add(Tensor r, Tensor x, Tensor f, int[] up, int[] down, SymInt[] padding) -> Tensor");
}

TORCH_LIBRARY_IMPL(ganfoundry, CPU, m) {
    m.impl("upfirdn2d", upfirdn2d_cpu);
    m.impl("upfirdn2d_add", upfirdn2d_add_cpu);
}

TORCH_LIBRARY_IMPL(ganfoundry, Meta, m) {
    m.impl("upfirdn2d", upfirdn2d_meta);
    m.impl("upfirdn2d_add", upfirdn2d_add_meta);
}

TORCH_LIBRARY_IMPL(ganfoundry, Autograd, m) {
    m.impl("upfirdn2d", upfirdn2d_autograd);
    m.impl("upfirdn2d_add", upfirdn2d_add_autograd);
}

}  // namespace ganfoundry
