// Pieces of different lengths, from anywhere in one array of bytes to anywhere in another.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace py = pybind11;

namespace {

using Bytes = py::array_t<uint8_t, py::array::c_style>;
using Places = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;

bool outside(int64_t start, int64_t size, int64_t all) { return start < 0 || size < 0 || start > all - size; }

void copy(const Bytes& data, const Places& starts, const Places& sizes, Bytes& out, const Places& places) {
  const int64_t count = sizes.size(), given = data.size(), room = out.size();
  if (starts.size() != count || places.size() != count) throw std::invalid_argument("as many starts, sizes and places");
  const uint8_t* from = data.data();
  uint8_t* to = out.mutable_data();
  const int64_t *start = starts.data(), *size = sizes.data(), *place = places.data();
  const py::gil_scoped_release free;
  for (int64_t i = 0; i < count; ++i) {
    if (outside(start[i], size[i], given) || outside(place[i], size[i], room)) {
      throw std::invalid_argument("a piece lies outside of its array");
    }
    std::memcpy(to + place[i], from + start[i], static_cast<size_t>(size[i]));
  }
}

}  // namespace

PYBIND11_MODULE(ragged, m) {
  m.doc() = "Pieces of different lengths.";
  m.def("copy", &copy, py::arg("data").noconvert(), py::arg("starts"), py::arg("sizes"), py::arg("out").noconvert(),
        py::arg("places"));
}
