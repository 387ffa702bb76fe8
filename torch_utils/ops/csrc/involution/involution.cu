// Choice and launch of the kernels of involution.cuh.

#include "involution/involution.cuh"

#include "involution/involution_cuda.h"

using namespace ganfoundry;

namespace {

template <int n>
struct Number {
    static constexpr int value = n;
};

template <template <class, int> class K>
const char* run(const void* a, const void* b, void* out, DType dtype, const Involution& g, Target target) {
    return with_dtype(dtype, [&](auto zero) {
        using T = decltype(zero);
        const auto start = [&](auto tag) {
            const K<T, tag.value> kernel(static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(out), g);
            return launch(kernel, kernel.num_blocks(), target);
        };
        switch (g.side) {
            case 3: return start(Number<3>());
            case 5: return start(Number<5>());
            case 7: return start(Number<7>());
            default: return start(Number<0>());
        }
    });
}

template <class T, int kSide>
using Involve = InvolutionKernel<T, kSide, false>;

template <class T, int kSide>
using Transpose = InvolutionKernel<T, kSide, true>;

// One row of the kernel per thread; one tap if the side is known at run time only.
template <class T, int kSide>
using Correlate = CorrelationKernel<T, kSide ? kSide : 1>;

}  // namespace

extern "C" const char* ganfoundry_involution(
    const void* x, const void* w, void* y, DType dtype, Involution g, Target target) {
    return run<Involve>(x, w, y, dtype, g, target);
}

extern "C" const char* ganfoundry_involution_adjoint(
    const void* y, const void* w, void* x, DType dtype, Involution g, Target target) {
    return run<Transpose>(y, w, x, dtype, g, target);
}

extern "C" const char* ganfoundry_involution_correlation(
    const void* y, const void* x, void* w, DType dtype, Involution g, Target target) {
    return run<Correlate>(y, x, w, dtype, g, target);
}
