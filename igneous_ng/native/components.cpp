// Connected components by runs of equal voxels and a union-find over the runs.
//
// A row of voxels is cut into runs; runs of neighbouring rows that touch and have one label are united. The set of a
// run is called by its first run, so components are numbered by their first voxels (He, Chao and Suzuki 2008 describe
// run-based labelling; the sets are Tarjan's).

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "sets.hpp"

namespace py = pybind11;

namespace {

using Vec3 = std::array<py::ssize_t, 3>;

struct Labelling {
  std::vector<uint32_t> lengths, ids;
  std::vector<int64_t> first, size;
};

template <class Label>
class Labeller {
 public:
  Labeller(const Label* data, Vec3 shape, Vec3 step, int connectivity)
      : data_(data), shape_(shape), step_(step), connectivity_(connectivity) {}

  Labelling run() {
    cut();
    for (py::ssize_t z = 0; z < shape_[2]; ++z)
      for (py::ssize_t y = 0; y < shape_[1]; ++y) tie(y, z);
    return number();
  }

 private:
  const Label* row(py::ssize_t y, py::ssize_t z) const { return data_ + y * step_[1] + z * step_[2]; }
  size_t index(py::ssize_t y, py::ssize_t z) const { return y + shape_[1] * z; }
  uint32_t end_of(size_t run, size_t row) const {
    return run + 1 < rows_[row + 1] ? starts_[run + 1] : static_cast<uint32_t>(shape_[0]);
  }

  void cut() {
    rows_.reserve(shape_[1] * shape_[2] + 1);
    for (py::ssize_t z = 0; z < shape_[2]; ++z)
      for (py::ssize_t y = 0; y < shape_[1]; ++y) {
        rows_.push_back(starts_.size());
        const Label* voxels = row(y, z);
        for (py::ssize_t x = 0; x < shape_[0];) {
          const Label label = voxels[x * step_[0]];
          starts_.push_back(static_cast<uint32_t>(x));
          labels_.push_back(label);
          do ++x;
          while (x < shape_[0] && voxels[x * step_[0]] == label);
        }
      }
    rows_.push_back(starts_.size());
    sets_.grow(starts_.size());
  }

  // Unite the runs of a row with those of its neighbours before it.
  void tie(py::ssize_t y, py::ssize_t z) {
    const bool edges = connectivity_ > 6, corners = connectivity_ > 18;
    if (y > 0) tie(index(y, z), index(y - 1, z), edges);
    if (z == 0) return;
    tie(index(y, z), index(y, z - 1), edges);
    if (!edges) return;
    if (y > 0) tie(index(y, z), index(y - 1, z - 1), corners);
    if (y + 1 < shape_[1]) tie(index(y, z), index(y + 1, z - 1), corners);
  }

  // With reach, also runs that are neighbours by a step along x.
  void tie(size_t row, size_t other, uint32_t reach) {
    size_t from = rows_[other];
    for (size_t run = rows_[row]; run < rows_[row + 1]; ++run) {
      const uint32_t start = starts_[run], end = end_of(run, row);
      while (from < rows_[other + 1] && end_of(from, other) + reach <= start) ++from;
      if (!labels_[run]) continue;
      for (size_t one = from; one < rows_[other + 1] && starts_[one] < end + reach; ++one)
        if (labels_[one] == labels_[run]) sets_.unite(static_cast<uint32_t>(run), static_cast<uint32_t>(one));
    }
  }

  Labelling number() {
    Labelling made;
    std::vector<uint32_t> ids(starts_.size());
    int64_t at = 0;
    for (size_t row = 0; row + 1 < rows_.size(); ++row)
      for (size_t run = rows_[row]; run < rows_[row + 1]; ++run) {
        const uint32_t length = end_of(run, row) - starts_[run];
        ids[run] = labels_[run] ? id_of(static_cast<uint32_t>(run), ids, at, made) : 0;
        if (ids[run]) made.size[ids[run] - 1] += length;
        if (made.ids.empty() || made.ids.back() != ids[run]) {
          made.ids.push_back(ids[run]);
          made.lengths.push_back(0);
        }
        made.lengths.back() += length;
        at += length;
      }
    return made;
  }

  uint32_t id_of(uint32_t run, const std::vector<uint32_t>& ids, int64_t at, Labelling& made) {
    const uint32_t root = sets_.find(run);
    if (root != run) return ids[root];
    made.first.push_back(at);
    made.size.push_back(0);
    return static_cast<uint32_t>(made.first.size());
  }

  const Label* data_;
  Vec3 shape_, step_;
  int connectivity_;
  std::vector<size_t> rows_;  // where the runs of each row begin
  std::vector<uint32_t> starts_;
  std::vector<Label> labels_;
  disjoint::Sets<uint32_t> sets_;
};

template <class Label>
Labelling labelled(const py::buffer_info& info, int connectivity) {
  const auto size = static_cast<py::ssize_t>(sizeof(Label));
  const Vec3 shape{info.shape[0], info.shape[1], info.shape[2]};
  const Vec3 step{info.strides[0] / size, info.strides[1] / size, info.strides[2] / size};
  return Labeller<Label>(static_cast<const Label*>(info.ptr), shape, step, connectivity).run();
}

template <class T>
py::array_t<T> array_of(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

py::tuple label(const py::buffer& labels, int connectivity) {
  const py::buffer_info info = labels.request();
  if (info.ndim != 3 || info.size == 0) throw std::invalid_argument("give labels [x, y, z], at least one");
  if (info.size >= std::numeric_limits<uint32_t>::max()) throw std::invalid_argument("a block of 2^32 voxels or more; use smaller cells");
  if (connectivity != 6 && connectivity != 18 && connectivity != 26) throw std::invalid_argument("connectivity is 6, 18 or 26");
  Labelling made;
  {
    py::gil_scoped_release release;
    switch (info.itemsize) {
      case 1: made = labelled<uint8_t>(info, connectivity); break;
      case 2: made = labelled<uint16_t>(info, connectivity); break;
      case 4: made = labelled<uint32_t>(info, connectivity); break;
      case 8: made = labelled<uint64_t>(info, connectivity); break;
      default: throw std::invalid_argument("labels are integers of 1, 2, 4 or 8 bytes");
    }
  }
  return py::make_tuple(array_of(made.lengths), array_of(made.ids), array_of(made.first), array_of(made.size));
}

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

// The run that holds each of ascending places.
class Walk {
 public:
  Walk(const Array<uint32_t>& lengths, const Array<uint32_t>& ids)
      : length_(lengths.data()), id_(ids.data()), last_(lengths.data() + lengths.size()) {}

  uint32_t at(int64_t place) {
    while (length_ != last_ && place >= end_ + *length_) {
      end_ += *length_++;
      ++id_;
    }
    if (length_ == last_) throw std::invalid_argument("the runs end before the block does");
    return *id_;
  }

 private:
  const uint32_t* length_;
  const uint32_t* id_;
  const uint32_t* last_;
  int64_t end_ = 0;
};

// Voxels from lo, of shape, of a block of runs; x fastest.
py::array_t<uint32_t> window(const Array<uint32_t>& lengths, const Array<uint32_t>& ids, const Vec3& block, const Vec3& lo, const Vec3& shape) {
  if (lengths.size() != ids.size()) throw std::invalid_argument("there are as many lengths as ids");
  for (int i = 0; i < 3; ++i)
    if (lo[i] < 0 || shape[i] < 1 || lo[i] + shape[i] > block[i]) throw std::invalid_argument("the window lies outside of the block");
  py::array_t<uint32_t, py::array::f_style> out({shape[0], shape[1], shape[2]});
  uint32_t* to = out.mutable_data();
  Walk walk(lengths, ids);
  py::gil_scoped_release release;
  for (py::ssize_t z = lo[2]; z < lo[2] + shape[2]; ++z)
    for (py::ssize_t y = lo[1]; y < lo[1] + shape[1]; ++y) {
      const int64_t row = block[0] * (y + block[1] * z);
      for (py::ssize_t x = lo[0]; x < lo[0] + shape[0]; ++x) *to++ = walk.at(row + x);
    }
  return out;
}

template <class Label>
void paint(const Array<uint32_t>& lengths, const Array<uint32_t>& ids, const Array<Label>& values, py::array_t<Label, py::array::f_style> out) {
  if (lengths.size() != ids.size()) throw std::invalid_argument("there are as many lengths as ids");
  Label* to = out.mutable_data();
  Label* const end = to + out.size();
  const uint32_t *length = lengths.data(), *id = ids.data();
  const Label* value = values.data();
  py::gil_scoped_release release;
  for (py::ssize_t run = 0; run < lengths.size(); ++run) {
    if (id[run] >= values.size() || length[run] > end - to) throw std::invalid_argument("the runs do not fit the block, or a component has no value");
    std::fill(to, to + length[run], value[id[run]]);
    to += length[run];
  }
  if (to != end) throw std::invalid_argument("the runs end before the block does");
}

py::array_t<int64_t> sets(py::ssize_t count, const Array<int64_t>& one, const Array<int64_t>& other) {
  if (one.size() != other.size()) throw std::invalid_argument("ties have two ends");
  if (count >= std::numeric_limits<uint32_t>::max()) throw std::invalid_argument("2^32 elements or more in one node");
  py::array_t<int64_t> leaders(count);
  const int64_t *a = one.data(), *b = other.data();
  int64_t* to = leaders.mutable_data();
  py::gil_scoped_release release;
  disjoint::Sets<uint32_t> found(count);
  for (py::ssize_t i = 0; i < one.size(); ++i) {
    if (a[i] < 0 || a[i] >= count || b[i] < 0 || b[i] >= count) throw std::invalid_argument("a tie to an element that is not there");
    found.unite(static_cast<uint32_t>(a[i]), static_cast<uint32_t>(b[i]));
  }
  for (py::ssize_t i = 0; i < count; ++i) to[i] = found.find(static_cast<uint32_t>(i));
  return leaders;
}

}  // namespace

PYBIND11_MODULE(components, m) {
  m.doc() = "Connected components of a block, as runs; sets of elements that are tied.";
  m.def("label", &label, py::arg("labels"), py::arg("connectivity"));
  m.def("window", &window, py::arg("lengths"), py::arg("ids"), py::arg("block"), py::arg("lo"), py::arg("shape"));
  m.def("paint", &paint<uint32_t>, py::arg("lengths"), py::arg("ids"), py::arg("values").noconvert(), py::arg("out").noconvert());
  m.def("paint", &paint<uint64_t>, py::arg("lengths"), py::arg("ids"), py::arg("values").noconvert(), py::arg("out").noconvert());
  m.def("sets", &sets, py::arg("count"), py::arg("one"), py::arg("other"));
}
