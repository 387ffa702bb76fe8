// Sum of a map in a wider type, whose derivative keeps the map's memory format.

#pragma once

#include "common/operators.h"

namespace ganfoundry {

// x.sum(dims, keepdim=true, type). PyTorch's derivative expands before it casts, which makes a map in NCHW; every
// operation that combines it with a map in channels last then takes several times as long. Here the small tensor is
// cast, and expanded as a view. The numbers are the same.
struct WideSum : torch::autograd::Function<WideSum> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x, std::vector<int64_t> dims, at::ScalarType type) {
        at::AutoDispatchBelowADInplaceOrView below;
        ctx->saved_data["sizes"] = x.sym_sizes();
        ctx->saved_data["type"] = int64_t(x.scalar_type());
        return x.sum(dims, true, type);
    }

    static variable_list backward(AutogradContext* ctx, variable_list grads) {
        const auto type = at::ScalarType(ctx->saved_data["type"].toInt());
        const auto sizes = ctx->saved_data["sizes"].toSymIntVector();
        return {grads[0].to(type).expand_symint(sizes), Tensor(), Tensor()};
    }
};

}  // namespace ganfoundry
