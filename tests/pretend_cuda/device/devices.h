// The devices: how many there are, which is the current one, whether one is broken, and their memory.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>

namespace pretend {

using c10::Device;
using c10::DeviceIndex;
using c10::DeviceType;

constexpr int MOST = 16;
constexpr int64_t BLOCK = 512;  // CUDA's caching allocator gives out multiples of so many bytes

inline int device_count() {
  static const int count = [] {
    const char* given = std::getenv("PRETEND_CUDA_DEVICES");
    return std::min(MOST, std::max(1, given ? std::atoi(given) : 1));
  }();
  return count;
}

inline thread_local DeviceIndex current = 0;

// After a device-side assertion nothing on that process's devices works any longer, as on CUDA.
inline std::atomic<bool> broken{false};

inline void require_working() {
  TORCH_CHECK(!broken,
              "CUDA error: device-side assert triggered\n"
              "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace "
              "below might be incorrect.");
}

struct MemoryUse {
  std::array<std::atomic<int64_t>, MOST> now{}, peak{};

  void take(int device, int64_t bytes) {
    const int64_t all = now[device] += rounded(bytes);
    int64_t most = peak[device];
    while (all > most && !peak[device].compare_exchange_weak(most, all)) {
    }
  }
  void give(int device, int64_t bytes) { now[device] -= rounded(bytes); }

 private:
  static int64_t rounded(int64_t bytes) { return (bytes + BLOCK - 1) / BLOCK * BLOCK; }
};

inline MemoryUse memory;

struct DeviceAllocator final : c10::Allocator {
  struct Block {
    void* start;
    int64_t bytes;
    int device;
  };

  c10::DataPtr allocate(size_t bytes) override {
    const Device device(DeviceType::CUDA, current);
    if (bytes == 0) return {nullptr, nullptr, &c10::detail::deleteNothing, device};
    auto* block = new Block{c10::alloc_cpu(bytes), static_cast<int64_t>(bytes), current};
    std::memset(block->start, 0x7f, bytes);  // what nobody wrote is seen, not zero by chance
    memory.take(block->device, block->bytes);
    return {block->start, block, &release, device};
  }

  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }

 private:
  static void release(void* context) {
    auto* block = static_cast<Block*>(context);
    memory.give(block->device, block->bytes);
    c10::free_cpu(block->start);
    delete block;
  }
};

inline DeviceAllocator allocator;

// Streams and events exist in name alone: every kernel has ended when its call returns.
struct DeviceGuard final : c10::impl::DeviceGuardImplInterface {
  DeviceType type() const override { return DeviceType::CUDA; }
  Device getDevice() const override { return {DeviceType::CUDA, current}; }
  void setDevice(Device device) const override {
    TORCH_CHECK(device.index() < device_count(), "CUDA error: invalid device ordinal ", int(device.index()));
    uncheckedSetDevice(device);
  }
  void uncheckedSetDevice(Device device) const noexcept override {
    if (device.index() >= 0) current = device.index();
  }
  Device exchangeDevice(Device device) const override {
    const Device before = getDevice();
    setDevice(device);
    return before;
  }
  DeviceIndex deviceCount() const noexcept override { return static_cast<DeviceIndex>(device_count()); }

  c10::Stream getStream(Device device) const override {
    return c10::Stream(c10::Stream::DEFAULT, device.has_index() ? device : getDevice());
  }
  c10::Stream getDefaultStream(Device device) const override { return getStream(device); }
  c10::Stream getStreamFromGlobalPool(Device device, bool) const override { return getStream(device); }
  c10::Stream getNewStream(Device device, int) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return getStream(stream.device()); }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void synchronizeDevice(const DeviceIndex) const override { require_working(); }
  void record(void** event, const c10::Stream&, const DeviceIndex, const c10::EventFlag) const override {
    *event = reinterpret_cast<void*>(1);
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void synchronizeEvent(void*) const override {}
};

}  // namespace pretend
