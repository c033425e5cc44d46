#include "lenet.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <taper/autodiff/random.hpp>
#include <taper/data/digits.hpp>
#include <taper/data/idx.hpp>
#include <taper/data/split.hpp>
#include <taper/nn/init.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/conv.hpp>
#include <taper/nn/layers/flatten.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/pool.hpp>
#include <taper/nn/layers/select.hpp>
#include <taper/nn/parametrization.hpp>
#include <taper/nn/summary.hpp>
#include <taper/sparsity/costs.hpp>
#include <taper/train/evaluate.hpp>
#include <tuple>
#include <utility>

namespace taper::apps {
namespace {

namespace fs = std::filesystem;

constexpr Index side = 28, pixels = side * side, classes = 10;

/// The file of this name in one of the spellings that are around, packed or not; empty where there is none.
fs::path find(const fs::path& folder, const std::string& set, const std::string& format) {
  for (const char* const between : {"-", "."}) {
    for (const char* const packed : {"", ".gz"}) {
      fs::path path = folder / (set + between + format + "-ubyte" + packed);
      if (fs::exists(path)) return path;
    }
  }
  return {};
}

data::Dataset<float> read(const CommonOptions& options, const fs::path& folder, const std::string& set,
                          Index limit) {
  const auto path_of = [&](const std::string& kind, const char* format) {
    fs::path path = find(folder, set + kind, format);
    if (path.empty()) {
      throw Error("sparse_lenet", folder.string(), " has no ", set, kind, '-', format,
                  "-ubyte, packed or not: expected the four files of MNIST or a set in its form");
    }
    options.reads(path);
    return path.string();
  };
  const std::string images = path_of("-images", "idx3"), labels = path_of("-labels", "idx1");
  data::Dataset<float> result = data::read_idx_images<float>(images, labels, {.limit = limit});
  const Shape& shape = result.x.shape();
  if (shape[1] != 1 || shape[2] != side || shape[3] != side) {
    throw Error("sparse_lenet", images, " has images of ", shape.without(0), ": expected 1x28x28");
  }
  const float most = *std::ranges::max_element(result.y);
  if (most >= classes) throw Error("sparse_lenet", labels, " has a label ", most, ": expected 0 to 9");
  return result;
}

data::Dataset<float> flattened(data::Dataset<float> images) {
  const View<const float> rows(images.x.data(), Shape{images.rows(), pixels});
  images.x = Tensor<float>(rows);
  return images;
}

}  // namespace

Images load_images(const CommonOptions& options, bool flat, Index limit, Index validation) {
  Images sets;
  data::Dataset<float> all;
  if (const auto given = options.folder()) {
    fs::path folder = *given;
    if (find(folder, "train-images", "idx3").empty() && fs::is_directory(folder / "mnist")) folder /= "mnist";
    sets.source = fs::canonical(folder).filename().string();
    all = read(options, folder, "train", limit);
    sets.test = read(options, folder, "t10k", limit);
  } else {
    sets.source = "embedded";
    const auto rows = [&](Index count) { return limit == 0 ? count : std::min(limit, count); };
    all = data::make_digits<float>({.rows = rows(12000), .seed = options.seed});
    // Another stream of digits, whatever the seed of the first.
    sets.test = data::make_digits<float>({.rows = rows(4000), .seed = ~options.seed});
  }
  if (all.rows() < 2) throw Error("sparse_lenet", all.rows(), " images to train on: expected 2 or more");
  if (flat) all = flattened(std::move(all)), sets.test = flattened(std::move(sets.test));
  const Index apart = std::clamp<Index>(all.rows() / 5, 1, validation);
  const double share = static_cast<double>(apart) / static_cast<double>(all.rows());
  std::tie(sets.train, sets.validation) = data::train_test_split(all, share, options.seed);
  return sets;
}

nn::Sequential<float> lenet(const std::string& model) {
  if (model == "lenet300") {
    return nn::Sequential<float>(nn::Linear(pixels, 300), nn::ReLU(), nn::Linear(300, 100), nn::ReLU(),
                                 nn::Linear(100, classes));
  }
  return nn::Sequential<float>(nn::Conv2d(1, 20, 5), nn::ReLU(), nn::MaxPool2d(2), nn::Conv2d(20, 50, 5),
                               nn::ReLU(), nn::MaxPool2d(2), nn::Flatten(), nn::Linear(800, 500), nn::ReLU(),
                               nn::Linear(500, classes));
}

Json size_of(const nn::Sequential<float>& net, const data::Dataset<float>& images) {
  std::vector<Index> widths;
  Index outputs = 0;
  net.for_parameters([&](const std::string&, const nn::Parameter<float>& parameter) {
    const Shape& shape = parameter.shape();
    if (shape.rank() < 2) return;
    widths.push_back(shape.rank() == 2 ? shape[1] : shape[0]);
    outputs = shape[0];
  });
  widths.push_back(outputs);
  const nn::Summary::Row all = nn::summary(net, images.x.shape().with(0, 1)).rows.front();
  return {{"widths", widths}, {"parameters", all.parameters}, {"multiply_adds", all.multiply_adds}};
}

bool cut_filters(nn::Sequential<float>& net, const data::Dataset<float>& images, Index multiply_adds) {
  struct Layer {
    nn::Parameter<float>* weight;
    double products;                                // of one filter that reads one map or input
    std::vector<std::pair<double, Index>> filters;  // penalty and position, the largest first
  };
  const sparsity::Costs costs = sparsity::multiply_add_costs(net, images.x.shape().with(0, 1));
  std::vector<Layer> layers;
  std::vector<double> counts{1};  // of what the first layer reads, and of the filters of each
  net.for_parameters([&](const std::string& name, nn::Parameter<float>& parameter) {
    if (parameter.shape().rank() < 2) return;
    const Index filters = parameter.shape()[0], entries = parameter.shape().size() / filters;
    layers.push_back({&parameter, costs.at(name) / (static_cast<double>(filters) * counts.back()), {}});
    counts.push_back(static_cast<double>(filters));
    const auto* const product = dynamic_cast<const nn::Hadamard<float>*>(parameter.parametrization());
    if (product == nullptr) return;  // the last layer, whose filters are the classes
    const Tensor<float> weight = parameter.materialize();
    for (Index k = 0; k < filters; ++k) {
      const Eigen::Map<const Eigen::VectorXf> filter(weight.data() + k * entries, entries);
      const double norm = static_cast<double>(filter.norm());
      const double penalty = product->weight(k) * std::pow(norm, 2 / static_cast<double>(product->depth()));
      layers.back().filters.emplace_back(penalty, k);
    }
    std::ranges::sort(layers.back().filters, std::greater());
  });
  const auto products = [&](std::size_t l) { return layers[l].products * counts[l + 1] * counts[l]; };
  const auto total = [&] {
    double sum = 0;
    for (std::size_t l = 0; l < layers.size(); ++l) sum += products(l);
    return sum;
  };
  while (total() > static_cast<double>(multiply_adds)) {
    std::size_t least = layers.size();
    double least_share = 0;
    for (std::size_t l = 0; l + 1 < layers.size(); ++l) {
      if (layers[l].filters.size() < 2) continue;
      const double saved = (products(l) + products(l + 1)) / counts[l + 1];
      const double share = layers[l].filters.back().first / saved;
      if (least == layers.size() || share < least_share) least = l, least_share = share;
    }
    if (least == layers.size()) return false;
    Layer& layer = layers[least];
    const Index k = layer.filters.back().second;
    for (nn::Parameter<float>& factor : layer.weight->factors()) {
      const Index entries = factor.shape().size() / factor.shape()[0];
      std::fill_n(factor.value().data() + k * entries, entries, 0.0f);
    }
    layer.filters.pop_back();
    --counts[least + 1];
  }
  return true;
}

double error_rate(const nn::Sequential<float>& net, const data::Dataset<float>& images) {
  const Tensor<float> outputs = train::predict(net, images.x);
  const Index n = images.rows(), columns = outputs.shape()[1];
  Index wrong = 0;
  for (Index i = 0; i < n; ++i) {
    const float* const row = outputs.data() + i * columns;
    wrong += std::max_element(row, row + columns) - row != static_cast<Index>(images.y[i]) ? 1 : 0;
  }
  return 100 * static_cast<double>(wrong) / static_cast<double>(n);
}

nn::Sequential<float> with_new_weights(const nn::Sequential<float>& net) {
  nn::Sequential<float> result = net;
  double bound = 0;
  result.for_parameters([&](const std::string&, nn::Parameter<float>& parameter) {
    const Shape& shape = parameter.shape();
    // A bias comes after its weight.
    if (shape.rank() > 1 && shape.size() > 0) {
      bound = 1 / std::sqrt(static_cast<double>(shape.size() / shape[0]));
    }
    nn::init::uniform(parameter.value(), -bound, bound);
  });
  return result;
}

std::vector<std::vector<double>> first_layer(const nn::Sequential<float>& net) {
  std::vector<Index> read;
  if (const auto* const select = dynamic_cast<const nn::Select<float>*>(&net[0])) read = select->columns();
  std::vector<std::vector<double>> images;
  bool first = true;
  net.for_parameters([&](const std::string&, const nn::Parameter<float>& parameter) {
    const Shape& shape = parameter.shape();
    if (!std::exchange(first, false)) return;
    const Tensor<float> weight = parameter.materialize();
    if (shape.rank() > 2) {
      for (Index k = 0; k < shape[0]; ++k) {
        const float* const filter = weight.data() + k * shape[2] * shape[3];
        images.emplace_back(filter, filter + shape[2] * shape[3]);
      }
      return;
    }
    std::vector<double> norms(static_cast<std::size_t>(pixels));
    for (Index j = 0; j < shape[1]; ++j) {
      const Index pixel = read.empty() ? j : read[static_cast<std::size_t>(j)];
      norms[static_cast<std::size_t>(pixel)] = weight.matrix().col(j).template cast<double>().norm();
    }
    images.push_back(std::move(norms));
  });
  return images;
}

}  // namespace taper::apps
