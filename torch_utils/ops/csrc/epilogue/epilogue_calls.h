// Calls of the epilogue's operators by each other.

#pragma once

#include "common/calls.h"

namespace ganfoundry {

// Gradients of dx, d d, d noise and d b, the results of ganfoundry::epilogue_backward; nullopt: zero.
struct EpilogueGrads {
    Optional dx, dd, dnoise, db;
};

inline Tensor call_epilogue(
    const Tensor& x, const Optional& f, Padding padding, const Optional& d, const Optional& noise, const Optional& b,
    double slope, double gain, Clamp clamp) {
    using Signature = Tensor(
        const Tensor&, const Optional&, Padding, const Optional&, const Optional&, const Optional&, double, double,
        Clamp);
    static const auto op = find_operator<Signature>("ganfoundry::epilogue");
    return op.call(x, f, padding, d, noise, b, slope, gain, clamp);
}

// Gradients of dy, x and d for those of the results of ganfoundry::epilogue_backward; undefined: zero. The gradient is
// piecewise constant in noise and b.
std::array<Tensor, 3> call_epilogue_second(
    const EpilogueGrads& g, const Tensor& dy, const Tensor& x, const Optional& f, Padding padding, const Optional& d,
    const Optional& noise, const Optional& b, double slope, double gain, Clamp clamp);

}  // namespace ganfoundry
