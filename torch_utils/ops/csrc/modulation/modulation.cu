// Launch of the kernels of modulation.cuh.

#include "modulation/modulation.cuh"

using namespace ganfoundry;

extern "C" const char* ganfoundry_modulation(
    ModulationArguments a, bool normalize, void* low, DType dtype, Target target) {
    return with_dtype(dtype, [&](auto zero) {
        const ModulateKernel<decltype(zero)> kernel(a, static_cast<decltype(zero)*>(low), normalize);
        return launch(kernel, kernel.num_blocks(), target);
    });
}

extern "C" const char* ganfoundry_modulation_backward(
    ModulationArguments a, ModulationGradients g, DType dtype, Target target) {
    return with_dtype(dtype, [&](auto zero) {
        const ModulateBackwardKernel<decltype(zero)> kernel(a, g);
        return launch(kernel, kernel.num_blocks(), target);
    });
}

extern "C" const char* ganfoundry_modulation_second(
    ModulationArguments a, ModulationSecond g, DType dtype, Target target) {
    const char* problem = with_dtype(dtype, [&](auto zero) {
        const ModulateSecondKernel<decltype(zero)> kernel(a, g);
        return launch(kernel, kernel.num_blocks(), target);
    });
    if (problem != nullptr) return problem;
    const ModulateSecondSumsKernel kernel(a, g);
    return launch(kernel, kernel.num_blocks(), target);
}
