// Operator ganfoundry::convolution: PyTorch's convolution with another second derivative.
//
// PyTorch's derivative of a convolution's gradient computes the gradient of the weight as a convolution whose kernel is
// a whole feature map. Here it is the same gradient of a weight as in the first order. Every call consists of
// aten::convolution and aten::convolution_backward with the same arguments as without this operator, on every device,
// except that gradients of weights in bfloat16 may have a kernel of their own on a CPU (conv2d/weight_gradient.h).
//
// With y = w * x linear in both, dy the gradient of y, and A and B bilinear:
//     dx = A(dy, w)        gradient of the image
//     dw = B(dy, x)        gradient of the weight
//     db = sum(dy)
// and for gradients gx, gw, gb of (dx, dw, db):
//     gradient of dy = w * gx + gw * x + gb
//     gradient of x  = A(dy, gw)
//     gradient of w  = B(dy, gx)

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "conv2d/weight_gradient_call.h"

namespace ganfoundry {
namespace {

using Mask = std::array<bool, 3>;  // which gradients are wanted: of x, w and b

struct Geometry {
    std::vector<c10::SymInt> stride, padding, dilation, output_padding;
    bool transposed;
    c10::SymInt groups;

    void save(AutogradContext* ctx) const {
        ctx->saved_data["stride"] = c10::SymIntArrayRef(stride);
        ctx->saved_data["padding"] = c10::SymIntArrayRef(padding);
        ctx->saved_data["dilation"] = c10::SymIntArrayRef(dilation);
        ctx->saved_data["output_padding"] = c10::SymIntArrayRef(output_padding);
        ctx->saved_data["transposed"] = transposed;
        ctx->saved_data["groups"] = groups;
    }

    static Geometry load(AutogradContext* ctx) {
        auto& saved = ctx->saved_data;
        return {
            saved["stride"].toSymIntVector(), saved["padding"].toSymIntVector(), saved["dilation"].toSymIntVector(),
            saved["output_padding"].toSymIntVector(), saved["transposed"].toBool(), saved["groups"].toSymInt()};
    }
};

// The gradient of the weight by the project's own kernel; undefined if that does not take it or is slower.
Tensor own_weight_gradient(const Tensor& dy, const Tensor& x, const Tensor& w, const Geometry& g) {
    for (const Tensor& t : {dy, x, w}) {
        if (t.unsafeGetTensorImpl()->has_symbolic_sizes_strides()) return {};
    }
    const auto is_one = [](const c10::SymInt& d) { return d == 1; };
    if (g.groups != 1 || w.dim() != 4 || !std::all_of(g.dilation.begin(), g.dilation.end(), is_one)) return {};
    const std::vector<int64_t> kernel{w.size(2), w.size(3)};
    // The transpose has the roles of features and result exchanged.
    const auto [result, features] = g.transposed ? std::tie(x, dy) : std::tie(dy, x);
    if (!has_weight_gradient(result, features, kernel)) return {};
    const auto ints = [](const std::vector<c10::SymInt>& v) { return C10_AS_INTARRAYREF_SLOW(v); };
    return call_weight_gradient(result, features, kernel, ints(g.stride), ints(g.padding));
}

Tensor convolve(const Tensor& x, const Tensor& w, const std::optional<Tensor>& b, const Geometry& g);
std::array<Tensor, 3> gradients(const Tensor& dy, const Tensor& x, const Tensor& w, const Geometry& g, Mask mask);

// (dy, x, w) -> those of (dx, dw, db) that `mask` selects.
struct GradientsFunction : torch::autograd::Function<GradientsFunction> {
    static variable_list forward(
        AutogradContext* ctx, const Tensor& dy, const Tensor& x, const Tensor& w, const Geometry& g, Mask mask) {
        at::AutoDispatchBelowADInplaceOrView below;
        ctx->set_materialize_grads(false);
        ctx->save_for_backward({dy, x, w});
        g.save(ctx);
        ctx->saved_data["mask"] = c10::List<bool>({mask[0], mask[1], mask[2]});
        const Tensor dw = mask[1] ? own_weight_gradient(dy, x, w, g) : Tensor();
        const Mask rest = {mask[0], mask[1] && !dw.defined(), mask[2]};
        std::tuple<Tensor, Tensor, Tensor> all;
        if (rest[0] || rest[1] || rest[2]) {
            const std::vector<c10::SymInt> bias_size{dy.sym_size(1)};
            all = at::convolution_backward_symint(
                dy, x, w, rest[2] ? at::OptionalSymIntArrayRef(bias_size) : std::nullopt, g.stride, g.padding,
                g.dilation, g.transposed, g.output_padding, g.groups, rest);
        }
        variable_list wanted;
        if (mask[0]) wanted.push_back(std::get<0>(all));
        if (mask[1]) wanted.push_back(dw.defined() ? dw : std::get<1>(all));
        if (mask[2]) wanted.push_back(std::get<2>(all));
        return wanted;
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const variable_list saved = ctx->get_saved_variables();
        const Tensor &dy = saved[0], &x = saved[1], &w = saved[2];
        const Geometry g = Geometry::load(ctx);
        Tensor gx, gw, gb;  // undefined: zero
        size_t next = 0;
        const auto mask = ctx->saved_data["mask"].toBoolList();
        if (mask[0]) gx = grads[next++];
        if (mask[1]) gw = grads[next++];
        if (mask[2]) gb = grads[next++];
        Tensor for_dy, for_x, for_w;
        if (ctx->needs_input_grad(0)) for_dy = gradient_of_dy(dy, x, w, g, gx, gw, gb);
        if (ctx->needs_input_grad(1) && gw.defined()) for_x = gradients(dy, x, gw, g, {true, false, false})[0];
        if (ctx->needs_input_grad(2) && gx.defined()) for_w = gradients(dy, gx, w, g, {false, true, false})[1];
        return {for_dy, for_x, for_w, Tensor(), Tensor()};
    }

    static Tensor gradient_of_dy(
        const Tensor& dy, const Tensor& x, const Tensor& w, const Geometry& g, const Tensor& gx, const Tensor& gw,
        const Tensor& gb) {
        const auto bias = gb.defined() ? std::optional<Tensor>(gb) : std::nullopt;
        if (gx.defined() && gw.defined()) return convolve(gx, w, bias, g) + convolve(x, gw, std::nullopt, g);
        if (gx.defined()) return convolve(gx, w, bias, g);
        if (gw.defined()) return convolve(x, gw, bias, g);
        return gb.defined() ? gb.view({1, -1, 1, 1}).expand_symint(dy.sym_sizes()) : Tensor();
    }
};

struct ConvolutionFunction : torch::autograd::Function<ConvolutionFunction> {
    static Tensor forward(
        AutogradContext* ctx, const Tensor& x, const Tensor& w, const std::optional<Tensor>& b, const Geometry& g) {
        at::AutoDispatchBelowADInplaceOrView below;
        ctx->save_for_backward({x, w});
        g.save(ctx);
        ctx->saved_data["has_bias"] = b.has_value();
        return at::convolution_symint(
            x, w, b, g.stride, g.padding, g.dilation, g.transposed, g.output_padding, g.groups);
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const variable_list saved = ctx->get_saved_variables();
        const bool for_bias = ctx->saved_data["has_bias"].toBool() && ctx->needs_input_grad(2);
        const Mask mask = {ctx->needs_input_grad(0), ctx->needs_input_grad(1), for_bias};
        const auto [dx, dw, db] = gradients(grads[0], saved[0], saved[1], Geometry::load(ctx), mask);
        return {dx, dw, db, Tensor()};
    }
};

Tensor convolve(const Tensor& x, const Tensor& w, const std::optional<Tensor>& b, const Geometry& g) {
    return ConvolutionFunction::apply(x, w, b, g);
}

std::array<Tensor, 3> gradients(const Tensor& dy, const Tensor& x, const Tensor& w, const Geometry& g, Mask mask) {
    std::array<Tensor, 3> all;
    const variable_list wanted = GradientsFunction::apply(dy, x, w, g, mask);
    for (size_t i = 0, next = 0; i < 3; ++i) {
        if (mask[i]) all[i] = wanted[next++];
    }
    return all;
}

Tensor convolution(
    const Tensor& x, const Tensor& w, const std::optional<Tensor>& b, c10::SymIntArrayRef stride,
    c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation, bool transposed, c10::SymIntArrayRef output_padding,
    c10::SymInt groups) {
    return convolve(
        x, w, b, {stride.vec(), padding.vec(), dilation.vec(), output_padding.vec(), transposed, std::move(groups)});
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(ganfoundry, m) {
    m.def(
        "convolution(Tensor x, Tensor w, Tensor? b, SymInt[] stride, SymInt[] padding, SymInt[] dilation, "
        "bool transposed, SymInt[] output_padding, SymInt groups) -> Tensor");
}

// PyTorch sees the two operators of aten inside, as it does for aten::conv2d: below autograd, this one does not exist.
TORCH_LIBRARY_IMPL(ganfoundry, CompositeImplicitAutograd, m) { m.impl("convolution", convolution); }

}  // namespace ganfoundry
