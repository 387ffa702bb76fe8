// Interface of modulation.cu: kernels that read and write memory of a GPU. Does not include PyTorch.

#pragma once

#include "common/launch.cuh"

namespace ganfoundry {

// s [n, inputs], q [outputs, inputs], d [n, outputs], a [n], all dense.
struct ModulationArguments {
    const float *s, *q;
    float *d, *a;  // results of ganfoundry_modulation, arguments of its gradients
    uint32_t n, inputs, outputs;
};

// Gradients that arrive at modulation_backward, and those that it computes; nullptr: none.
struct ModulationGradients {
    const void* low_grad;  // ds' [n, inputs], of the type of the scaled styles
    const float* dd;       // [n, outputs]
    float *ds, *dq;
};

// Gradients that arrive at modulation_second, and those that it computes; nullptr: none.
struct ModulationSecond {
    const float *G, *H, *dd;
    float* r;  // [n, outputs], scratch
    void* of_low;  // [n, inputs], of the type of the scaled styles
    float *of_dd, *of_s, *of_q;
};

}  // namespace ganfoundry

extern "C" {

// modulation.cpp has the equations. The functions return the error, or nullptr; `dtype` is that of the scaled styles.
const char* ganfoundry_modulation(
    ganfoundry::ModulationArguments a, bool normalize, void* low, ganfoundry::DType dtype, ganfoundry::Target target);
const char* ganfoundry_modulation_backward(
    ganfoundry::ModulationArguments a, ganfoundry::ModulationGradients g, ganfoundry::DType dtype,
    ganfoundry::Target target);
const char* ganfoundry_modulation_second(
    ganfoundry::ModulationArguments a, ganfoundry::ModulationSecond g, ganfoundry::DType dtype,
    ganfoundry::Target target);
}
