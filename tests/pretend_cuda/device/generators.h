// Random numbers of a device: generators of its own, whose numbers are not those of the processor's.
#pragma once

#include <ATen/CPUGeneratorImpl.h>

#include <vector>

#include "devices.h"

namespace pretend {

struct DeviceGenerator final : at::CPUGeneratorImpl {
  explicit DeviceGenerator(DeviceIndex index)
      : at::CPUGeneratorImpl(c10::default_rng_seed_val),
        numbers(at::detail::createCPUGenerator(scrambled(c10::default_rng_seed_val))),
        given(c10::default_rng_seed_val) {
    device_ = Device(DeviceType::CUDA, index);
    key_set_ = c10::DispatchKeySet(c10::DispatchKey::CUDA);
  }

  void set_current_seed(uint64_t seed) override {
    given = seed;
    numbers.set_current_seed(scrambled(seed));
  }
  uint64_t current_seed() const override { return given; }
  uint64_t seed() override {
    set_current_seed(c10::detail::getNonDeterministicRandom(false));
    return given;
  }
  void set_state(const c10::TensorImpl& state) override { numbers.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return numbers.unsafeGetGeneratorImpl()->get_state();
  }

  at::Generator numbers;  // what kernels of the processor draw from

 private:
  // Another seed than was given: with the same one, device and processor would draw alike by chance.
  static uint64_t scrambled(uint64_t seed) { return seed * 0x9E3779B97F4A7C15ULL + 0x632BE59BD9B4E019ULL; }

  uint64_t given;
};

inline at::Generator new_generator(DeviceIndex index) { return at::make_generator<DeviceGenerator>(index); }

inline const at::Generator& default_generator(DeviceIndex index) {
  static const std::vector<at::Generator> all = [] {
    std::vector<at::Generator> made;
    for (int k = 0; k < device_count(); ++k) made.push_back(new_generator(static_cast<DeviceIndex>(k)));
    return made;
  }();
  return all.at(index < 0 ? current : index);
}

inline DeviceGenerator& as_of_device(const at::Generator& generator) {
  return *static_cast<DeviceGenerator*>(generator.unsafeGetGeneratorImpl());
}

}  // namespace pretend
