// Launch of the kernels of lowered_weights.cuh.

#include "lowered_weights/lowered_weights.cuh"

using namespace ganfoundry;

namespace {

// Calls the kernel with `blocks_of(weight)` blocks per weight.
template <class K, class F>
const char* run(const WeightView* weights, int count, Target target, F blocks_of) {
    K kernel{};
    int64_t blocks = 0;
    kernel.weights.count = count;
    for (int k = 0; k < count; ++k) {
        kernel.weights.at[k] = weights[k];
        kernel.weights.at[k].first_block = uint32_t(blocks);
        blocks += blocks_of(weights[k]);
    }
    return launch(kernel, blocks, target);
}

int64_t pairs(const WeightView& v) { return ceil_div(int64_t(v.outputs) * v.inputs, Kernel<>::kThreads); }

}  // namespace

extern "C" const char* ganfoundry_lower_weights(const WeightView* weights, int count, DType dtype, Target target) {
    if (count > 0 && weights[0].scales != nullptr) {
        const auto outputs = [](const WeightView& v) { return int64_t(v.outputs); };
        if (const char* problem = run<ScaleKernel>(weights, count, target, outputs)) return problem;
    }
    return with_dtype(dtype, [&](auto zero) { return run<LowerKernel<decltype(zero)>>(weights, count, target, pairs); });
}

extern "C" const char* ganfoundry_lower_weights_backward(
    const WeightView* weights, int count, DType dtype, Target target) {
    return with_dtype(dtype, [&](auto zero) {
        return run<LowerBackwardKernel<decltype(zero)>>(weights, count, target, pairs);
    });
}
