// What tests/support/host_kernels.py has in the place of PyTorch's CUDA: no stream.

#include <cstdint>

extern "C" int32_t aoti_torch_get_current_cuda_stream(int32_t, void** stream) {
    *stream = nullptr;
    return 0;
}
