"""A pretend CUDA device, to find without a GPU what would fail on one: `tox -e pretend-cuda`.

It is a backend of torch under CUDA's own dispatch key whose kernels are the processor's. Checks of devices,
autograd, functorch, generators and memory statistics behave as on CUDA. It raises where CUDA does: where host
and device are mixed, for a generator of another device, for operators that are not deterministic, and for
ever after a failed index. float32 products round as TF32 does where that is on. Kernels and waits count.

`device/` is the backend, `build.py` compiles it, `device.py` puts it under `torch.cuda`, and `site/` lets
every process have it that is started with this folder on `PYTHONPATH` and `PRETEND_CUDA_DEVICES` set.

Not covered: rounding and speed of cuDNN and cuBLAS, fused attention, RNNs, asynchronous errors, memory that
runs out.
"""
