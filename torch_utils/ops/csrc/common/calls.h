// Calls of operators by other operators, and helpers of the operators with a filter.

#pragma once

#include "common/operators.h"

namespace ganfoundry {

using Clamp = std::optional<double>;
using Optional = std::optional<Tensor>;
using Padding = c10::SymIntArrayRef;  // (x0, x1, y0, y1), as in upfirdn2d

inline constexpr auto kNHWC = at::MemoryFormat::ChannelsLast;

// An undefined tensor stands for an absent one in autograd's lists.
inline Optional maybe(const Tensor& t) { return t.defined() ? Optional(t) : Optional(); }
inline Tensor or_none(const Optional& t) { return t.value_or(Tensor()); }

template <class Signature>
auto find_operator(const char* name) {
    return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

inline Tensor call_upfirdn2d(const Tensor& x, const Tensor& f, Padding padding) {
    using Signature = Tensor(const Tensor&, const Tensor&, at::IntArrayRef, at::IntArrayRef, Padding);
    static const auto op = find_operator<Signature>("ganfoundry::upfirdn2d");
    return op.call(x, f, {1, 1}, {1, 1}, padding);
}

// Transpose of the filter: maps the gradient of its result to that of its image.
inline Tensor call_upfirdn2d_transposed(const Tensor& dy, const Tensor& f, Padding padding) {
    const auto x = f.size(1) - 1, y = f.size(0) - 1;
    const std::vector<c10::SymInt> transposed = {x - padding[0], x - padding[1], y - padding[2], y - padding[3]};
    return call_upfirdn2d(dy, f.flip({0, 1}), transposed);
}

inline std::tuple<Tensor, Tensor> call_bias_act_grad(
    const Tensor& dy, const Tensor& y, double slope, double gain, Clamp clamp) {
    using Signature = std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, int64_t, double, double, Clamp);
    static const auto op = find_operator<Signature>("ganfoundry::bias_act_grad");
    return op.call(dy, y, 1, slope, gain, clamp);
}

inline Tensor call_bias_act(const Tensor& x, const Tensor& b, double slope, double gain, Clamp clamp) {
    using Signature = Tensor(const Tensor&, const Tensor&, int64_t, double, double, Clamp);
    static const auto op = find_operator<Signature>("ganfoundry::bias_act");
    return op.call(x, b, 1, slope, gain, clamp);
}

// Sizes [N, C, H', W'] of an image `x` after a filter. Callers with known sizes reject an empty image.
inline std::vector<c10::SymInt> filtered_sizes(const Tensor& x, const Tensor& f, Padding padding) {
    return {
        x.sym_size(0), x.sym_size(1), x.sym_size(2) + padding[2] + padding[3] - f.size(0) + 1,
        x.sym_size(3) + padding[0] + padding[1] - f.size(1) + 1};
}

// Empty tensor, the gradient of an absent argument.
inline Tensor absent(const Tensor& x) { return at::empty({0}, x.options().dtype(compute_type(x.scalar_type()))); }

}  // namespace ganfoundry
