// Arguments of the epilogue's CPU kernels.

#pragma once

#include "common/calls.h"
#include "epilogue/epilogue.h"
#include "epilogue/epilogue_shapes.h"
#include "upfirdn2d/upfirdn2d.h"

namespace ganfoundry {

// Dense, of the given type; undefined if absent.
inline Tensor dense(const Optional& t, at::ScalarType type) { return t ? t->to(type).contiguous() : Tensor(); }

// Arguments of the kernels, in the types that they read.
struct EpilogueArguments {
    Tensor x, f, d, noise, b;  // undefined: absent
    std::vector<double> fy, fx;
    bool outer;  // whether f is the outer product fy fx, which the kernels need
    int64_t height, width;  // size of the result
    BiasAct act;

    EpilogueArguments(
        const Tensor& x_, const Optional& f_, at::IntArrayRef padding, const Optional& d_, const Optional& noise_,
        const Optional& b_, double slope, double gain, Clamp clamp)
        : x(x_.contiguous(kNHWC)), outer(true), height(x.size(2)), width(x.size(3)),
          act{slope, gain, clamp.value_or(0), clamp.has_value()} {
        const auto type = compute_type(x.scalar_type());
        d = dense(d_, type);
        noise = dense(noise_, type);
        b = dense(b_, type);
        if (f_) {
            f = f_->to(at::kDouble).contiguous();
            outer = separate(input<double>(f), f.size(0), f.size(1), type == at::kDouble ? 1e-15 : 1e-6, fy, fx);
            height += padding[2] + padding[3] - f.size(0) + 1;
            width += padding[0] + padding[1] - f.size(1) + 1;
        }
        check_epilogue(x, height, width, d, noise, b);
    }

    template <class A>
    Epilogue<A> kernel(at::IntArrayRef padding) const {
        const auto pointer = [](const Tensor& t) { return t.defined() ? input<A>(t) : nullptr; };
        const bool filtered = f.defined();
        return {
            x.size(0), x.size(1), filtered,
            {{fy.begin(), fy.end()}, filtered ? padding[2] : 0, x.size(2), height},
            {{fx.begin(), fx.end()}, filtered ? padding[0] : 0, x.size(3), width},
            pointer(d), pointer(noise), pointer(b),
            noise.defined() && noise.dim() == 4 ? height * width : 0, act};
    }
};

}  // namespace ganfoundry
