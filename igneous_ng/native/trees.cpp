// Boosted trees of histograms (Friedman 2001, "Greedy function approximation"; Ke et al. 2017, "LightGBM").
//
// Each tree is grown leaf by leaf, the best split first, on features of at most 256 values each. Gradients of the
// logistic loss are integers, so that sums do not depend on any order and the histogram of a child is that of its
// parent less that of its sibling, exactly.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <vector>

namespace py = pybind11;

namespace {

constexpr int kBins = 256;
constexpr double kUnit = 1 << 24;  // steps of gradients and curvatures
constexpr size_t kBlock = 16;      // voxels that walk down a tree side by side

using Bytes = py::array_t<uint8_t, py::array::f_style | py::array::forcecast>;
template <class T>
using Flat = py::array_t<T, py::array::c_style | py::array::forcecast>;

struct Rules {
  int rounds, leaves, depth, least;
  double rate, ridge;
};

struct Sum {
  int64_t slope = 0, bend = 0, count = 0;
  void add(const Sum& o) { slope += o.slope, bend += o.bend, count += o.count; }
  void drop(const Sum& o) { slope -= o.slope, bend -= o.bend, count -= o.count; }
};

struct Split {
  double gain = 0;
  int feature = -1, bin = 0;
};

// Nodes of all trees: `left` is the first of two children, counted from the tree's root; a leaf has feature -1.
struct Forest {
  std::vector<int16_t> feature;
  std::vector<int16_t> bin;
  std::vector<int32_t> left;
  std::vector<double> value;
  std::vector<int32_t> roots{0};

  int add(double worth) {
    feature.push_back(-1), bin.push_back(0), left.push_back(0), value.push_back(worth);
    return static_cast<int>(feature.size()) - 1 - roots.back();
  }
};

struct Leaf {
  int node = 0, depth = 0;
  size_t from = 0, to = 0;  // its samples
  Sum total;
  std::vector<Sum> histogram;
  Split best;
};

class Booster {
 public:
  Booster(const uint8_t* bins, const uint8_t* truth, size_t samples, int features, Rules rules)
      : bins_(bins), truth_(truth), samples_(samples), features_(features), rules_(rules), order_(samples),
        slope_(samples), bend_(samples), raw_(samples) {
    const double positive = std::accumulate(truth, truth + samples, 0.0);
    base_ = std::log(positive / (static_cast<double>(samples) - positive));
    std::fill(raw_.begin(), raw_.end(), base_);
  }

  double base() const { return base_; }

  Forest run() {
    Forest forest;
    for (int round = 0; round < rules_.rounds; ++round) {
      differentiate();
      grow(forest);
      forest.roots.push_back(static_cast<int32_t>(forest.feature.size()));
    }
    return forest;
  }

 private:
  void differentiate() {
    for (size_t i = 0; i < samples_; ++i) {
      const double p = 1 / (1 + std::exp(-raw_[i]));
      slope_[i] = static_cast<int32_t>(std::lrint((p - truth_[i]) * kUnit));
      bend_[i] = static_cast<int32_t>(std::lrint(p * (1 - p) * kUnit));
    }
    std::iota(order_.begin(), order_.end(), 0u);
  }

  void grow(Forest& forest) {
    std::vector<Leaf> leaves(1);
    leaves[0].to = samples_;
    fill(leaves[0]);
    for (const Sum* s = leaves[0].histogram.data(); s != leaves[0].histogram.data() + kBins; ++s) leaves[0].total.add(*s);
    leaves[0].node = forest.add(worth(leaves[0].total));
    seek(leaves[0]);
    while (static_cast<int>(leaves.size()) < rules_.leaves) {
      auto next = std::max_element(leaves.begin(), leaves.end(), [](auto& a, auto& b) { return a.best.gain < b.best.gain; });
      if (next->best.feature < 0) break;
      Leaf parent = std::move(*next);
      leaves.erase(next);
      for (Leaf& child : cut(forest, parent)) leaves.push_back(std::move(child));
    }
    for (const Leaf& leaf : leaves) {
      const double value = forest.value[forest.roots.back() + leaf.node];
      for (size_t i = leaf.from; i < leaf.to; ++i) raw_[order_[i]] += value;
    }
  }

  std::vector<Leaf> cut(Forest& forest, Leaf& parent) {
    const Split best = parent.best;
    const uint8_t* column = bins_ + static_cast<size_t>(best.feature) * samples_;
    const auto begin = order_.begin();
    const auto middle = std::stable_partition(begin + parent.from, begin + parent.to,
                                              [&](uint32_t i) { return column[i] <= best.bin; });
    std::vector<Leaf> two(2);
    const size_t at = static_cast<size_t>(middle - begin);
    two[0].from = parent.from, two[0].to = two[1].from = at, two[1].to = parent.to;
    const Sum* bins = parent.histogram.data() + best.feature * kBins;
    for (int b = 0; b <= best.bin; ++b) two[0].total.add(bins[b]);
    two[1].total = parent.total;
    two[1].total.drop(two[0].total);
    Leaf& small = two[two[0].total.count <= two[1].total.count ? 0 : 1];
    Leaf& large = &small == &two[0] ? two[1] : two[0];
    fill(small);
    large.histogram = std::move(parent.histogram);
    for (size_t i = 0; i < large.histogram.size(); ++i) large.histogram[i].drop(small.histogram[i]);
    const int base = forest.roots.back();
    for (Leaf& child : two) {
      child.depth = parent.depth + 1;
      child.node = forest.add(worth(child.total));
      seek(child);
    }
    forest.feature[base + parent.node] = static_cast<int16_t>(best.feature);
    forest.bin[base + parent.node] = static_cast<int16_t>(best.bin);
    forest.left[base + parent.node] = two[0].node;
    forest.value[base + parent.node] = 0;
    return two;
  }

  void fill(Leaf& leaf) {
    leaf.histogram.assign(static_cast<size_t>(features_) * kBins, Sum{});
    for (int f = 0; f < features_; ++f) {
      const uint8_t* column = bins_ + static_cast<size_t>(f) * samples_;
      Sum* bins = leaf.histogram.data() + f * kBins;
      for (size_t i = leaf.from; i < leaf.to; ++i) {
        const uint32_t sample = order_[i];
        Sum& bin = bins[column[sample]];
        bin.slope += slope_[sample], bin.bend += bend_[sample], ++bin.count;
      }
    }
  }

  void seek(Leaf& leaf) const {
    if (leaf.depth >= rules_.depth || leaf.total.count < 2 * rules_.least) return;
    const double whole = score(leaf.total);
    for (int f = 0; f < features_; ++f) {
      Sum left, right = leaf.total;
      const Sum* bins = leaf.histogram.data() + f * kBins;
      for (int b = 0; b + 1 < kBins; ++b) {
        left.add(bins[b]), right.drop(bins[b]);
        if (left.count < rules_.least) continue;
        if (right.count < rules_.least) break;
        const double gain = score(left) + score(right) - whole;
        if (gain > leaf.best.gain + 1e-9) leaf.best = {gain, f, b};
      }
    }
  }

  double score(const Sum& s) const {
    const double slope = static_cast<double>(s.slope) / kUnit;
    return slope * slope / (static_cast<double>(s.bend) / kUnit + rules_.ridge);
  }

  double worth(const Sum& s) const {
    return -rules_.rate * (static_cast<double>(s.slope) / kUnit) / (static_cast<double>(s.bend) / kUnit + rules_.ridge);
  }

  const uint8_t *bins_, *truth_;
  size_t samples_;
  int features_;
  Rules rules_;
  std::vector<uint32_t> order_;
  std::vector<int32_t> slope_, bend_;
  std::vector<double> raw_;
  double base_ = 0;
};

template <class T>
py::array_t<T> array(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

py::tuple fit(const Bytes& bins, const Flat<uint8_t>& truth, int rounds, int leaves, int depth, int least, double rate) {
  if (bins.ndim() != 2 || bins.shape(0) != truth.size()) throw std::invalid_argument("give bins [n, f] and truth [n]");
  const auto samples = static_cast<size_t>(truth.size());
  const auto positive = std::count(truth.data(), truth.data() + samples, 1);
  if (positive + std::count(truth.data(), truth.data() + samples, 0) != truth.size() || !positive ||
      positive == truth.size())
    throw std::invalid_argument("truth is 0 and 1, both of them");
  Booster booster(bins.data(), truth.data(), samples, static_cast<int>(bins.shape(1)),
                  {rounds, leaves, depth, least, rate, 1e-3});
  Forest forest;
  {
    py::gil_scoped_release release;
    forest = booster.run();
  }
  return py::make_tuple(array(forest.feature), array(forest.bin), array(forest.left), array(forest.value),
                        array(forest.roots), booster.base());
}

// A node as it is walked: a leaf leads to itself, so that all voxels take as many steps.
struct Step {
  float threshold;
  uint16_t feature, left;
};

class Walker {
 public:
  Walker(const Flat<int16_t>& feature, const Flat<float>& threshold, const Flat<int32_t>& left, const Flat<float>& value,
         const Flat<int32_t>& roots, int features)
      : value_(value.data()), roots_(roots.data(), roots.data() + roots.size()) {
    const auto count = feature.size();
    if (threshold.size() != count || left.size() != count || value.size() != count || roots_.empty() ||
        roots_.front() != 0 || roots_.back() != count)
      throw std::invalid_argument("the parts of the trees are not of one length");
    for (size_t t = 0; t + 1 < roots_.size(); ++t) take(feature, threshold, left, roots_[t], roots_[t + 1], features);
  }

  size_t trees() const { return depth_.size(); }

  void walk(const float* rows, size_t features, float* sums) const {
    for (size_t t = 0; t < depth_.size(); ++t) {
      const Step* steps = steps_.data() + roots_[t];
      uint32_t at[kBlock] = {};
      for (int d = 0; d < depth_[t]; ++d)
        for (size_t k = 0; k < kBlock; ++k) {
          const Step step = steps[at[k]];
          at[k] = step.left + (rows[k * features + step.feature] > step.threshold);
        }
      for (size_t k = 0; k < kBlock; ++k) sums[k] += value_[roots_[t] + at[k]];
    }
  }

 private:
  void take(const Flat<int16_t>& feature, const Flat<float>& threshold, const Flat<int32_t>& left, int from, int to,
            int features) {
    std::vector<int> depth(static_cast<size_t>(std::max(0, to - from)));
    for (int i = from; i < to; ++i) {
      const int f = feature.data()[i], child = left.data()[i], own = i - from;
      const bool inner = f >= 0;
      if (inner && (f >= features || child <= own || child + 1 >= to - from || child > 65534))
        throw std::invalid_argument("a node of a tree leads nowhere");
      steps_.push_back(inner ? Step{threshold.data()[i], static_cast<uint16_t>(f), static_cast<uint16_t>(child)}
                             : Step{std::numeric_limits<float>::infinity(), 0, static_cast<uint16_t>(own)});
      if (inner) depth[child] = depth[child + 1] = depth[own] + 1;
    }
    if (depth.empty()) throw std::invalid_argument("a tree has no nodes");
    depth_.push_back(*std::max_element(depth.begin(), depth.end()));
  }

  const float* value_;
  std::vector<int32_t> roots_;
  std::vector<Step> steps_;
  std::vector<int> depth_;
};

py::array_t<float> predict(const py::array_t<float, py::array::f_style | py::array::forcecast>& values,
                           const Flat<int16_t>& feature, const Flat<float>& threshold, const Flat<int32_t>& left,
                           const Flat<float>& value, const Flat<int32_t>& roots, float base) {
  if (values.ndim() != 2) throw std::invalid_argument("give features [n, f]");
  const auto samples = static_cast<size_t>(values.shape(0)), features = static_cast<size_t>(values.shape(1));
  const Walker walker(feature, threshold, left, value, roots, static_cast<int>(features));
  py::array_t<float> out(static_cast<py::ssize_t>(samples));
  float* to = out.mutable_data();
  const float* in = values.data();
  py::gil_scoped_release release;
  std::vector<float> rows(kBlock * features);
  for (size_t from = 0; from < samples; from += kBlock) {
    const size_t count = std::min(kBlock, samples - from);
    for (size_t f = 0; f < features; ++f)
      for (size_t k = 0; k < count; ++k) rows[k * features + f] = in[f * samples + from + k];
    float sums[kBlock];
    std::fill(sums, sums + kBlock, base);
    walker.walk(rows.data(), features, sums);
    for (size_t k = 0; k < count; ++k) to[from + k] = static_cast<float>(1 / (1 + std::exp(-static_cast<double>(sums[k]))));
  }
  return out;
}

}  // namespace

PYBIND11_MODULE(trees, m) {
  m.doc() = "Boosted trees of histograms.";
  m.def("fit", &fit, py::arg("bins"), py::arg("truth"), py::arg("rounds"), py::arg("leaves"), py::arg("depth"),
        py::arg("least"), py::arg("rate"));
  m.def("predict", &predict, py::arg("values"), py::arg("feature"), py::arg("threshold"), py::arg("left"),
        py::arg("value"), py::arg("roots"), py::arg("base"));
}
