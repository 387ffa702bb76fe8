// Operators ganfoundry::spectral_weights and ganfoundry::spectral_weights_backward: spectral normalization of all weights
// of a pass at once.
//
// W / sigma with sigma = |v| and v = W^T u, cast and laid out for the convolutions. As a matrix, W has a row per output
// feature, of axis 1 if it is transposed. With `iterate`, u is first replaced by that of a power iteration. u is constant:
// dW = g / sigma - <g, W> u v^T / sigma^3.

#include <ATen/core/List.h>

#include "common/calls.h"

namespace ganfoundry {
namespace {

using Flags = c10::List<bool>;

constexpr double kEps = 1e-12;  // smallest divisor of u and v

Tensor as_matrix(const Tensor& w, bool transposed) { return (transposed ? w.transpose(0, 1) : w).flatten(1); }

Tensor normalized(const Tensor& x) { return x / x.norm().clamp_min(kEps); }

std::vector<Tensor> spectral_weights_cpu(
    at::TensorList weights, at::TensorList us, const Flags& transposed, const Flags& lowered, at::ScalarType dtype,
    bool iterate) {
    std::vector<Tensor> low, next, vs;
    for (size_t i = 0; i < weights.size(); ++i) {
        const Tensor& w = weights[i];
        const Tensor matrix = as_matrix(w, transposed[i]);
        const Tensor u = iterate ? normalized(matrix.mv(normalized(matrix.t().mv(us[i])))) : us[i].clone();
        const Tensor v = matrix.t().mv(u), sigma = v.norm();
        const auto format = w.dim() == 4 ? kNHWC : at::MemoryFormat::Contiguous;
        const auto options = w.options().dtype(lowered[i] ? dtype : w.scalar_type());
        low.push_back(at::empty(w.sizes(), options, format).copy_(w / sigma));
        next.push_back(u);
        vs.push_back(at::cat({v, sigma.unsqueeze(0)}));
    }
    low.insert(low.end(), next.begin(), next.end());
    low.insert(low.end(), vs.begin(), vs.end());
    return low;
}

std::vector<Tensor> spectral_weights_meta(
    at::TensorList weights, at::TensorList us, const Flags& transposed, const Flags& lowered, at::ScalarType dtype,
    bool) {
    std::vector<Tensor> low, next, vs;
    for (size_t i = 0; i < weights.size(); ++i) {
        const Tensor& w = weights[i];
        const auto format = w.dim() == 4 ? kNHWC : at::MemoryFormat::Contiguous;
        const auto options = w.options().dtype(lowered[i] ? dtype : w.scalar_type());
        low.push_back(at::empty_symint(w.sym_sizes(), options, format));
        next.push_back(at::empty_symint(us[i].sym_sizes(), w.options()));
        c10::SymInt columns = 1;
        for (int64_t axis = 0; axis < w.dim(); ++axis) {
            if (axis != int64_t(transposed[i])) columns = columns * w.sym_size(axis);
        }
        vs.push_back(at::empty_symint({columns + 1}, w.options()));
    }
    low.insert(low.end(), next.begin(), next.end());
    low.insert(low.end(), vs.begin(), vs.end());
    return low;
}

// The gradient as differentiable operations, with the derivatives of sigma and v.
std::vector<Tensor> composite_backward(
    at::TensorList dlow, at::TensorList weights, at::TensorList us, const Flags& transposed) {
    std::vector<Tensor> grads;
    for (size_t i = 0; i < weights.size(); ++i) {
        const Tensor& w = weights[i];
        const Tensor v = as_matrix(w, transposed[i]).t().mv(us[i]), sigma = v.norm();
        const Tensor g = dlow[i].to(w.scalar_type());
        std::vector<c10::SymInt> sizes(w.dim(), 1), rest = w.sym_sizes().vec();
        const int64_t axis = transposed[i];
        sizes[axis] = w.sym_size(axis);
        rest[axis] = 1;
        const Tensor outer = us[i].view_symint(sizes) * v.view_symint(rest);
        const Tensor factor = w.sym_numel() == 0 ? at::zeros_like(sigma) : (g * w).sum() / sigma.pow(3);
        grads.push_back((g / sigma - factor * outer).contiguous());
    }
    return grads;
}

std::vector<Tensor> spectral_weights_backward_cpu(
    at::TensorList dlow, at::TensorList weights, at::TensorList us, at::TensorList, const Flags& transposed) {
    return composite_backward(dlow, weights, us, transposed);
}

std::vector<Tensor> spectral_weights_backward_meta(
    at::TensorList, at::TensorList weights, at::TensorList, at::TensorList, const Flags&) {
    std::vector<Tensor> grads;
    for (const Tensor& w : weights) grads.push_back(at::empty_symint(w.sym_sizes(), w.options()));
    return grads;
}

struct SpectralWeights : torch::autograd::Function<SpectralWeights> {
    static variable_list forward(
        AutogradContext* ctx, at::TensorList weights, at::TensorList us, const Flags& transposed, const Flags& lowered,
        at::ScalarType dtype, bool iterate) {
        at::AutoDispatchBelowADInplaceOrView below;
        static const auto op = find_operator<decltype(spectral_weights_meta)>("ganfoundry::spectral_weights");
        variable_list out = op.call(weights, us, transposed, lowered, dtype, iterate);
        const auto constants = out.begin() + int64_t(weights.size());  // u and v of every weight
        variable_list saved = weights.vec();
        saved.insert(saved.end(), constants, out.end());
        ctx->save_for_backward(saved);
        ctx->mark_non_differentiable(variable_list(constants, out.end()));
        ctx->set_materialize_grads(false);
        ctx->saved_data["transposed"] = transposed;
        return out;
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const variable_list saved = ctx->get_saved_variables();
        const size_t n = saved.size() / 3;
        const Flags transposed = ctx->saved_data["transposed"].toBoolList();
        std::vector<size_t> wanted;  // weights with a gradient
        for (size_t i = 0; i < n; ++i) {
            if (grads[i].defined() && ctx->needs_input_grad(i)) wanted.push_back(i);
        }
        variable_list dlow, weights, us, vs, result(2 * n + 4);
        Flags flags;
        for (const size_t i : wanted) {
            dlow.push_back(grads[i]);
            weights.push_back(saved[i]);
            us.push_back(saved[n + i]);
            vs.push_back(saved[2 * n + i]);
            flags.push_back(transposed[i]);
        }
        if (wanted.empty()) return result;
        static const auto op =
            find_operator<decltype(spectral_weights_backward_meta)>("ganfoundry::spectral_weights_backward");
        const variable_list of_wanted = op.call(dlow, weights, us, vs, flags);
        for (size_t k = 0; k < wanted.size(); ++k) result[wanted[k]] = of_wanted[k];
        return result;
    }
};

std::vector<Tensor> spectral_weights_autograd(
    at::TensorList weights, at::TensorList us, const Flags& transposed, const Flags& lowered, at::ScalarType dtype,
    bool iterate) {
    return SpectralWeights::apply(weights, us, transposed, lowered, dtype, iterate);
}

// Two kernels for a gradient alone; the composite if a graph of the gradient is being built.
std::vector<Tensor> spectral_weights_backward_autograd(
    at::TensorList dlow, at::TensorList weights, at::TensorList us, at::TensorList vs, const Flags& transposed) {
    bool builds = false;
    for (const at::TensorList& inputs : {dlow, weights}) {
        for (const Tensor& t : inputs) builds |= t.requires_grad();
    }
    if (builds && at::GradMode::is_enabled()) return composite_backward(dlow, weights, us, transposed);
    at::AutoDispatchBelowADInplaceOrView below;
    static const auto op =
        find_operator<decltype(spectral_weights_backward_meta)>("ganfoundry::spectral_weights_backward");
    return op.call(dlow, weights, us, vs, transposed);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(ganfoundry, m) {
    m.def(
        "spectral_weights(Tensor[] weights, Tensor[] us, bool[] transposed, bool[] lowered, ScalarType dtype, "
        "bool iterate) -> Tensor[]");
    m.def(
        "spectral_weights_backward(Tensor[] dlow, Tensor[] weights, Tensor[] us, Tensor[] vs, bool[] transposed) "
        "-> Tensor[]");
}

TORCH_LIBRARY_IMPL(ganfoundry, CPU, m) {
    m.impl("spectral_weights", spectral_weights_cpu);
    m.impl("spectral_weights_backward", spectral_weights_backward_cpu);
}

TORCH_LIBRARY_IMPL(ganfoundry, Meta, m) {
    m.impl("spectral_weights", spectral_weights_meta);
    m.impl("spectral_weights_backward", spectral_weights_backward_meta);
}

TORCH_LIBRARY_IMPL(ganfoundry, Autograd, m) {
    m.impl("spectral_weights", spectral_weights_autograd);
    m.impl("spectral_weights_backward", spectral_weights_backward_autograd);
}

}  // namespace ganfoundry
