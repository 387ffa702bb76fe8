// Operators ganfoundry::lowered_weights and ganfoundry::lowered_weights_backward: all weights of a pass at once.
//
// w' = f w with f = gain, or f = 1 / (max |w| sqrt(fan-in)) by output channel, cast and laid out for the convolutions,
// and q = sum over taps of w'^2. The factors have no gradient: demodulation removes them.

#include "lowered_weights/lowered_weights.h"

#include <ATen/core/List.h>

#include "common/calls.h"

namespace ganfoundry {
namespace {

using Grads = c10::List<std::optional<Tensor>>;

// Rows, values per row and taps of a weight as the kernels see it: a bias is one row.
struct Rows {
    int64_t rows, inputs, taps;

    explicit Rows(const Tensor& w)
        : rows(w.dim() == 1 ? 1 : w.size(0)),
          inputs(w.dim() == 1 ? w.size(0) : w.size(1)),
          taps(w.dim() == 4 ? w.size(2) * w.size(3) : 1) {}

    int64_t row() const { return inputs * taps; }
};

// Whether the kernels take the weights; operators of PyTorch compute with the other types and forms.
bool are_simple(at::TensorList weights, at::ScalarType dtype) {
    const auto fits = [](const Tensor& w) {
        return w.scalar_type() == at::kFloat && (w.dim() == 1 || w.dim() == 2 || w.dim() == 4);
    };
    return (dtype == at::kFloat || dtype == at::kBFloat16) && std::all_of(weights.begin(), weights.end(), fits);
}

// Calls run(weight, row) for all rows of all weights, distributed over the threads.
template <class F>
void for_rows(at::TensorList weights, F run) {
    std::vector<int64_t> first{0};
    int64_t values = 0;
    for (const Tensor& w : weights) {
        first.push_back(first.back() + Rows(w).rows);
        values += w.numel();
    }
    run_tasks(first.back(), values / std::max<int64_t>(1, first.back()), [&](int64_t begin, int64_t end) {
        size_t k = std::upper_bound(first.begin(), first.end(), begin) - first.begin() - 1;
        for (int64_t row = begin; row < end; ++row) {
            while (row >= first[k + 1]) ++k;
            run(k, row - first[k]);
        }
    });
}

// Calls run(number of taps as a constant, or 0).
template <class F>
void with_taps(int64_t taps, F run) {
    if (taps == 1) return run(std::integral_constant<int, 1>());
    if (taps == 9) return run(std::integral_constant<int, 9>());
    run(std::integral_constant<int, 0>());
}

// [O] as a factor of w [O, ...].
Tensor by_output(const Tensor& scale, const Tensor& w) {
    std::vector<int64_t> shape(w.dim(), 1);
    shape[0] = w.size(0);
    return scale.view(shape);
}

Tensor scale_of(const Tensor& w) {
    const Tensor largest = w.detach().abs().flatten(1).amax(1);
    return 1 / (largest * std::sqrt(double(w.numel() / std::max<int64_t>(1, w.size(0)))));
}

Tensor laid_out(const Tensor& w, at::ScalarType dtype, bool channels_last) {
    const auto format = channels_last && w.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
    return at::empty(w.sizes(), w.options().dtype(dtype), format).copy_(w);
}

std::vector<Tensor> lowered_in_a_pass(
    at::TensorList weights, at::ArrayRef<double> gains, at::ScalarType dtype, bool squares) {
    std::vector<Tensor> dense, low, sums;
    for (const Tensor& w : weights) {
        dense.push_back(w.contiguous());
        low.push_back(at::empty(
            w.sizes(), w.options().dtype(dtype), w.dim() == 4 ? kNHWC : at::MemoryFormat::Contiguous));
        if (squares) sums.push_back(at::empty({w.size(0), w.size(1)}, w.options()));
    }
    with_type("lowered_weights", dtype, [&](auto zero) {
        using T = decltype(zero);
        for_rows(weights, [&](size_t k, int64_t row) {
            const Rows r(weights[k]);
            float* const q = squares ? output<float>(sums[k]) + row * r.inputs : nullptr;
            with_taps(r.taps, [&](auto taps) {
                lower_row<taps()>(
                    input<float>(dense[k]) + row * r.row(), float(gains[k]), output<T>(low[k]) + row * r.row(), q,
                    r.inputs, r.taps);
            });
        });
    });
    low.insert(low.end(), sums.begin(), sums.end());
    return low;
}

std::vector<Tensor> lowered_weights_cpu(
    at::TensorList weights, at::ArrayRef<double> gains, at::ScalarType dtype, bool channels_last, bool normalize,
    bool squares) {
    TORCH_CHECK_VALUE(weights.size() == gains.size(), "lowered_weights: one gain per weight");
    if (!normalize && channels_last && are_simple(weights, dtype)) {
        return lowered_in_a_pass(weights, gains, dtype, squares);
    }
    std::vector<Tensor> low, sums, scales;
    for (size_t i = 0; i < weights.size(); ++i) {
        const Tensor scale = normalize ? scale_of(weights[i]) : Tensor();
        const Tensor w = normalize ? weights[i] * by_output(scale, weights[i]) : weights[i] * gains[i];
        low.push_back(laid_out(w, dtype, channels_last));
        if (squares) sums.push_back(w.square().sum({2, 3}));
        if (normalize) scales.push_back(scale);
    }
    low.insert(low.end(), sums.begin(), sums.end());
    low.insert(low.end(), scales.begin(), scales.end());
    return low;
}

std::vector<Tensor> lowered_weights_meta(
    at::TensorList weights, at::ArrayRef<double>, at::ScalarType dtype, bool channels_last, bool normalize,
    bool squares) {
    std::vector<Tensor> low, sums, scales;
    for (const Tensor& w : weights) {
        const bool nhwc = channels_last && w.dim() == 4;
        low.push_back(at::empty_symint(
            w.sym_sizes(), w.options().dtype(dtype), nhwc ? kNHWC : at::MemoryFormat::Contiguous));
        if (squares) sums.push_back(at::empty_symint({w.sym_size(0), w.sym_size(1)}, w.options()));
        if (normalize) scales.push_back(at::empty_symint({w.sym_size(0)}, w.options()));
    }
    low.insert(low.end(), sums.begin(), sums.end());
    low.insert(low.end(), scales.begin(), scales.end());
    return low;
}

// The gradient as differentiable operations: f dlow + 2 f^2 w dq.
std::vector<Tensor> composite_backward(
    const Grads& dlow, const Grads& dsquares, at::TensorList weights, at::TensorList scales,
    at::ArrayRef<double> gains) {
    std::vector<Tensor> grads;
    for (size_t i = 0; i < weights.size(); ++i) {
        const Tensor& w = weights[i];
        const auto times = [&](const Tensor& t) { return scales.empty() ? t * gains[i] : t * by_output(scales[i], w); };
        Tensor grad;
        if (const std::optional<Tensor> d = dlow[i]) grad = times(d->to(w.scalar_type()));
        if (const std::optional<Tensor> d = dsquares.empty() ? std::nullopt : std::optional<Tensor>(dsquares[i])) {
            const Tensor of_squares = times(times(w)) * (2 * d->unsqueeze(2).unsqueeze(3));
            grad = grad.defined() ? grad + of_squares : of_squares;
        }
        grads.push_back(grad.defined() ? grad.contiguous() : at::zeros_like(w));
    }
    return grads;
}

std::vector<Tensor> lowered_weights_backward_cpu(
    const Grads& dlow, const Grads& dsquares, at::TensorList weights, at::TensorList scales,
    at::ArrayRef<double> gains, at::ScalarType dtype) {
    if (!scales.empty() || !are_simple(weights, dtype)) {
        return composite_backward(dlow, dsquares, weights, scales, gains);
    }
    std::vector<Tensor> dense, lows, sums, grads;  // undefined: zero
    for (size_t k = 0; k < weights.size(); ++k) {
        const std::optional<Tensor> d = dlow[k];
        const std::optional<Tensor> q = dsquares.empty() ? std::nullopt : std::optional<Tensor>(dsquares[k]);
        const auto format = weights[k].dim() == 4 ? kNHWC : at::MemoryFormat::Contiguous;
        dense.push_back(weights[k].contiguous());
        lows.push_back(d ? d->to(dtype).contiguous(format) : Tensor());
        sums.push_back(q ? q->contiguous() : Tensor());
        grads.push_back(at::empty_like(dense[k]));
    }
    with_type("lowered_weights_backward", dtype, [&](auto zero) {
        using T = decltype(zero);
        for_rows(weights, [&](size_t k, int64_t row) {
            const Rows r(weights[k]);
            const T* const dlow_row = lows[k].defined() ? input<T>(lows[k]) + row * r.row() : nullptr;
            const float* const dq = sums[k].defined() ? input<float>(sums[k]) + row * r.inputs : nullptr;
            with_taps(r.taps, [&](auto taps) {
                lower_row_backward<taps()>(
                    dlow_row, dq, input<float>(dense[k]) + row * r.row(), float(gains[k]),
                    output<float>(grads[k]) + row * r.row(), r.inputs, r.taps);
            });
        });
    });
    return grads;
}

std::vector<Tensor> lowered_weights_backward_meta(
    const Grads&, const Grads&, at::TensorList weights, at::TensorList, at::ArrayRef<double>, at::ScalarType) {
    std::vector<Tensor> grads;
    for (const Tensor& w : weights) grads.push_back(at::empty_symint(w.sym_sizes(), w.options()));
    return grads;
}

struct LoweredWeights : torch::autograd::Function<LoweredWeights> {
    static variable_list forward(
        AutogradContext* ctx, at::TensorList weights, at::ArrayRef<double> gains, at::ScalarType dtype,
        bool channels_last, bool normalize, bool squares) {
        at::AutoDispatchBelowADInplaceOrView below;
        static const auto op = find_operator<decltype(lowered_weights_meta)>("ganfoundry::lowered_weights");
        variable_list out = op.call(weights, gains, dtype, channels_last, normalize, squares);
        variable_list saved = weights.vec(), scales(normalize ? out.end() - weights.size() : out.end(), out.end());
        saved.insert(saved.end(), scales.begin(), scales.end());
        ctx->save_for_backward(saved);
        ctx->mark_non_differentiable(scales);
        ctx->set_materialize_grads(false);
        ctx->saved_data["gains"] = gains.vec();
        ctx->saved_data["dtype"] = dtype;
        ctx->saved_data["normalize"] = normalize;
        ctx->saved_data["squares"] = squares;
        return out;
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const variable_list saved = ctx->get_saved_variables();
        const bool normalize = ctx->saved_data["normalize"].toBool(), squares = ctx->saved_data["squares"].toBool();
        const size_t n = normalize ? saved.size() / 2 : saved.size();
        const auto gains = ctx->saved_data["gains"].toDoubleVector();
        std::vector<size_t> wanted;  // weights with a gradient
        for (size_t i = 0; i < n; ++i) {
            const bool arrives = grads[i].defined() || (squares && grads[n + i].defined());
            if (arrives && ctx->needs_input_grad(i)) wanted.push_back(i);
        }
        Grads dlow, dsquares;
        variable_list weights, scales, result(n + 5);
        std::vector<double> factors;
        for (const size_t i : wanted) {
            dlow.push_back(maybe(grads[i]));
            if (squares) dsquares.push_back(maybe(grads[n + i]));
            weights.push_back(saved[i]);
            if (normalize) scales.push_back(saved[n + i]);
            factors.push_back(gains[i]);
        }
        if (wanted.empty()) return result;
        static const auto op =
            find_operator<decltype(lowered_weights_backward_meta)>("ganfoundry::lowered_weights_backward");
        const auto dtype = ctx->saved_data["dtype"].toScalarType();
        const variable_list of_wanted = op.call(dlow, dsquares, weights, scales, factors, dtype);
        for (size_t k = 0; k < wanted.size(); ++k) result[wanted[k]] = of_wanted[k];
        return result;
    }
};

std::vector<Tensor> lowered_weights_autograd(
    at::TensorList weights, at::ArrayRef<double> gains, at::ScalarType dtype, bool channels_last, bool normalize,
    bool squares) {
    return LoweredWeights::apply(weights, gains, dtype, channels_last, normalize, squares);
}

// One pass for a gradient alone; the composite if a graph of the gradient is being built.
std::vector<Tensor> lowered_weights_backward_autograd(
    const Grads& dlow, const Grads& dsquares, at::TensorList weights, at::TensorList scales,
    at::ArrayRef<double> gains, at::ScalarType dtype) {
    bool builds = false;
    for (const Tensor& w : weights) builds |= w.requires_grad();
    for (const Grads* grads : {&dlow, &dsquares}) {
        for (const std::optional<Tensor> d : *grads) builds |= d && d->requires_grad();
    }
    if (builds && at::GradMode::is_enabled()) return composite_backward(dlow, dsquares, weights, scales, gains);
    at::AutoDispatchBelowADInplaceOrView below;
    static const auto op =
        find_operator<decltype(lowered_weights_backward_meta)>("ganfoundry::lowered_weights_backward");
    return op.call(dlow, dsquares, weights, scales, gains, dtype);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(ganfoundry, m) {
    m.def(
        "lowered_weights(Tensor[] weights, float[] gains, ScalarType dtype, bool channels_last, bool normalize, "
        "bool squares) -> Tensor[]");
    m.def(
        "lowered_weights_backward(Tensor?[] dlow, Tensor?[] dsquares, Tensor[] weights, Tensor[] scales, "
        "float[] gains, ScalarType dtype) -> Tensor[]");
}

TORCH_LIBRARY_IMPL(ganfoundry, CPU, m) {
    m.impl("lowered_weights", lowered_weights_cpu);
    m.impl("lowered_weights_backward", lowered_weights_backward_cpu);
}

TORCH_LIBRARY_IMPL(ganfoundry, Meta, m) {
    m.impl("lowered_weights", lowered_weights_meta);
    m.impl("lowered_weights_backward", lowered_weights_backward_meta);
}

TORCH_LIBRARY_IMPL(ganfoundry, Autograd, m) {
    m.impl("lowered_weights", lowered_weights_autograd);
    m.impl("lowered_weights_backward", lowered_weights_backward_autograd);
}

}  // namespace ganfoundry
