// Choice and launch of the kernels of bias_act.cuh.

#include "bias_act/bias_act.cuh"

#include "bias_act/bias_act_cuda.h"

using namespace ganfoundry;

extern "C" const char* ganfoundry_bias_act(
    const void* x, const float* b, void* y, DType dtype, Layout layout, BiasAct p, Target target) {
    return with_dtype(dtype, [&](auto zero) {
        using T = decltype(zero);
        const auto run = [&](auto kernel) { return launch(kernel, kernel.num_blocks(), target); };
        const T* from = static_cast<const T*>(x);
        T* to = static_cast<T*>(y);
        if (has_packs<kPack<T>>(layout)) return run(BiasActKernel<T, kPack<T>>(from, b, to, layout, p));
        return run(BiasActKernel<T, 1>(from, b, to, layout, p));
    });
}

extern "C" int64_t ganfoundry_bias_act_sum_rows(DType dtype, Layout layout) {
    int64_t rows = 0;
    with_dtype(dtype, [&](auto zero) -> const char* {
        using T = decltype(zero);
        const bool packs = has_packs<kPack<T>>(layout);
        rows = packs ? BiasActGradKernel<T, kPack<T>>::sum_rows(layout) : BiasActGradKernel<T, 1>::sum_rows(layout);
        return nullptr;
    });
    return rows;
}

extern "C" const char* ganfoundry_bias_act_grad(
    const void* dy, const void* y, void* dx, float* sums, DType dtype, Layout layout, BiasAct p, Target target) {
    return with_dtype(dtype, [&](auto zero) {
        using T = decltype(zero);
        const auto run = [&](auto kernel) {
            return launch(kernel, kernel.across(layout) * kernel.sum_rows(layout), target);
        };
        const T* from = static_cast<const T*>(dy);
        const T* result = static_cast<const T*>(y);
        T* to = static_cast<T*>(dx);
        if (has_packs<kPack<T>>(layout)) {
            return run(BiasActGradKernel<T, kPack<T>>(from, result, to, sums, layout, p));
        }
        return run(BiasActGradKernel<T, 1>(from, result, to, sums, layout, p));
    });
}
