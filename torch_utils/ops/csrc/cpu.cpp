// The operators ganfoundry::bias_act, bias_act_grad and upfirdn2d: schemas, shapes, gradients, and their CPU kernels.
//
// Shapes (the Meta kernels, with which torch.compile and torch.export trace) and gradients hold for every device; a
// device adds an implementation. The gradients are written with these operators, so they exist to any order.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "bias_act.h"
#include "upfirdn2d.h"

namespace ganfoundry {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Clamp = std::optional<double>;

// ------------------------------------------------------------------------------------------------- both operators

// Elements that make a task worth a thread.
constexpr int64_t kGrain = 32768;

at::ScalarType compute_type(at::ScalarType type) { return type == at::kDouble ? at::kDouble : at::kFloat; }

at::MemoryFormat format_of(const Tensor& x) {
    return x.dim() == 4 ? x.suggest_memory_format() : at::MemoryFormat::Contiguous;
}

// run(T()) for the storage type T of `type`.
template <class F>
void with_type(const char* name, at::ScalarType type, F run) {
    switch (type) {
        case at::kFloat: return run(float());
        case at::kDouble: return run(double());
        case at::kBFloat16: return run(bfloat16());
        default: TORCH_CHECK_TYPE(false, name, ": the CPU kernel takes float32, float64 and bfloat16, got ", type);
    }
}

template <class T>
const T* input(const Tensor& x) {
    return static_cast<const T*>(x.const_data_ptr());
}

template <class T>
T* output(const Tensor& x) {
    return static_cast<T*>(x.mutable_data_ptr());
}

template <class F>
void run_tasks(int64_t tasks, int64_t length, F run) {
    at::parallel_for(0, tasks, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, length)), run);
}

// ------------------------------------------------------------------------------------------------------- bias_act

// How a dense x looks to the kernel: the axes in the order of memory, those before `dim` and those behind it.
Layout layout_of(const Tensor& x, int64_t dim) {
    std::vector<int64_t> axes(x.dim());
    std::iota(axes.begin(), axes.end(), 0);
    if (format_of(x) == at::MemoryFormat::ChannelsLast) axes = {0, 2, 3, 1};
    Layout layout{1, x.size(dim), 1};
    bool before = true;
    for (const int64_t axis : axes) {
        if (axis == dim) {
            before = false;
        } else {
            (before ? layout.outer : layout.inner) *= x.size(axis);
        }
    }
    return layout;
}

BiasAct parameters(double slope, double gain, const Clamp& clamp) {
    return {slope, gain, clamp.value_or(0), clamp.has_value()};
}

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

// Linear in dy, and constant in y, on whose sign alone it depends.
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
        if (grads[1].defined()) {  // db sums dx over all axes but `dim`; its transpose repeats along them
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

// ------------------------------------------------------------------------------------------------------ upfirdn2d

// Pairs are (x, y), paddings (x0, x1, y0, y1): axis 0 is x.
template <class Int>
Int output_size(Int in, int64_t taps, int64_t axis, at::IntArrayRef up, at::IntArrayRef down, at::ArrayRef<Int> padding) {
    return (in * up[axis] + padding[2 * axis] + padding[2 * axis + 1] - taps) / down[axis] + 1;
}

Axis axis_of(
    const Tensor& x, const Tensor& f, int64_t axis, at::IntArrayRef up, at::IntArrayRef down, at::IntArrayRef padding) {
    const int64_t in = x.size(3 - axis), taps = f.size(1 - axis);
    TORCH_CHECK_VALUE(
        in * up[axis] + padding[2 * axis] + padding[2 * axis + 1] >= taps, "upfirdn2d: nothing is left of ", x.sizes());
    const int64_t out = output_size<int64_t>(in, taps, axis, up, down, padding);
    return {in, out, up[axis], down[axis], padding[2 * axis], taps};
}

Tensor upfirdn2d_cpu(
    const Tensor& x_, const Tensor& f_, at::IntArrayRef up, at::IntArrayRef down, at::IntArrayRef padding) {
    TORCH_CHECK_VALUE(x_.dim() == 4 && f_.dim() == 2 && f_.numel() > 0, "upfirdn2d: x [N, C, H, W] and f [fh, fw]");
    const Tensor x = x_.contiguous(format_of(x_));
    const Tensor f = f_.to(at::kDouble).contiguous();
    const bool channels_last = format_of(x) == at::MemoryFormat::ChannelsLast;
    const Upfirdn2d g{
        channels_last ? x.size(0) : x.size(0) * x.size(1), channels_last ? x.size(1) : 1,
        axis_of(x, f, 1, up, down, padding), axis_of(x, f, 0, up, down, padding)};
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

// The transpose of a linear map of the kind is another: up and down change places, the filter is reversed.
struct Upfirdn2dFunction : torch::autograd::Function<Upfirdn2dFunction> {
    static Tensor forward(
        AutogradContext* ctx, const Tensor& x, const Tensor& f, at::IntArrayRef up, at::IntArrayRef down,
        c10::SymIntArrayRef padding) {
        at::AutoDispatchBelowADInplaceOrView below;
        const Tensor y = upfirdn2d(x, f, up, down, padding);
        ctx->save_for_backward({f});
        ctx->saved_data["up"] = up;
        ctx->saved_data["down"] = down;
        ctx->saved_data["padding"] = c10::SymIntArrayRef(transposed_padding(x, f, y, up, down, padding));
        return y;
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

}  // namespace

// --------------------------------------------------------------------------------------------------- registration

TORCH_LIBRARY(ganfoundry, m) {
    m.def("bias_act(Tensor x, Tensor b, int dim, float slope, float gain, float? clamp) -> Tensor");
    m.def("bias_act_grad(Tensor dy, Tensor y, int dim, float slope, float gain, float? clamp) -> (Tensor, Tensor)");
    m.def("upfirdn2d(Tensor x, Tensor f, int[] up, int[] down, SymInt[] padding) -> Tensor");
}

TORCH_LIBRARY_IMPL(ganfoundry, CPU, m) {
    m.impl("bias_act", bias_act_cpu);
    m.impl("bias_act_grad", bias_act_grad_cpu);
    m.impl("upfirdn2d", upfirdn2d_cpu);
}

TORCH_LIBRARY_IMPL(ganfoundry, Meta, m) {
    m.impl("bias_act", bias_act_meta);
    m.impl("bias_act_grad", bias_act_grad_meta);
    m.impl("upfirdn2d", upfirdn2d_meta);
}

TORCH_LIBRARY_IMPL(ganfoundry, Autograd, m) {
    m.impl("bias_act", bias_act_autograd);
    m.impl("bias_act_grad", bias_act_grad_autograd);
    m.impl("upfirdn2d", upfirdn2d_autograd);
}

}  // namespace ganfoundry
