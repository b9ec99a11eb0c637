// Vectors of rows of three as arrays of numpy, and back.

#pragma once

#include <pybind11/numpy.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

namespace vectors {

template <class Value>
using Rows = std::vector<std::array<Value, 3>>;
template <class Value>
using Given = pybind11::array_t<Value, pybind11::array::c_style | pybind11::array::forcecast>;

// An array [n, 3] that owns `from`.
template <class Value>
pybind11::array_t<Value> rows(Rows<Value>&& from) {
  auto kept = std::make_unique<Rows<Value>>(std::move(from));
  const auto count = static_cast<pybind11::ssize_t>(kept->size());
  auto* data = reinterpret_cast<Value*>(kept->data());
  const pybind11::capsule owner(kept.release(), [](void* rows) { delete static_cast<Rows<Value>*>(rows); });
  return pybind11::array_t<Value>({count, pybind11::ssize_t{3}}, data, owner);
}

template <class Value>
Rows<Value> copied(const Given<Value>& from) {
  if (from.ndim() != 2 || from.shape(1) != 3) throw std::invalid_argument("give points, vertices and faces as [n, 3]");
  if (static_cast<uint64_t>(from.shape(0)) >= std::numeric_limits<uint32_t>::max() / 3)
    throw std::invalid_argument("a mesh has fewer than 2**32 / 3 vertices and faces");
  Rows<Value> to(static_cast<size_t>(from.shape(0)));
  if (from.size()) std::memcpy(to.data(), from.data(), static_cast<size_t>(from.nbytes()));
  return to;
}

inline void check_corners(const Rows<uint32_t>& faces, size_t vertices) {
  for (const auto& face : faces)
    for (uint32_t corner : face)
      if (corner >= vertices) throw std::invalid_argument("a face has a corner that is no vertex");
}

}  // namespace vectors
