#pragma once

#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <taper/sparsity/shrink/axes.hpp>
#include <taper/sparsity/shrink/recording.hpp>

namespace taper::sparsity::shrinking {

/// Where the constants go that are folded: a bias that is there, or the place for one.
template <class T> class Biases {
 public:
  Biases(nn::Module<T>& model, const Recording<T>& recording, bool cut_frozen)
      : recording_(recording), cut_frozen_(cut_frozen) {
    for (const Leaf<T>& weight : recording.weights) {
      if (weight.parameter->parametrization() == nullptr) there_.emplace(weight.node, weight.parameter);
    }
    std::map<const nn::Parameter<T>*, std::size_t> nodes;
    for (const Leaf<T>& weight : recording.weights) nodes.emplace(weight.parameter, weight.node);
    model.for_modules([&](const std::string&, nn::Module<T>& module) {
      OwnParameters own;
      module.visit(own);
      for (const nn::Parameter<T>* const weight : own.found) {
        const std::optional<nn::Parameter<T>>* const place = module.bias_of(*weight);
        // What a model that may be changed shows of itself may be changed.
        if (place != nullptr && !place->has_value())
          open_.emplace(nodes.at(weight), const_cast<std::optional<nn::Parameter<T>>*>(place));
      }
    });
  }

  std::function<bool(std::size_t, Index)> can_fold(const AxisClasses<T>& classes) const {
    return [this, &classes](std::size_t node, Index output) {
      return can_fold(classes.structure(node), node, output);
    };
  }
  bool can_fold(const Structure& rule, std::size_t node, Index output) const {
    if (rule.bias < 0) return false;
    if (const nn::Parameter<T>* const bias = given(rule, node)) {
      return output < bias->shape().size() && (cut_frozen_ || bias->mask().is_free(output));
    }
    return open(rule, node) != nullptr;
  }
  /// Adds constants to the bias of an operation; says whether that was a new one.
  void add(const Structure& rule, std::size_t node, const std::vector<double>& change) {
    nn::Parameter<T>* bias = given(rule, node);
    if (bias == nullptr) {
      std::optional<nn::Parameter<T>>* const place = open(rule, node);
      bias = &place->emplace(Shape{static_cast<Index>(change.size())});
      grown_.emplace_back(bias, node);
    }
    for (std::size_t o = 0; o < change.size(); ++o) {
      T& entry = bias->value()[static_cast<Index>(o)];
      entry = static_cast<T>(static_cast<double>(entry) + change[o]);
    }
  }
  /// The biases that `add` has made, and for which operations.
  const std::vector<std::pair<nn::Parameter<T>*, std::size_t>>& grown() const { return grown_; }

 private:
  /// The parameters of a module itself, without those of the modules in it.
  struct OwnParameters : nn::Visitor<T> {
    std::vector<const nn::Parameter<T>*> found;
    void operator()(std::string_view, const nn::Parameter<T>& parameter) override {
      found.push_back(&parameter);
    }
    void operator()(std::string_view, const nn::Buffer<T>&) override {}
    void operator()(std::string_view, const nn::Module<T>&) override {}
  };

  bool missing(const Structure& rule, std::size_t node) const {
    return rule.bias >= static_cast<Index>(recording_.tape.nodes()[node].inputs);
  }
  nn::Parameter<T>* given(const Structure& rule, std::size_t node) const {
    if (missing(rule, node)) return nullptr;
    const std::size_t bias =
        recording_.tape.inputs(recording_.tape.nodes()[node])[static_cast<std::size_t>(rule.bias)];
    const auto known = there_.find(bias);
    return known == there_.end() || recording_.uses[bias] != 1 ? nullptr : known->second;
  }
  std::optional<nn::Parameter<T>>* open(const Structure& rule, std::size_t node) const {
    if (!missing(rule, node)) return nullptr;
    for (const std::uint32_t input : recording_.tape.inputs(recording_.tape.nodes()[node])) {
      const auto place = open_.find(input);
      if (place != open_.end() && recording_.uses[input] == 1) return place->second;
    }
    return nullptr;
  }

  const Recording<T>& recording_;
  bool cut_frozen_;
  std::map<std::size_t, nn::Parameter<T>*> there_;                // plain parameters, by position
  std::map<std::size_t, std::optional<nn::Parameter<T>>*> open_;  // by the position of their weight
  std::vector<std::pair<nn::Parameter<T>*, std::size_t>> grown_;
};

}  // namespace taper::sparsity::shrinking
