// What adds up over the runs of components: voxels, evidence, places and the box of each, in one pass over the runs;
// the evidence of background is not looked at.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>

namespace py = pybind11;

namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;
using Evidence = py::array_t<uint8_t, py::array::f_style>;

struct Sums {
  int64_t voxels = 0, evidence = 0, peak = 0;
  int64_t place[3] = {0, 0, 0};
  int64_t lo[3], hi[3] = {0, 0, 0};

  Sums() { std::fill(lo, lo + 3, std::numeric_limits<int64_t>::max()); }

  // Voxels from x to end of one row.
  void add(const uint8_t* row, int64_t x, int64_t end, int64_t y, int64_t z) {
    const int64_t length = end - x;
    uint64_t sum = 0;
    uint8_t most = 0;
    for (int64_t i = x; i < end; ++i) {
      sum += row[i];
      most = std::max(most, row[i]);
    }
    voxels += length;
    evidence += static_cast<int64_t>(sum);
    peak = std::max<int64_t>(peak, most);
    place[0] += (x + end - 1) * length / 2;
    place[1] += y * length;
    place[2] += z * length;
    const int64_t first[3] = {x, y, z}, last[3] = {end, y + 1, z + 1};
    for (int axis = 0; axis < 3; ++axis) {
      lo[axis] = std::min(lo[axis], first[axis]);
      hi[axis] = std::max(hi[axis], last[axis]);
    }
  }
};

static_assert(sizeof(Sums) == 12 * sizeof(int64_t), "rows are of twelve numbers");

py::array_t<int64_t> sums(const Array<uint32_t>& lengths, const Array<uint32_t>& ids, const Evidence& evidence, py::ssize_t count) {
  if (lengths.size() != ids.size()) throw std::invalid_argument("there are as many lengths as ids");
  if (evidence.ndim() != 3) throw std::invalid_argument("give evidence [x, y, z]");
  py::array_t<int64_t> out({count, py::ssize_t{12}});
  Sums* const to = reinterpret_cast<Sums*>(out.mutable_data());
  const uint32_t *length = lengths.data(), *id = ids.data();
  const uint8_t* const voxels = evidence.data();
  const int64_t wide = evidence.shape(0), deep = evidence.shape(1), all = evidence.size(), runs = lengths.size();
  py::gil_scoped_release release;
  std::fill(to, to + count, Sums());
  int64_t at = 0;
  for (int64_t run = 0; run < runs; ++run) {
    const int64_t end = at + length[run];
    if (end > all || id[run] > count) throw std::invalid_argument("the runs do not fit the block, or there are more components");
    while (id[run] && at < end) {
      const int64_t row = at / wide, x = at - row * wide, stop = std::min(wide, x + end - at);
      to[id[run] - 1].add(voxels + row * wide, x, stop, row % deep, row / deep);
      at += stop - x;
    }
    at = end;
  }
  if (at != all) throw std::invalid_argument("the runs end before the block does");
  return out;
}

}  // namespace

PYBIND11_MODULE(run_sums, m) {
  m.doc() = "Sums, least and greatest values over components given as runs.";
  m.def("sums", &sums, py::arg("lengths"), py::arg("ids"), py::arg("evidence").noconvert(), py::arg("count"));
}
