// Tensors of the device as tensors of the processor on the same memory, for one call of one operator, and back.
#pragma once

#include <ATen/ATen.h>

#include <unordered_map>
#include <utility>
#include <vector>

#include "devices.h"

namespace pretend {

using at::Tensor;

class Bridge {
 public:
  int device = -1;

  // `tensor` of the device, for the processor's kernels. What is `written` may change its shape or memory.
  Tensor to_processor(const Tensor& tensor, bool written) {
    const c10::Storage own = tensor.storage();
    c10::Storage& shared = processor_storages[own.unsafeGetStorageImpl()];
    if (!shared) {
      shared = storage_over(own, Device(c10::kCPU), c10::GetCPUAllocator(), -1);
      device_storages[shared.unsafeGetStorageImpl()] = own;
    }
    Tensor made = view_of(shared, tensor, c10::DispatchKey::CPU);
    originals[made.unsafeGetTensorImpl()] = tensor;
    alive.push_back(made);  // or a result may get its address
    if (written) changed.emplace_back(made, tensor);
    return made;
  }

  // What a kernel of the processor gave, as a tensor of the device; the original where it is one.
  Tensor to_device(const Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    if (auto known = originals.find(tensor.unsafeGetTensorImpl()); known != originals.end()) return known->second;
    c10::Storage& own = device_storages[tensor.storage().unsafeGetStorageImpl()];
    if (!own) own = storage_over(tensor.storage(), Device(DeviceType::CUDA, DeviceIndex(device)), &allocator, device);
    return view_of(own, tensor, c10::DispatchKey::CUDA);
  }

  // Give the tensors that were written to the shape and the memory that the kernel gave them.
  void settle() {
    for (auto& [here, there] : changed) {
      const c10::Storage from = here.storage(), to = there.storage();
      if (from.data() != to.data() || from.nbytes() != to.nbytes()) {
        to.unsafeGetStorageImpl()->set_data_ptr_noswap(
            pointer_over(from, Device(DeviceType::CUDA, DeviceIndex(device)), device));
        to.unsafeGetStorageImpl()->set_nbytes(from.nbytes());
      }
      if (here.sizes() != there.sizes() || here.strides() != there.strides() ||
          here.storage_offset() != there.storage_offset())
        there.unsafeGetTensorImpl()->set_sizes_and_strides(here.sizes(), here.strides(), here.storage_offset());
    }
  }

 private:
  // Memory that lives as long as what it lies in, counted as the device's unless `counted` is negative.
  struct Held {
    c10::Storage storage;
    int counted;
    int64_t bytes;
  };

  static void let_go(void* context) {
    auto* held = static_cast<Held*>(context);
    if (held->counted >= 0 && held->bytes) memory.give(held->counted, held->bytes);
    delete held;
  }

  static c10::DataPtr pointer_over(const c10::Storage& storage, Device device, int counted) {
    auto* held = new Held{storage, counted, static_cast<int64_t>(storage.nbytes())};
    if (counted >= 0 && held->bytes) memory.take(counted, held->bytes);
    return {const_cast<void*>(storage.data()), held, &let_go, device};
  }

  static c10::Storage storage_over(const c10::Storage& storage, Device device, c10::Allocator* owner, int counted) {
    return c10::Storage(c10::make_intrusive<c10::StorageImpl>(
        c10::StorageImpl::use_byte_size_t(), storage.nbytes(), pointer_over(storage, device, counted), owner, true));
  }

  static Tensor view_of(const c10::Storage& storage, const Tensor& like, c10::DispatchKey key) {
    Tensor made =
        at::detail::make_tensor<c10::TensorImpl>(c10::Storage(storage), c10::DispatchKeySet(key), like.dtype());
    auto* inside = made.unsafeGetTensorImpl();
    inside->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
    if (like.is_conj()) inside->_set_conj(true);
    if (like.is_neg()) inside->_set_neg(true);
    return made;
  }

  std::unordered_map<c10::StorageImpl*, c10::Storage> processor_storages, device_storages;
  std::unordered_map<c10::TensorImpl*, Tensor> originals;
  std::vector<Tensor> alive;
  std::vector<std::pair<Tensor, Tensor>> changed;
};

}  // namespace pretend
