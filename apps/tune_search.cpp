#include "tune_search.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <taper/autodiff/error.hpp>
#include <taper/data/utf8.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/select.hpp>

namespace taper::apps {

using sparsity::SearchDimension;
using sparsity::TrialSettings;

namespace {

void push_activation(nn::Sequential<float>& net, const std::string& name) {
  if (name == "tanh") {
    net.push_back(nn::Tanh<float>());
  } else if (name == "relu") {
    net.push_back(nn::ReLU<float>());
  } else if (name == "silu") {
    net.push_back(nn::SiLU<float>());
  } else {
    throw Error("tune", "activation is '", name, "': expected tanh, relu or silu");
  }
}

std::optional<double> number_in(const std::string& text) {
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::vector<std::string> split_at(const std::string& text, char mark) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == mark) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// NAME=LOW:HIGH[:log][:int], NAME=WORD,WORD or NAME=VALUE.
void read_search(const std::string& text, Searched& to) {
  const auto fail = [&]() {
    throw Error("tune", "--search ", text,
                ": expected NAME=LOW:HIGH, with :log or :int behind, NAME=WORD,WORD or NAME=VALUE");
  };
  if (data::valid_utf8(text) != text) {
    throw Error("tune", "--search ", data::valid_utf8(text), ": expected UTF-8");
  }
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) fail();
  const std::string name = text.substr(0, equals), value = text.substr(equals + 1);
  check_setting(name);
  const std::vector<std::string> parts = split_at(value, ':'), words = split_at(value, ',');
  if (parts.size() > 1) {
    const auto low = number_in(parts[0]), high = number_in(parts[1]);
    bool log = false, whole = false;
    for (std::size_t k = 2; k < parts.size(); ++k) {
      if (parts[k] != "log" && parts[k] != "int") fail();
      (parts[k] == "log" ? log : whole) = true;
    }
    if (!low || !high) fail();
    using Kind = SearchDimension::Kind;
    to.set({name,
            whole ? log ? Kind::log_integer : Kind::integer
            : log ? Kind::log_uniform
                  : Kind::uniform,
            *low, *high});
  } else if (words.size() > 1) {
    to.set(SearchDimension::categorical(name, words));
  } else {
    to.drop(name);
    if (const auto number = number_in(value)) {
      to.held.set(name, *number);
    } else {
      to.held.set(name, value);
    }
  }
}

}  // namespace

void check_setting(const std::string& name) {
  const auto& known = sparsity::two_phase_settings();
  std::string list = "layers, width, activation";
  for (const std::string& one : known) list += ", " + one;
  if (name == "layers" || name == "width" || name == "activation") return;
  if (std::ranges::find(known, name) == known.end()) {
    throw Error("tune", "no setting '", name, "': expected one of ", list);
  }
}

Searched searched(const TuneStudyOptions& options, Index rows, Index budget) {
  Searched result;
  result.dimensions = {SearchDimension::categorical("activation", {"tanh", "silu"})};
  const auto search = [&](std::vector<SearchDimension> more) {
    result.dimensions.insert(result.dimensions.end(), more.begin(), more.end());
  };
  if (budget == 0 || options.soft) {
    // The penalty decides on the size.
    search({SearchDimension::integer("layers", 2, 4), SearchDimension::log_integer("width", 12, 64),
            SearchDimension::log_uniform("lr", 5e-4, 1e-2),
            SearchDimension::log_uniform("penalty", 3e-4, 3e-2),
            SearchDimension::log_integer("epochs", 20, 150),
            SearchDimension::categorical("weights", {"one", "sqrt_size", "parameters"}),
            SearchDimension::log_uniform("refit_decay", 1e-6, 1e-3),
            SearchDimension::log_integer("refit_iterations", 50, 300)});
    result.held.set("starts", 4);
  } else {
    // The budget does: what is offered is larger, so that there is something to cut, and small enough to be
    // trained by Levenberg-Marquardt on the way down.
    const double side = std::sqrt(static_cast<double>(budget));
    constexpr double widest = 28, widest_least = 20;  // a range is left for large budgets, too
    const double least = std::clamp(std::round(0.7 * side), 2.0, widest_least);
    const double most = std::clamp(std::round(2 * side), least + 2, widest);
    // Small networks end in worse minima, and are trained quickly: from more starts. How many is not searched
    // for, as a single start with luck would be taken for a good setting.
    result.held.set("starts", std::clamp(std::round(600 / static_cast<double>(budget)), 2.0, 5.0));
    // The first phase is the cheap one, unless there are very many rows.
    const double epochs = std::round(std::clamp(1e7 / static_cast<double>(rows), 40.0, 800.0));
    // Few rows need a larger penalty. The power is what the best ones for 13,600 rows of one table and 128 of
    // another say; noise alone would ask for a half, and a decay against the same fit for 1.
    const double fewer = std::pow(13'600 / static_cast<double>(std::max<Index>(rows, 1)), 0.7);
    search(
        {SearchDimension::integer("layers", 2, 3),
         SearchDimension::log_integer("width", static_cast<Index>(least), static_cast<Index>(most)),
         SearchDimension::log_uniform("lr", 2e-3, 1e-2), SearchDimension::log_uniform("penalty", 1e-6, 3e-4),
         SearchDimension::log_integer("epochs", static_cast<Index>(epochs / 8), static_cast<Index>(epochs)),
         SearchDimension::log_integer("cut_iterations", 10, 20),
         SearchDimension::log_uniform("refit_penalty", 1e-4 * fewer, 1.5e-3 * fewer),
         SearchDimension::log_integer("refit_iterations", 100, 300)});
  }
  for (const std::string& one : options.search) read_search(one, result);
  return result;
}

Searched searched_dense(const Searched& sparse, Index rows) {
  Searched dense;
  // Few rows need more decay.
  dense.dimensions = {
      SearchDimension::log_uniform("lr", 5e-4, 2e-2),
      SearchDimension::log_uniform("refit_decay", std::max(1e-5, 0.1 / static_cast<double>(rows)),
                                   std::max(1e-3, 13 / static_cast<double>(rows)))};
  const auto concerns_both = [](const std::string& setting) {
    return setting == "activation" || setting == "batch_size" || setting == "epochs" ||
           (setting.starts_with("refit") && setting != "refit_penalty");
  };
  for (SearchDimension one : sparse.dimensions) {
    if (!concerns_both(one.name)) continue;
    // A dense network may need fewer epochs than one that is cut.
    constexpr double fewest = 5;
    if (one.name == "epochs" && one.kind != SearchDimension::Kind::categorical && one.low > fewest) {
      one.low = fewest;
    }
    dense.set(one);
  }
  for (const auto& one : sparse.held.all()) {
    if (!concerns_both(one.name)) continue;
    dense.drop(one.name);
    dense.held.set(one);
  }
  return dense;
}

TrialSettings merged(TrialSettings settings, const TrialSettings& held) {
  for (const auto& one : held.all()) {
    if (!settings.has(one.name)) settings.set(one);
  }
  return settings;
}

Json as_json(const TrialSettings& settings) {
  Json result = Json::object();
  for (const auto& one : settings.all()) {
    result[one.name] = one.is_word ? Json(one.word) : Json(one.number);
  }
  return result;
}

Index hidden_layers(const TrialSettings& settings) {
  const Index layers = settings.integer("layers", 3);
  if (layers < 0 || layers > 20) throw Error("tune", layers, " hidden layers: expected 0 to 20");
  return layers;
}

nn::Sequential<float> offered_network(const TuneData& data, const TrialSettings& settings) {
  const Index layers = hidden_layers(settings), width = settings.integer("width", 32);
  if (width < 1 || width > 100'000) throw Error("tune", "width is ", width, ": expected 1 to 100000");
  nn::Sequential<float> net;
  Index before = data.train.x.shape()[1];
  for (Index k = 0; k < layers; ++k) {
    net.push_back(nn::Linear<float>(before, width));
    push_activation(net, settings.word("activation", "tanh"));
    before = width;
  }
  net.push_back(nn::Linear<float>(before, data.outputs));
  return net;
}

nn::Sequential<float> dense_network(const TuneData& data, const DenseShape& shape,
                                    const TrialSettings& settings) {
  const std::vector<Index>& widths = shape.widths;
  nn::Sequential<float> net;
  net.push_back(nn::Select<float>(shape.inputs, data.train.x.shape()[1]));
  for (std::size_t k = 0; k + 1 < widths.size(); ++k) {
    if (k > 0) push_activation(net, settings.word("activation", "tanh"));
    net.push_back(nn::Linear<float>(widths[k], widths[k + 1]));
  }
  return net;
}

}  // namespace taper::apps
