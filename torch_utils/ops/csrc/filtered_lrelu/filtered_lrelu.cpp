// Operators ganfoundry::filtered_lrelu, and ganfoundry::filtered_lrelu_stored, which is its gradient and its own.

#include "filtered_lrelu/filtered_lrelu.h"

#include <torch/csrc/autograd/functions/utils.h>

#include "common/calls.h"
#include "filtered_lrelu/filtered_lrelu_shapes.h"

namespace ganfoundry {
namespace {

using Pair = std::tuple<Tensor, Tensor>;  // y, and the codes of m, [0] if they are not kept

// Float64 holds the product of two float32 taps exactly: the kernel sees that the filter is separable.
Tensor two_dimensional(const Tensor& f_) {
    const Tensor f = f_.to(at::kDouble);
    return (f.dim() == 1 ? f.unsqueeze(1) * f : f).contiguous();
}

// Calls run(kernel arguments) for dense x, filters in float64 and the type of x.
template <class F>
void with_kernel(const char* name, const Tensor& x, const Tensor& fu, const Tensor& fd, const FilteredSizes& g, F run) {
    const Tensor taps_up = two_dimensional(fu), taps_down = two_dimensional(fd);
    const double tolerance = x.scalar_type() == at::kDouble ? 1e-15 : 1e-6;
    with_type(name, x.scalar_type(), [&](auto zero) {
        using A = compute_t<decltype(zero)>;
        const FilteredLrelu<A> e(g, input<double>(taps_up), input<double>(taps_down), tolerance);
        run(zero, e);
    });
}

Pair filtered_lrelu_cpu(
    const Tensor& x_, const Tensor& b_, const Tensor& fu, const Tensor& fd, int64_t up, int64_t down,
    at::IntArrayRef padding, double slope, double gain, Clamp clamp, bool keep) {
    const FilteredSizes g = filtered_geometry("filtered_lrelu", x_, fu, fd, up, down, padding);
    const Tensor x = x_.contiguous(), b = b_.to(compute_type(x.scalar_type())).contiguous();
    TORCH_CHECK_VALUE(b.dim() == 1 && b.size(0) == x.size(1), "filtered_lrelu: b must be [C]");
    const int64_t n = x.size(0), c = x.size(1);
    const Tensor y = at::empty({n, c, g.down_y.out, g.down_x.out}, x.options());
    const auto bytes = x.options().dtype(at::kByte);
    const Tensor codes = keep ? at::empty({n, c, g.up_y.out, code_bytes(g.up_x.out)}, bytes) : at::empty({0}, bytes);
    if (y.numel() == 0) return {y, codes};
    const BiasAct act = parameters(slope, gain, clamp);
    with_kernel("filtered_lrelu", x, fu, fd, g, [&](auto zero, const auto& e) {
        using T = decltype(zero);
        auto kernel = act.bounded ? &filtered_lrelu_tasks<true, T> : &filtered_lrelu_tasks<false, T>;
        uint8_t* to = keep ? codes.mutable_data_ptr<uint8_t>() : nullptr;
        run_tasks(e.tasks(), e.raised_rows(e.rows) * g.up_x.out, [&](int64_t begin, int64_t end) {
            kernel(input<T>(x), input<compute_t<T>>(b), output<T>(y), to, e, c, act, begin, end);
        });
    });
    return {y, codes};
}

Tensor filtered_lrelu_stored_cpu(
    const Tensor& x_, const Tensor& codes_, const Tensor& fu, const Tensor& fd, int64_t up, int64_t down,
    at::IntArrayRef padding, at::IntArrayRef offset, double slope, double gain) {
    FilteredSizes g = filtered_geometry("filtered_lrelu_stored", x_, fu, fd, up, down, padding);
    const Tensor x = x_.contiguous(), codes = codes_.contiguous();
    StoredCodes stored = stored_codes("filtered_lrelu_stored", x, codes, offset);
    limit_to_codes(g, stored);
    const Tensor y = at::empty({x.size(0), x.size(1), g.down_y.out, g.down_x.out}, x.options());
    if (y.numel() == 0) return y;
    const BiasAct act = parameters(slope, gain, std::nullopt);
    with_kernel("filtered_lrelu_stored", x, fu, fd, g, [&](auto zero, const auto& e) {
        using T = decltype(zero);
        run_tasks(e.tasks(), e.raised_rows(e.rows) * g.up_x.out, [&](int64_t begin, int64_t end) {
            filtered_lrelu_stored_tasks<T>(input<T>(x), output<T>(y), e, stored, act, begin, end);
        });
    });
    return y;
}

std::vector<c10::SymInt> result_sizes(
    const Tensor& x, const Tensor& fu, const Tensor& fd, int64_t up, int64_t down, Padding padding) {
    return {
        x.sym_size(0), x.sym_size(1),
        filtered_size<c10::SymInt>(x.sym_size(2), taps_of(fu, 1), taps_of(fd, 1), 1, up, down, padding),
        filtered_size<c10::SymInt>(x.sym_size(3), taps_of(fu, 0), taps_of(fd, 0), 0, up, down, padding)};
}

Pair filtered_lrelu_meta(
    const Tensor& x, const Tensor&, const Tensor& fu, const Tensor& fd, int64_t up, int64_t down, Padding padding,
    double, double, Clamp, bool keep) {
    const auto sizes = result_sizes(x, fu, fd, up, down, padding);
    const auto bytes = x.options().dtype(at::kByte);
    const Tensor y = at::empty_symint(sizes, x.options());
    if (!keep) return {y, at::empty({0}, bytes)};
    const auto height = (sizes[2] - 1) * down + taps_of(fd, 1);
    const auto width = (sizes[3] - 1) * down + taps_of(fd, 0);
    return {y, at::empty_symint({sizes[0], sizes[1], height, (width + 3) / 4}, bytes)};
}

Tensor filtered_lrelu_stored_meta(
    const Tensor& x, const Tensor&, const Tensor& fu, const Tensor& fd, int64_t up, int64_t down, Padding padding,
    c10::SymIntArrayRef, double, double) {
    return at::empty_symint(result_sizes(x, fu, fd, up, down, padding), x.options());
}

Pair filtered_lrelu(
    const Tensor& x, const Tensor& b, const Tensor& fu, const Tensor& fd, int64_t up, int64_t down, Padding padding,
    double slope, double gain, Clamp clamp, bool keep) {
    static const auto op = find_operator<decltype(filtered_lrelu_meta)>("ganfoundry::filtered_lrelu");
    return op.call(x, b, fu, fd, up, down, padding, slope, gain, clamp, keep);
}

Tensor filtered_lrelu_stored(
    const Tensor& x, const Tensor& codes, const Tensor& fu, const Tensor& fd, int64_t up, int64_t down, Padding padding,
    c10::SymIntArrayRef offset, double slope, double gain) {
    static const auto op = find_operator<decltype(filtered_lrelu_stored_meta)>("ganfoundry::filtered_lrelu_stored");
    return op.call(x, codes, fu, fd, up, down, padding, offset, slope, gain);
}

// Everything that the transpose needs: the map with filters and factors exchanged, reversed filters, and the same m.
void remember_transpose(
    AutogradContext* ctx, const Tensor& x, const Tensor& y, const Tensor& codes, const Tensor& fu, const Tensor& fd,
    int64_t up, int64_t down, Padding padding, c10::SymIntArrayRef offset, double slope, double gain) {
    std::vector<c10::SymInt> back, shifted;
    for (int64_t axis = 0; axis < 2; ++axis) {
        const int64_t taps_up = taps_of(fu, axis), taps_down = taps_of(fd, axis);
        const auto before = padding[2 * axis];
        back.push_back(taps_up + taps_down - 2 - before);
        back.push_back(x.sym_size(3 - axis) * up - y.sym_size(3 - axis) * down + before - up + 1);
        shifted.push_back(offset[axis] + before - taps_up + 1);
    }
    ctx->save_for_backward({codes, fu, fd});
    ctx->saved_data["up"] = up;
    ctx->saved_data["down"] = down;
    ctx->saved_data["padding"] = c10::SymIntArrayRef(back);
    ctx->saved_data["offset"] = c10::SymIntArrayRef(shifted);
    ctx->saved_data["slope"] = slope;
    ctx->saved_data["gain"] = gain;
}

Tensor run_transpose(AutogradContext* ctx, const Tensor& dy) {
    const variable_list t = ctx->get_saved_variables();
    auto& saved = ctx->saved_data;
    return filtered_lrelu_stored(
        dy, t[0], reversed(t[2]), reversed(t[1]), saved["down"].toInt(), saved["up"].toInt(),
        saved["padding"].toSymIntVector(), saved["offset"].toSymIntVector(), saved["slope"].toDouble(),
        saved["gain"].toDouble());
}

struct FilteredLreluFunction : torch::autograd::Function<FilteredLreluFunction> {
    static variable_list forward(
        AutogradContext* ctx, const Tensor& x, const Tensor& b, const Tensor& fu, const Tensor& fd, int64_t up,
        int64_t down, Padding padding, double slope, double gain, Clamp clamp) {
        at::AutoDispatchBelowADInplaceOrView below;
        const auto [y, codes] = filtered_lrelu(x, b, fu, fd, up, down, padding, slope, gain, clamp, true);
        const std::vector<c10::SymInt> zero = {0, 0};
        remember_transpose(ctx, x, y, codes, fu, fd, up, down, padding, zero, slope, gain);
        ctx->saved_data["b"] = int64_t(b.scalar_type());
        ctx->mark_non_differentiable({codes});
        return {y, codes};
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const Tensor dx = run_transpose(ctx, grads[0]);
        const Tensor db = dx.sum({0, 2, 3}, false, compute_type(dx.scalar_type()));
        variable_list result(10);
        result[0] = dx;
        result[1] = db.to(at::ScalarType(ctx->saved_data["b"].toInt()));
        return result;
    }
};

struct FilteredLreluStoredFunction : torch::autograd::Function<FilteredLreluStoredFunction> {
    static Tensor forward(
        AutogradContext* ctx, const Tensor& x, const Tensor& codes, const Tensor& fu, const Tensor& fd, int64_t up,
        int64_t down, Padding padding, c10::SymIntArrayRef offset, double slope, double gain) {
        at::AutoDispatchBelowADInplaceOrView below;
        const Tensor y = filtered_lrelu_stored(x, codes, fu, fd, up, down, padding, offset, slope, gain);
        remember_transpose(ctx, x, y, codes, fu, fd, up, down, padding, offset, slope, gain);
        return y;
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        variable_list result(10);
        result[0] = run_transpose(ctx, grads[0]);
        return result;
    }
};

// The codes are kept only if a gradient may be asked for.
Pair filtered_lrelu_autograd(
    const Tensor& x, const Tensor& b, const Tensor& fu, const Tensor& fd, int64_t up, int64_t down, Padding padding,
    double slope, double gain, Clamp clamp, bool keep) {
    if (!torch::autograd::compute_requires_grad(x, b)) {
        at::AutoDispatchBelowADInplaceOrView below;
        return filtered_lrelu(x, b, fu, fd, up, down, padding, slope, gain, clamp, keep);
    }
    TORCH_CHECK(keep, "filtered_lrelu: a gradient needs keep=True");
    const auto result = FilteredLreluFunction::apply(x, b, fu, fd, up, down, padding, slope, gain, clamp);
    return {result[0], result[1]};
}

Tensor filtered_lrelu_stored_autograd(
    const Tensor& x, const Tensor& codes, const Tensor& fu, const Tensor& fd, int64_t up, int64_t down, Padding padding,
    c10::SymIntArrayRef offset, double slope, double gain) {
    return FilteredLreluStoredFunction::apply(x, codes, fu, fd, up, down, padding, offset, slope, gain);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(ganfoundry, m) {
    m.def(
        "filtered_lrelu(Tensor x, Tensor b, Tensor fu, Tensor fd, int up, int down, SymInt[] padding, float slope, "
        "float gain, float? clamp, bool keep) -> (Tensor, Tensor)");
    m.def(
        "filtered_lrelu_stored(Tensor x, Tensor codes, Tensor fu, Tensor fd, int up, int down, SymInt[] padding, "
        "SymInt[] offset, float slope, float gain) -> Tensor");
}

TORCH_LIBRARY_IMPL(ganfoundry, CPU, m) {
    m.impl("filtered_lrelu", filtered_lrelu_cpu);
    m.impl("filtered_lrelu_stored", filtered_lrelu_stored_cpu);
}

TORCH_LIBRARY_IMPL(ganfoundry, Meta, m) {
    m.impl("filtered_lrelu", filtered_lrelu_meta);
    m.impl("filtered_lrelu_stored", filtered_lrelu_stored_meta);
}

TORCH_LIBRARY_IMPL(ganfoundry, Autograd, m) {
    m.impl("filtered_lrelu", filtered_lrelu_autograd);
    m.impl("filtered_lrelu_stored", filtered_lrelu_stored_autograd);
}

}  // namespace ganfoundry
