// Device guard that does nothing and hooks that claim a GPU with cuDNN 9: autograd then runs over FAKE tensors of device
// 'cuda' on a machine without CUDA, with the memory formats of cuDNN. fake_cuda.py builds it and loads it before torch,
// because importing torch asks for the hooks.
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
using namespace c10;

struct Guard final : impl::NoOpDeviceGuardImpl<DeviceType::CUDA> {
    Device exchangeDevice(Device) const override { return getDevice(); }
    Device getDevice() const override { return Device(DeviceType::CUDA, 0); }
    Stream getStream(Device) const noexcept override { return Stream(Stream::DEFAULT, getDevice()); }
    Stream exchangeStream(Stream) const noexcept override { return Stream(Stream::DEFAULT, getDevice()); }
    void record(void**, const Stream&, const DeviceIndex, const EventFlag) const override {}
    void block(void*, const Stream&) const override {}
    bool queryEvent(void*) const override { return true; }
};
namespace c10::impl { C10_REGISTER_GUARD_IMPL(CUDA, ::Guard) }

struct CUDAHooks final : at::CUDAHooksInterface {
    CUDAHooks(at::CUDAHooksArgs) {}
    void init() const override {}
    bool hasCUDA() const override { return true; }
    bool isBuilt() const override { return true; }
    bool isAvailable() const override { return true; }
    DeviceIndex current_device() const override { return 0; }
    bool hasPrimaryContext(DeviceIndex) const override { return false; }
    bool hasCuDNN() const override { return true; }
    bool compiledWithCuDNN() const override { return true; }
    bool supportsDilatedConvolutionWithCuDNN() const override { return true; }
    bool supportsDepthwiseConvolutionWithCuDNN() const override { return true; }
    bool supportsBFloat16ConvolutionWithCuDNNv8() const override { return true; }
    double batchnormMinEpsilonCuDNN() const override { return 0; }
    long versionCuDNN() const override { return 91000; }
    long versionRuntimeCuDNN() const override { return 91000; }
    long versionCuDNNFrontend() const override { return 11200; }
};
namespace at { REGISTER_CUDA_HOOKS(CUDAHooks); }
