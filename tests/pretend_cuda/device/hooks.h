// What the rest of torch asks of CUDA: whether it is there, which device is current, its generators.
#pragma once

#include <ATen/detail/CUDAHooksInterface.h>

#include "counts.h"
#include "generators.h"

namespace at {

struct PretendHooks : CUDAHooksInterface {
  explicit PretendHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  long versionCUDART() const override { return 13000; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex current_device() const override { return pretend::current; }
  DeviceIndex getCurrentDevice() const override { return pretend::current; }
  void setCurrentDevice(DeviceIndex index) const override { pretend::current = index; }
  DeviceIndex exchangeDevice(DeviceIndex index) const override { return std::exchange(pretend::current, index); }
  DeviceIndex maybeExchangeDevice(DeviceIndex index) const override { return exchangeDevice(index); }
  int getNumGPUs() const override { return pretend::device_count(); }
  DeviceIndex deviceCount() const override { return static_cast<DeviceIndex>(pretend::device_count()); }
  const Generator& getDefaultGenerator(DeviceIndex index) const override { return pretend::default_generator(index); }
  Generator getNewGenerator(DeviceIndex index) const override {
    return pretend::new_generator(index < 0 ? pretend::current : index);
  }
  Allocator* getPinnedMemoryAllocator() const override { return c10::GetCPUAllocator(); }
  Allocator* getCUDADeviceAllocator() const override { return &pretend::allocator; }
  std::string showConfig() const override { return "a pretend CUDA device"; }
  void deviceSynchronize(DeviceIndex) const override {
    pretend::require_working();
    pretend::counts.wait("synchronize", "device");
  }
};

C10_REGISTER_TYPED_CLASS(CUDAHooksRegistry, "CUDAHooks", PretendHooks)

}  // namespace at
