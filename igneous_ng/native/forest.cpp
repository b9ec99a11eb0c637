// Spanning forests and connected parts of graphs, by union of sets (Galler & Fischer 1964, CACM 7:301; Tarjan 1975).

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "sets.hpp"

namespace py = pybind11;

namespace {

using Numbers = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;

void check(const Numbers& edges, int64_t count) {
  if (count < 0 || edges.ndim() != 2 || edges.shape(1) != 2) throw std::invalid_argument("edges are pairs of vertices");
  for (py::ssize_t i = 0; i < edges.size(); ++i)
    if (edges.data()[i] < 0 || edges.data()[i] >= count) throw std::invalid_argument("an edge to no vertex");
}

py::array_t<bool> spanning(const Numbers& edges, const Numbers& order, int64_t count) {
  check(edges, count);
  const py::ssize_t size = edges.shape(0);
  py::array_t<bool> kept(size);
  const int64_t *edge = edges.data(), *rank = order.data();
  bool* keep = kept.mutable_data();
  if (order.size() != size) throw std::invalid_argument("edges and their order differ in length");
  for (py::ssize_t i = 0; i < size; ++i)
    if (rank[i] < 0 || rank[i] >= size) throw std::invalid_argument("an order of other edges");
  {
    py::gil_scoped_release release;
    disjoint::Sets<int64_t> sets(count);
    std::fill(keep, keep + size, false);
    for (py::ssize_t i = 0; i < size; ++i) keep[rank[i]] = sets.unite(edge[2 * rank[i]], edge[2 * rank[i] + 1]);
  }
  return kept;
}

Numbers parts(const Numbers& edges, int64_t count) {
  check(edges, count);
  Numbers numbers(count);
  const int64_t* edge = edges.data();
  int64_t* number = numbers.mutable_data();
  const py::ssize_t size = edges.shape(0);
  {
    py::gil_scoped_release release;
    disjoint::Sets<int64_t> sets(count);
    for (py::ssize_t i = 0; i < size; ++i) sets.unite(edge[2 * i], edge[2 * i + 1]);
    for (int64_t i = 0, found = 0; i < count; ++i) {
      const int64_t first = sets.find(i);
      number[i] = first == i ? found++ : number[first];
    }
  }
  return numbers;
}

}  // namespace

PYBIND11_MODULE(forest, m) {
  m.def("spanning", &spanning);
  m.def("parts", &parts);
}
