// Labels through a table. Neighbours along x mostly have one label, so runs are looked up and not voxels.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace py = pybind11;

namespace {

using Ids = py::array_t<uint64_t, py::array::c_style | py::array::forcecast>;

struct Found {
  uint64_t label = 0, value = 0;
  bool there = false;
};

// A table in ascending order of old labels; what was asked for lately is kept by its hash.
class Table {
 public:
  Table(const Ids& old, const Ids& fresh, bool keep)
      : begin_(old.data()), end_(old.data() + old.size()), fresh_(fresh.data()), keep_(keep), lately_(kLately) {
    for (size_t at = 0; at < lately_.size(); ++at) lately_[at] = search(0);
  }

  const Found& of(uint64_t label) {
    const uint64_t hash = label * 0x9E3779B97F4A7C15ull;
    Found& found = lately_[(hash >> 32) & (kLately - 1)];
    if (found.label != label) found = search(label);
    return found;
  }

 private:
  static constexpr size_t kLately = 1 << 12;

  Found search(uint64_t label) const {
    const uint64_t* at = std::lower_bound(begin_, end_, label);
    if (at != end_ && *at == label) return {label, fresh_[at - begin_], true};
    return {label, keep_ ? label : 0, false};
  }

  const uint64_t *begin_, *end_, *fresh_;
  bool keep_;
  std::vector<Found> lately_;
};

template <class From, class To>
py::ssize_t translated(const py::buffer_info& from, const py::buffer_info& to, Table& table) {
  py::ssize_t at = 0, missing = -1;
  for (py::ssize_t z = 0; z < from.shape[2]; ++z)
    for (py::ssize_t y = 0; y < from.shape[1]; ++y) {
      const char* row = static_cast<const char*>(from.ptr) + y * from.strides[1] + z * from.strides[2];
      char* out = static_cast<char*>(to.ptr) + y * to.strides[1] + z * to.strides[2];
      const auto voxel = [&](py::ssize_t x) { return *reinterpret_cast<const From*>(row + x * from.strides[0]); };
      for (py::ssize_t x = 0; x < from.shape[0];) {
        const From label = voxel(x);
        const Found& found = table.of(label);
        if (found.value > std::numeric_limits<To>::max())
          throw std::invalid_argument("label " + std::to_string(found.value) + " does not fit the new layer");
        if (!found.there && label && missing < 0) missing = at + x;
        const To value = static_cast<To>(found.value);
        do *reinterpret_cast<To*>(out + x * to.strides[0]) = value;
        while (++x < from.shape[0] && voxel(x) == label);
      }
      at += from.shape[0];
    }
  return missing;
}

template <class From>
py::ssize_t translated_from(const py::buffer_info& from, const py::buffer_info& to, Table& table) {
  switch (to.itemsize) {
    case 1: return translated<From, uint8_t>(from, to, table);
    case 2: return translated<From, uint16_t>(from, to, table);
    case 4: return translated<From, uint32_t>(from, to, table);
    case 8: return translated<From, uint64_t>(from, to, table);
    default: throw std::invalid_argument("labels are integers of 1, 2, 4 or 8 bytes");
  }
}

py::ssize_t translate(const py::buffer& labels, const Ids& old, const Ids& fresh, const py::buffer& out, bool keep) {
  const py::buffer_info from = labels.request(), to = out.request(true);
  if (from.ndim != 3 || from.shape != to.shape) throw std::invalid_argument("give labels [x, y, z] and as many out");
  if (old.size() != fresh.size()) throw std::invalid_argument("there are as many new labels as old ones");
  py::gil_scoped_release release;
  Table table(old, fresh, keep);
  switch (from.itemsize) {
    case 1: return translated_from<uint8_t>(from, to, table);
    case 2: return translated_from<uint16_t>(from, to, table);
    case 4: return translated_from<uint32_t>(from, to, table);
    case 8: return translated_from<uint64_t>(from, to, table);
    default: throw std::invalid_argument("labels are integers of 1, 2, 4 or 8 bytes");
  }
}

}  // namespace

PYBIND11_MODULE(translate, m) {
  m.doc() = "Labels through a table.";
  m.def("translate", &translate, py::arg("labels"), py::arg("old"), py::arg("new"), py::arg("out"), py::arg("keep"));
}
