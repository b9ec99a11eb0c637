// Centre lines of many objects of a block: see teasar.hpp. Objects are handed out to threads, the largest first; each
// is traced alone, so neither the number of threads nor their speed shows in what comes out.

#include "teasar.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <exception>
#include <limits>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <thread>

namespace py = pybind11;

namespace {

using namespace igneous;
using Components = py::array_t<uint32_t, py::array::f_style>;
using Distances = py::array_t<float, py::array::f_style>;
using Ids = py::array_t<uint32_t, py::array::c_style | py::array::forcecast>;
using Rows = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;
using Spacing = std::array<double, 3>;

Lattice lattice_of(const Components& components, const Distances& distances, const Spacing& spacing) {
  if (components.ndim() != 3 || distances.ndim() != 3) throw std::invalid_argument("blocks of three axes are wanted");
  const std::array<int64_t, 3> shape = {components.shape(0), components.shape(1), components.shape(2)};
  for (int i = 0; i < 3; ++i) {
    if (distances.shape(i) != shape[i]) throw std::invalid_argument("components and distances differ in shape");
    if (shape[i] < 1 || shape[i] >= std::numeric_limits<int32_t>::max()) throw std::invalid_argument("an empty block");
    if (!(spacing[i] > 0) || !std::isfinite(spacing[i])) throw std::invalid_argument("voxels must have a size");
  }
  const Lattice lattice(shape, spacing);
  if (lattice.voxels() >= std::numeric_limits<Voxel>::max()) throw std::invalid_argument("2^32 voxels or more");
  return lattice;
}

// The voxels of each component asked for, ascending; those of the i-th are [start[i], start[i + 1]).
struct Members {
  std::vector<Voxel> voxels;
  std::vector<size_t> start;
};

Members members(const uint32_t* components, int64_t count, const uint32_t* ids, size_t objects) {
  const uint32_t most = count ? *std::max_element(components, components + count) : 0;
  std::vector<uint32_t> row(size_t{most} + 1, 0);  // one more than the place in ids
  for (size_t i = 0; i < objects; ++i) {
    if (ids[i] == 0 || ids[i] > most || row[ids[i]])
      throw std::invalid_argument("a component that is not there, or is named twice");
    row[ids[i]] = static_cast<uint32_t>(i + 1);
  }
  Members found;
  found.start.assign(objects + 1, 0);
  for (int64_t i = 0; i < count; ++i)
    if (const uint32_t at = row[components[i]]) ++found.start[at];
  std::partial_sum(found.start.begin(), found.start.end(), found.start.begin());
  found.voxels.resize(found.start.back());
  std::vector<size_t> next = found.start;
  for (int64_t i = 0; i < count; ++i)
    if (const uint32_t at = row[components[i]]) found.voxels[next[at - 1]++] = static_cast<Voxel>(i);
  return found;
}

// Adds to each object the targets that lie in it; the others are left out.
void sort_targets(const Rows& rows, const Lattice& lattice, const uint32_t* components,
                  const std::vector<uint32_t>& row, std::vector<Targets>& targets,
                  std::vector<Voxel> Targets::*list) {
  if (rows.ndim() != 2 || rows.shape(1) != 3) throw std::invalid_argument("targets are rows of x, y, z");
  const auto at = rows.unchecked<2>();
  for (py::ssize_t i = 0; i < rows.shape(0); ++i) {
    for (int axis = 0; axis < 3; ++axis)
      if (at(i, axis) < 0 || at(i, axis) >= lattice.shape[axis]) throw std::invalid_argument("a target outside");
    const Voxel voxel = lattice.voxel({static_cast<int32_t>(at(i, 0)), static_cast<int32_t>(at(i, 1)),
                                       static_cast<int32_t>(at(i, 2))});
    const uint32_t id = components[voxel];
    if (id < row.size() && row[id]) (targets[row[id] - 1].*list).push_back(voxel);
  }
}

std::vector<Skeleton> trace_all(const Lattice& lattice, const Teasar& rules, const Fields& fields,
                                const Members& objects, std::vector<Targets>& targets, int threads) {
  const size_t count = targets.size();
  std::vector<Skeleton> made(count);
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  auto size = [&](size_t i) { return objects.start[i + 1] - objects.start[i]; };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return size(a) > size(b); });
  std::atomic<size_t> next{0};
  std::exception_ptr failed;
  std::mutex guard;
  auto work = [&] {
    try {
      Tracer tracer(lattice, rules, fields);
      for (size_t i; (i = next++) < count;) {
        const size_t at = order[i];
        made[at] = tracer.run(&objects.voxels[objects.start[at]], size(at), std::move(targets[at]));
      }
    } catch (...) {
      const std::lock_guard<std::mutex> lock(guard);
      failed = std::current_exception();
      next = count;
    }
  };
  std::vector<std::thread> crew;
  for (int i = 1; i < threads && i < static_cast<int>(count); ++i) crew.emplace_back(work);
  work();
  for (std::thread& one : crew) one.join();
  if (failed) std::rethrow_exception(failed);
  return made;
}

py::tuple arrays(const Lattice& lattice, const std::vector<Skeleton>& made) {
  Rows starts({made.size() + 1, size_t{2}});
  auto start = starts.mutable_unchecked<2>();
  start(0, 0) = start(0, 1) = 0;
  for (size_t i = 0; i < made.size(); ++i) {
    start(i + 1, 0) = start(i, 0) + static_cast<int64_t>(made[i].vertices.size());
    start(i + 1, 1) = start(i, 1) + static_cast<int64_t>(made[i].edges.size() / 2);
  }
  Rows vertices({start(made.size(), 0), int64_t{3}}), edges({start(made.size(), 1), int64_t{2}});
  int64_t *vertex = vertices.mutable_data(), *edge = edges.mutable_data();
  for (const Skeleton& one : made) {
    for (const Voxel voxel : one.vertices) {
      const Point p = lattice.point(voxel);
      *vertex++ = p.x, *vertex++ = p.y, *vertex++ = p.z;
    }
    edge = std::copy(one.edges.begin(), one.edges.end(), edge);
  }
  return py::make_tuple(vertices, edges, starts);
}

Teasar rules_of(const py::dict& raw) {
  Teasar rules{};
  rules.scale = raw["scale"].cast<double>();
  rules.constant = raw["const"].cast<double>();
  rules.pdrf_scale = raw["pdrf_scale"].cast<double>();
  rules.pdrf_exponent = raw["pdrf_exponent"].cast<int>();
  rules.soma_detection = raw["soma_detection_threshold"].cast<double>();
  rules.soma_acceptance = raw["soma_acceptance_threshold"].cast<double>();
  rules.soma_scale = raw["soma_invalidation_scale"].cast<double>();
  rules.soma_constant = raw["soma_invalidation_const"].cast<double>();
  rules.max_paths = raw["max_paths"].cast<int64_t>();
  for (const double value : {rules.scale, rules.constant, rules.pdrf_scale, rules.soma_detection,
                             rules.soma_acceptance, rules.soma_scale, rules.soma_constant})
    if (!(value >= 0) || value > 1e9) throw std::invalid_argument("a parameter below 0, or above 1e9");
  if (rules.pdrf_exponent < 0 || rules.pdrf_exponent > 1024 || rules.max_paths < 0)
    throw std::invalid_argument("pdrf_exponent goes from 0 to 1024, max_paths from 0 up");
  return rules;
}

py::tuple trace(const Components& components, const Distances& distances, const Spacing& spacing, const py::dict& raw,
                const Ids& ids, const std::array<Rows, 3>& wanted, int threads) {
  const Lattice lattice = lattice_of(components, distances, spacing);
  const Teasar rules = rules_of(raw);
  const auto objects = static_cast<size_t>(ids.size());
  const uint32_t *block = components.data(), *names = ids.data();
  const float* boundary = distances.data();
  std::vector<Targets> targets(objects);
  std::vector<uint32_t> row;
  for (size_t i = 0; i < objects; ++i) {
    if (names[i] >= row.size()) row.resize(size_t{names[i]} + 1, 0);
    row[names[i]] = static_cast<uint32_t>(i + 1);
  }
  sort_targets(wanted[0], lattice, block, row, targets, &Targets::borders);
  sort_targets(wanted[1], lattice, block, row, targets, &Targets::before);
  sort_targets(wanted[2], lattice, block, row, targets, &Targets::after);
  std::vector<Skeleton> made;
  {
    py::gil_scoped_release release;
    const Members found = members(block, lattice.voxels(), names, objects);
    std::vector<uint32_t> cost(lattice.voxels());
    std::vector<uint8_t> from(lattice.voxels());
    made = trace_all(lattice, rules, {boundary, cost.data(), from.data()}, found, targets, threads);
  }
  return arrays(lattice, made);
}

// Voxels, greatest distance and box of each component; the arrays hold the values of nothing.
void gather(const Lattice& lattice, const uint32_t* block, const float* boundary, int64_t* count, float* depth,
            int64_t* box) {
  Voxel at = 0;
  for (int64_t z = 0; z < lattice.shape[2]; ++z)
    for (int64_t y = 0; y < lattice.shape[1]; ++y)
      for (int64_t x = 0; x < lattice.shape[0]; ++x, ++at) {
        const uint32_t id = block[at];
        if (!id) continue;
        ++count[id];
        depth[id] = std::max(depth[id], boundary[at]);
        int64_t* own = box + 6 * int64_t{id};
        const int64_t here[3] = {x, y, z};
        for (int axis = 0; axis < 3; ++axis) {
          own[axis] = std::min(own[axis], here[axis]);
          own[3 + axis] = std::max(own[3 + axis], here[axis] + 1);
        }
      }
}

py::tuple measure(const Components& components, const Distances& distances) {
  const Lattice lattice = lattice_of(components, distances, {1, 1, 1});
  const uint32_t* block = components.data();
  const float* boundary = distances.data();
  const auto most = static_cast<py::ssize_t>(*std::max_element(block, block + lattice.voxels()));
  Rows voxels(most + 1), boxes({most + 1, py::ssize_t{6}});
  py::array_t<float> deepest(most + 1);
  int64_t *count = voxels.mutable_data(), *box = boxes.mutable_data();
  float* depth = deepest.mutable_data();
  std::fill(count, count + most + 1, 0);
  std::fill(depth, depth + most + 1, 0.0f);
  for (py::ssize_t i = 0; i <= most; ++i)
    for (int axis = 0; axis < 3; ++axis) box[6 * i + axis] = lattice.shape[axis], box[6 * i + 3 + axis] = 0;
  {
    py::gil_scoped_release release;
    gather(lattice, block, boundary, count, depth, box);
  }
  return py::make_tuple(voxels, deepest, boxes);
}

}  // namespace

PYBIND11_MODULE(teasar, m) {
  m.def("trace", &trace);
  m.def("measure", &measure);
}
