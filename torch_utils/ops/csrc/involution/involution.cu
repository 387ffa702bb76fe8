// Choice and launch of the kernels of involution.cuh.

#include "involution/involution.cuh"

#include "involution/involution_cuda.h"

using namespace ganfoundry;

namespace {

template <int n>
struct Number {
    static constexpr int value = n;
};

template <template <class, int, int> class K>
const char* run(
    const void* a, const void* b, void* out, DType dtype, const Involution& g, const ChannelsLast& last,
    Target target) {
    return with_dtype(dtype, [&](auto zero) {
        using T = decltype(zero);
        const auto start = [&](auto side, auto pack) {
            const K<T, side.value, pack.value> kernel(
                static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(out), g, last);
            return launch(kernel, kernel.num_blocks(), target);
        };
        const auto start_packed = [&](auto side) {
            return K<T, 0, 1>::takes_packs(g, last) ? start(side, Number<kMembers>()) : start(side, Number<1>());
        };
        switch (g.side) {
            case 3: return start_packed(Number<3>());
            case 5: return start_packed(Number<5>());
            case 7: return start_packed(Number<7>());
            default: return start_packed(Number<0>());
        }
    });
}

template <class T, int kSide, int kPack>
using Involve = InvolutionKernel<T, kSide, kPack, false>;

template <class T, int kSide, int kPack>
using Transpose = InvolutionKernel<T, kSide, kPack, true>;

// One row of the kernel per thread; one tap if the side is known at run time only.
template <class T, int kSide, int kPack>
using Correlate = CorrelationKernel<T, kSide ? kSide : 1, kPack>;

}  // namespace

extern "C" const char* ganfoundry_involution(
    const void* x, const void* w, void* y, DType dtype, Involution g, ChannelsLast last, Target target) {
    return run<Involve>(x, w, y, dtype, g, last, target);
}

extern "C" const char* ganfoundry_involution_adjoint(
    const void* y, const void* w, void* x, DType dtype, Involution g, ChannelsLast last, Target target) {
    return run<Transpose>(y, w, x, dtype, g, last, target);
}

extern "C" const char* ganfoundry_involution_correlation(
    const void* y, const void* x, void* w, DType dtype, Involution g, ChannelsLast last, Target target) {
    return run<Correlate>(y, x, w, dtype, g, last, target);
}
