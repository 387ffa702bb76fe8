// Launch of the kernels of act_fir.cuh.

#include "act_fir/act_fir.cuh"

#include "act_fir/act_fir_cuda.h"
#include "common/sum_rows.cuh"

using namespace ganfoundry;

extern "C" bool ganfoundry_act_fir_takes(DType dtype, Upfirdn2d g) {
    return g.y.taps == kTaps && g.x.taps == kTaps &&
           g.pixel % (dtype == DType::float32 ? kPack<float> : kPack<float16>) == 0;
}

extern "C" const char* ganfoundry_act_fir(
    const void* x, const float* b, const float* f, void* y, DType dtype, Upfirdn2d g, BiasAct act, Target target) {
    return with_dtype(dtype, [&](auto zero) {
        using T = decltype(zero);
        const ActFirKernel<T> kernel(static_cast<const T*>(x), b, f, static_cast<T*>(y), g, act);
        return launch(kernel, kernel.num_blocks(), target);
    });
}

extern "C" int64_t ganfoundry_act_fir_table_rows(DType dtype, Upfirdn2d transposed) {
    int64_t rows = 0;
    with_dtype(dtype, [&](auto zero) -> const char* {
        rows = ActFirGradKernel<decltype(zero)>::table_rows(transposed);
        return nullptr;
    });
    return rows;
}

extern "C" const char* ganfoundry_act_fir_backward(
    const void* dy, const void* x, const float* b, const float* f, void* dx, float* db, float* table, DType dtype,
    Upfirdn2d transposed, BiasAct act, Target target) {
    const char* problem = with_dtype(dtype, [&](auto zero) {
        using T = decltype(zero);
        const ActFirGradKernel<T> kernel(
            static_cast<const T*>(dy), static_cast<const T*>(x), b, f, static_cast<T*>(dx), table, transposed, act);
        return launch(kernel, kernel.num_blocks(), target);
    });
    if (problem != nullptr) return problem;
    return sum_rows<1>({{table, db, 1, ganfoundry_act_fir_table_rows(dtype, transposed), transposed.pixel}}, target);
}
