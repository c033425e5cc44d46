#include "model_file.hpp"

#include <algorithm>
#include <cmath>
#include <taper/autodiff/error.hpp>
#include <taper/data/utf8.hpp>
#include <taper/instantiate.hpp>

#include "output.hpp"

namespace taper::apps {
namespace {

constexpr const char *features_key = "taper.features", *target_key = "taper.target";

}  // namespace

template <class T>
void save_model(const nn::Graph<T>& graph, const ColumnNames& names, const std::string& path) {
  require_unused(path, "save");
  Json features = Json::array();
  for (const std::string& name : names.features) features.push_back(data::valid_utf8(name));
  io::save_model(graph, path,
                 {{features_key, features.dump()}, {target_key, data::valid_utf8(names.target)}});
  note_file(path);
}

ColumnNames column_names(const io::Archive& archive, const std::string& path) {
  ColumnNames names;
  const auto& metadata = archive.metadata();
  if (const auto found = metadata.find(target_key); found != metadata.end()) names.target = found->second;
  const auto found = metadata.find(features_key);
  if (found == metadata.end()) return names;
  const Json features = Json::parse(found->second, nullptr, false);
  const auto is_text = [](const Json& name) { return name.is_string(); };
  if (!features.is_array() || !std::ranges::all_of(features, is_text)) {
    throw Error("load", path, " has \"", features_key, "\" that are no names: expected a list of texts");
  }
  return {features.get<std::vector<std::string>>(), names.target};
}

Json prediction_errors(const std::vector<double>& predicted, const std::vector<double>& expected) {
  double squares = 0, magnitudes = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = predicted[i] - expected[i];
    squares += difference * difference;
    magnitudes += std::abs(difference);
  }
  const auto n = static_cast<double>(expected.size());
  return {{"mse", squares / n}, {"rmse", std::sqrt(squares / n)}, {"mae", magnitudes / n}};
}

#define TAPER_INSTANTIATE(T) \
  template void save_model(const nn::Graph<T>&, const ColumnNames&, const std::string&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::apps
