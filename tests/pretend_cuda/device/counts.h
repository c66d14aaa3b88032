// What a run on a real device would cost: kernels started, and moments at which the host has to wait.
#pragma once

#include <torch/csrc/utils/pybind.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace pretend {

namespace py = pybind11;

struct Counts {
  std::atomic<int64_t> kernels{0};
  std::atomic<int64_t> waits{0};
  std::mutex lock;
  std::map<std::string, int64_t> kernels_by_name;
  std::map<std::string, int64_t> waits_by_kind;
  PyObject* observer = nullptr;  // called with (kind, operator) at each wait; leaked on purpose

  void kernel(const std::string& name) {
    ++kernels;
    std::lock_guard<std::mutex> held(lock);
    ++kernels_by_name[name];
  }

  void wait(const std::string& kind, const std::string& name) {
    ++waits;
    {
      std::lock_guard<std::mutex> held(lock);
      ++waits_by_kind[kind];
    }
    if (observer == nullptr) return;
    py::gil_scoped_acquire gil;
    try {
      py::reinterpret_borrow<py::object>(observer)(kind, name);
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("the observer of waits");
    }
  }

  void reset() {
    kernels = waits = 0;
    std::lock_guard<std::mutex> held(lock);
    kernels_by_name.clear();
    waits_by_kind.clear();
  }
};

inline Counts counts;

}  // namespace pretend
