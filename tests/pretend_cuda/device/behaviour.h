// What CUDA does otherwise than the processor: refusals in deterministic mode, TF32, a workspace of cuBLAS.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <cstdlib>
#include <string>
#include <unordered_set>

#include "devices.h"

namespace pretend {

using Names = std::unordered_set<std::string>;

// One call: the operator's name, what it declares and what it was given.
struct Call {
  std::string name;  // aten::mm.out
  std::string base;  // aten::mm
  const c10::FunctionSchema& schema;
  torch::jit::Stack& stack;
  size_t first;

  Call(const c10::OperatorHandle& op, torch::jit::Stack* given)
      : base(op.schema().name()), schema(op.schema()), stack(*given), first(given->size() - schema.arguments().size()) {
    name = schema.overload_name().empty() ? base : base + "." + schema.overload_name();
  }

  size_t count() const { return schema.arguments().size(); }
  const c10::Argument& declared(size_t k) const { return schema.arguments()[k]; }
  c10::IValue& value(size_t k) const { return stack[first + k]; }
  bool written(size_t k) const {
    const auto* alias = declared(k).alias_info();
    return alias != nullptr && alias->isWrite();
  }
  const c10::IValue* argument(const char* wanted) const {
    for (size_t k = 0; k < count(); ++k)
      if (declared(k).name() == wanted) return &value(k);
    return nullptr;
  }
};

// Operators without a deterministic CUDA kernel, from the documentation of
// torch.use_deterministic_algorithms and the calls of alertNotDeterministic in ATen/native/cuda.
inline void refuse_nondeterministic(const Call& call) {
  if (!at::globalContext().deterministicAlgorithms()) return;
  static const Names always = {
      "aten::avg_pool3d_backward", "aten::_adaptive_avg_pool2d_backward", "aten::_adaptive_avg_pool3d_backward",
      "aten::adaptive_max_pool2d_backward", "aten::fractional_max_pool2d_backward",
      "aten::fractional_max_pool3d_backward", "aten::max_unpool2d", "aten::max_unpool3d",
      "aten::upsample_linear1d_backward", "aten::upsample_bilinear2d_backward", "aten::upsample_bicubic2d_backward",
      "aten::upsample_trilinear3d_backward", "aten::_upsample_bilinear2d_aa_backward",
      "aten::reflection_pad1d_backward", "aten::reflection_pad2d_backward", "aten::reflection_pad3d_backward",
      "aten::_ctc_loss_backward", "aten::put_", "aten::histc", "aten::grid_sampler_2d_backward",
      "aten::grid_sampler_3d_backward"};
  const auto refuse = [](const std::string& kernel) { at::globalContext().alertNotDeterministic(kernel); };
  const auto* reduction = call.argument("reduction");
  const auto* self = call.argument("self");
  const auto* weights = call.argument("weights");
  const auto* reduce = call.argument("reduce");
  const auto* mode = call.argument("mode");
  if (always.count(call.base)) refuse(call.base.substr(6) + "_cuda");
  else if (call.base == "aten::nll_loss2d_forward" && reduction && reduction->toInt() != 0)
    refuse("nll_loss2d_forward_out_cuda_template");
  else if ((call.base == "aten::cumsum" || call.base == "aten::_cumsum") && self && self->toTensor().is_floating_point())
    refuse("cumsum_cuda_kernel");
  else if (call.base == "aten::bincount" && weights && !weights->isNone()) refuse("_bincount_cuda");
  else if (call.base == "aten::median" && call.name != call.base) refuse("median CUDA with indices output");
  else if ((call.base == "aten::scatter_reduce" || call.base == "aten::scatter_reduce_") && reduce &&
           reduce->toStringRef() == "prod")
    refuse("scatter_reduce_cuda_kernel");
  else if (call.base == "aten::_embedding_bag_dense_backward" && mode && mode->toInt() == 2)
    refuse("embedding_bag_backward_cuda_max");
}

// Products, which cuBLAS and cuDNN compute: they may take TF32, and need a workspace to be deterministic.
inline bool is_product(const Call& call) {
  static const Names names = {
      "aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm", "aten::addmv", "aten::convolution",
      "aten::convolution_backward", "aten::_slow_conv2d_forward", "aten::_slow_conv2d_backward",
      "aten::slow_conv_dilated2d", "aten::slow_conv_dilated3d"};
  return names.count(call.base) > 0;
}

// As torch 2.6 to 2.9 do, where PRETEND_CUBLAS is set: the environment is looked at once, at the first product.
inline void require_workspace() {
  if (std::getenv("PRETEND_CUBLAS") == nullptr) return;
  static const bool fixed = [] {
    const char* given = std::getenv("CUBLAS_WORKSPACE_CONFIG");
    return given && (std::string(given) == ":4096:8" || std::string(given) == ":16:8");
  }();
  TORCH_CHECK(fixed || !at::globalContext().deterministicAlgorithms(),
              "Deterministic behavior was enabled with either `torch.use_deterministic_algorithms(True)` or "
              "`at::Context::setDeterministicAlgorithms(true)`, but this operation is not deterministic because "
              "it uses CuBLAS and you have CUDA >= 10.2. To enable deterministic behavior in this case, you must "
              "set an environment variable before running your PyTorch application: "
              "CUBLAS_WORKSPACE_CONFIG=:4096:8 or CUBLAS_WORKSPACE_CONFIG=:16:8.");
}

inline bool takes_tf32(const Call& call) {
  const bool convolution = call.base.find("conv") != std::string::npos;
  return is_product(call) &&
         (convolution ? at::globalContext().allowTF32CuDNN() : at::globalContext().allowTF32CuBLAS());
}

// float32 numbers with the ten bits of mantissa that TF32 has, to nearest even.
inline at::Tensor as_tf32(const at::Tensor& given) {
  const auto bits = given.contiguous().view(at::kInt);
  const auto last = bits.bitwise_right_shift(13).bitwise_and(1);
  return (bits + last + 0x0fff).bitwise_and(~0x1fff).view(at::kFloat);
}

}  // namespace pretend
