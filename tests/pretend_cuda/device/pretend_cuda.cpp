// A pretend CUDA device for a build of torch that has none. Tensors have the dispatch key CUDA, so that torch's
// own checks of devices, its autograd threads, functorch, autocast and generators behave as with a GPU. Numbers
// come from the kernels of the processor, on the same memory. It raises where CUDA raises, and counts what
// would cost.
#include <ATen/EmptyTensor.h>
#include <torch/library.h>

#include <optional>

#include "behaviour.h"
#include "bridge.h"
#include "counts.h"
#include "devices.h"
#include "generators.h"
#include "hooks.h"

namespace pretend {
namespace {

using Stack = torch::jit::Stack;

const Names COPIES = {"aten::copy_", "aten::_copy_from", "aten::_copy_from_and_resize"};

const Names INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_",
                        "aten::_unsafe_index", "aten::_unsafe_index_put"};

// Operators that take no number of the host, not even a tensor without dimensions.
const Names NO_HOST_NUMBER = {"aten::cat", "aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm", "aten::dot",
                              "aten::index_add", "aten::index_select", "aten::gather", "aten::index_copy",
                              "aten::scatter", "aten::scatter_add", "aten::embedding"};

const Names FETCHES = {"aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero", "aten::item"};

// The shape of what they give depends on numbers, for which the host waits.
const Names SHAPED_BY_NUMBERS = {"aten::nonzero", "aten::_unique", "aten::_unique2", "aten::unique_dim",
                                 "aten::unique_consecutive", "aten::masked_select", "aten::bincount"};

const Names VIEWS = {"aten::as_strided", "aten::view", "aten::_reshape_alias", "aten::unfold", "aten::resize_",
                     "aten::set_", "aten::_conj", "aten::_neg_view", "aten::view_as_real", "aten::view_as_complex"};

// Kernels that draw from the default generator without being given one.
const Names DRAWING = {"aten::native_dropout", "aten::_fused_dropout", "aten::rrelu_with_noise"};

class Dispatch {
 public:
  Dispatch(const c10::OperatorHandle& op, Stack* stack) : op_(op), call_(op, stack) {}

  void run() {
    require_working();
    refuse_nondeterministic(call_);
    find_device();
    for (size_t k = 0; k < call_.count(); ++k) convert(k);
    if (is_product(call_)) require_workspace();
    if (takes_tf32(call_)) round_arguments();
    compute();
    bridge_.settle();
    convert_results();
    count();
  }

 private:
  bool is(const Names& names) const { return names.count(call_.base) > 0; }

  void find_device() {
    const auto look = [this](const Tensor& tensor) {
      if (!tensor.defined() || !tensor.is_cuda()) return;
      const int index = tensor.device().index();
      if (bridge_.device < 0) bridge_.device = index;
      TORCH_CHECK(bridge_.device == index || is(COPIES),
                  "Expected all tensors to be on the same device, but found at least two devices, cuda:",
                  bridge_.device, " and cuda:", index, "! (", call_.name, ")");
    };
    for (size_t k = 0; k < call_.count(); ++k) {
      const auto& value = call_.value(k);
      if (value.isTensor()) look(value.toTensor());
      else if (value.isTensorList())
        for (const Tensor& tensor : value.toTensorList()) look(tensor);
      else if (value.isOptionalTensorList()) {
        for (const std::optional<Tensor>& tensor : value.toOptionalTensorList())
          if (tensor) look(*tensor);
      } else if (value.isDevice() && value.toDevice().is_cuda() && bridge_.device < 0)
        bridge_.device = value.toDevice().has_index() ? value.toDevice().index() : current;
    }
    if (bridge_.device < 0) bridge_.device = current;
  }

  Tensor host(const Tensor& tensor, size_t k, bool listed) {
    if (!tensor.defined()) return tensor;
    if (tensor.is_cuda()) return bridge_.to_processor(tensor, call_.written(k));
    if (is(COPIES)) {
      (k == 0 ? to_host_ : from_host_) = true;
      return tensor;
    }
    if (is(INDEXING) && listed) {  // CUDA takes indices of the host, and copies them at each call
      counts.wait("index from the host", call_.name);
      return tensor;
    }
    TORCH_CHECK(tensor.dim() == 0 && !is(NO_HOST_NUMBER),
                "Expected all tensors to be on the same device, but found at least two devices, cuda:",
                bridge_.device, " and ", tensor.device(), "! (when checking argument ", call_.declared(k).name(),
                " of ", call_.name, ")");
    return tensor;
  }

  void convert(size_t k) {
    auto& value = call_.value(k);
    if (value.isTensor()) {
      value = host(value.toTensor(), k, false);
    } else if (value.isTensorList()) {
      c10::List<Tensor> made;
      for (const Tensor& tensor : value.toTensorList()) made.push_back(host(tensor, k, true));
      value = made;
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> made;
      for (const std::optional<Tensor>& tensor : value.toOptionalTensorList())
        made.push_back(tensor ? std::optional<Tensor>(host(*tensor, k, true)) : std::nullopt);
      value = made;
    } else if (value.isDevice() && value.toDevice().is_cuda()) {
      value = Device(c10::kCPU);
    } else if (value.isGenerator()) {
      const at::Generator given = value.toGenerator();
      TORCH_CHECK(given.device().is_cuda(), "Expected a 'cuda' device type for generator but found '",
                  given.device().type(), "' (", call_.name, ")");
      value = as_of_device(given).numbers;
    } else if (value.isNone() && call_.declared(k).type()->str().find("Generator") != std::string::npos) {
      value = as_of_device(default_generator(DeviceIndex(bridge_.device))).numbers;
    }
  }

  void round_arguments() {
    const bool adds = call_.base.find("add") != std::string::npos;  // self is what a product is added to
    for (size_t k = 0; k < call_.count(); ++k) {
      auto& value = call_.value(k);
      const auto& name = call_.declared(k).name();
      if (!value.isTensor() || call_.written(k) || (adds && name == "self") || name == "bias") continue;
      if (!value.toTensor().defined() || value.toTensor().scalar_type() != at::kFloat) continue;
      at::AutoDispatchBelowADInplaceOrView below;
      value = as_tf32(value.toTensor());
    }
  }

  void compute() {
    using c10::DispatchKey;
    TORCH_CHECK(op_.hasKernelForDispatchKey(DispatchKey::CPU) ||
                    op_.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutograd) ||
                    op_.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutogradNonFunctional) ||
                    op_.hasKernelForDispatchKey(DispatchKey::CompositeImplicitAutograd),
                "pretend CUDA: the processor has no kernel to compute ", call_.name, " with");
    const bool drawing = is(DRAWING);
    auto& own = *as_of_device(default_generator(DeviceIndex(bridge_.device))).numbers.unsafeGetGeneratorImpl();
    auto& processors = *at::detail::getDefaultCPUGenerator().unsafeGetGeneratorImpl();
    c10::intrusive_ptr<c10::TensorImpl> before;
    if (drawing) {
      before = processors.get_state();
      processors.set_state(*own.get_state());
    }
    try {
      at::AutoDispatchBelowADInplaceOrView below;
      op_.redispatchBoxed(c10::DispatchKeySet(DispatchKey::CPU), &call_.stack);
    } catch (const c10::Error& error) {
      if (!is_out_of_range(error)) throw;
      broken = true;  // a kernel of CUDA asserts this on the device
      require_working();
    }
    if (drawing) {
      own.set_state(*processors.get_state());
      processors.set_state(*before);
    }
  }

  // An index that only a look at numbers can find wrong.
  static bool is_out_of_range(const c10::Error& error) {
    const std::string said = error.what_without_backtrace();
    return said.find("out of bounds") != std::string::npos || said.find("index out of range") != std::string::npos;
  }

  void convert_results() {
    if (to_host_) return;
    Stack& stack = call_.stack;
    for (size_t k = stack.size() - call_.schema.returns().size(); k < stack.size(); ++k) {
      if (stack[k].isTensor()) {
        stack[k] = bridge_.to_device(stack[k].toTensor());
      } else if (stack[k].isTensorList()) {
        c10::List<Tensor> made;
        for (const Tensor& tensor : stack[k].toTensorList()) made.push_back(bridge_.to_device(tensor));
        stack[k] = made;
      }
    }
  }

  void count() {
    if (to_host_) counts.wait("copy to the host", call_.name);
    else if (from_host_) {
      if (!non_blocking_) counts.wait("copy from the host", call_.name);
    } else if (is(FETCHES)) {
      if (call_.base == "aten::equal") counts.kernel(call_.name);
      counts.wait("number", call_.name);
    } else if (!is(VIEWS)) {
      counts.kernel(call_.name);
      if (is(SHAPED_BY_NUMBERS) || call_.name == "aten::repeat_interleave.Tensor")
        counts.wait("shape", call_.name);
    }
  }

  const c10::OperatorHandle& op_;
  Call call_;
  Bridge bridge_;
  bool to_host_ = false;
  bool from_host_ = false;
  bool non_blocking_ = [this] {  // memory that is not pinned is copied aside at once, and not waited for
    const auto* given = call_.argument("non_blocking");
    return given != nullptr && given->isBool() && given->toBool();
  }();
};

void on_processor(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) { Dispatch(op, stack).run(); }

// What cannot go through the processor's kernels: new memory, and tensors that get another memory.

c10::ScalarType or_default(std::optional<c10::ScalarType> dtype) {
  return dtype.value_or(at::get_default_dtype_as_scalartype());
}

Tensor empty(c10::SymIntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
             std::optional<Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  const c10::DeviceGuard guard(device.value_or(Device(DeviceType::CUDA)));
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(size), &allocator,
                                   c10::DispatchKeySet(c10::DispatchKey::CUDA), or_default(dtype), format);
}

Tensor empty_strided(c10::SymIntArrayRef size, c10::SymIntArrayRef stride, std::optional<at::ScalarType> dtype,
                     std::optional<at::Layout>, std::optional<Device> device, std::optional<bool>) {
  const c10::DeviceGuard guard(device.value_or(Device(DeviceType::CUDA)));
  return at::detail::empty_strided_generic(C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), &allocator,
                                           c10::DispatchKeySet(c10::DispatchKey::CUDA), or_default(dtype));
}

Tensor& set_storage_offset(Tensor& self, at::Storage source, c10::SymInt offset, c10::SymIntArrayRef size,
                           c10::SymIntArrayRef stride) {
  auto* inside = self.unsafeGetTensorImpl();
  inside->set_storage_keep_dtype(std::move(source));
  const auto sizes = C10_AS_INTARRAYREF_SLOW(size);
  const auto start = offset.guard_int(__FILE__, __LINE__);
  if (stride.size() == size.size()) {
    inside->set_sizes_and_strides(sizes, C10_AS_INTARRAYREF_SLOW(stride), start);
  } else {
    inside->set_sizes_contiguous(sizes);
    inside->set_storage_offset(start);
  }
  return self;
}

Tensor& set_storage(Tensor& self, at::Storage source) {
  auto* inside = self.unsafeGetTensorImpl();
  const auto count = static_cast<int64_t>(source.nbytes() / self.itemsize());
  inside->set_storage_keep_dtype(std::move(source));
  inside->set_storage_offset(0);
  inside->set_sizes_contiguous({count});
  return self;
}

Tensor& set_tensor(Tensor& self, const Tensor& source) {
  auto* inside = self.unsafeGetTensorImpl();
  inside->set_storage_keep_dtype(source.storage());
  inside->set_sizes_and_strides(source.sizes(), source.strides(), source.storage_offset());
  return self;
}

Tensor& set_nothing(Tensor& self) { return set_tensor(self, at::empty({0}, self.options())); }

C10_REGISTER_GUARD_IMPL(CUDA, DeviceGuard)

TORCH_LIBRARY_IMPL(_, CUDA, library) { library.fallback(torch::CppFunction::makeFromBoxedFunction<&on_processor>()); }

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("empty.memory_format", TORCH_FN(empty));
  library.impl("empty_strided", TORCH_FN(empty_strided));
  library.impl("set_.source_Storage_storage_offset", TORCH_FN(set_storage_offset));
  library.impl("set_.source_Storage", TORCH_FN(set_storage));
  library.impl("set_.source_Tensor", TORCH_FN(set_tensor));
  library.impl("set_", TORCH_FN(set_nothing));
  // These have kernels for every device, which would be taken before the fallback.
  for (const char* name : {"copy_", "as_strided", "view", "view.dtype", "_reshape_alias", "resize_", "unfold",
                           "_local_scalar_dense", "convolution", "convolution_backward"})
    library.impl(name, torch::CppFunction::makeFromBoxedFunction<&on_processor>());
}

}  // namespace
}  // namespace pretend

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  using namespace pretend;
  c10::SetAllocator(DeviceType::CUDA, &allocator, 100);
  module.def("reset", [] { counts.reset(); });
  module.def("kernels", [] { return counts.kernels.load(); });
  module.def("waits", [] { return counts.waits.load(); });
  module.def("waits_by_kind", [] {
    const std::lock_guard<std::mutex> held(counts.lock);
    return counts.waits_by_kind;
  });
  module.def("kernels_by_name", [] {
    const std::lock_guard<std::mutex> held(counts.lock);
    return counts.kernels_by_name;
  });
  module.def("observe", [](py::object observer) {
    counts.observer = observer.is_none() ? nullptr : observer.release().ptr();
  });
  module.def("synchronize", [] {
    require_working();
    counts.wait("synchronize", "device");
  });
  module.def("allocated", [](int device) { return memory.now[device].load(); });
  module.def("peak", [](int device) { return memory.peak[device].load(); });
  module.def("reset_peak", [](int device) { memory.peak[device] = memory.now[device].load(); });
  module.def("default_generator", [](int device) { return default_generator(DeviceIndex(device)); });
  module.def("device", [] { return int(current); });
  module.def("set_device", [](int device) { current = DeviceIndex(device); });
  module.def("device_count", [] { return device_count(); });
  module.def("is_known", [] { return at::globalContext().hasCUDA(); });
}
