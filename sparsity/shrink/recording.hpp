#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <taper/autodiff/tape.hpp>
#include <taper/nn/module.hpp>

namespace taper::sparsity::shrinking {

inline constexpr Index most_rows = 1024;  // that are recorded at a time
inline constexpr Index least_rows = 32;   // that are enough for a threshold

/// A parameter or a factor of one, where it stands on the tape.
template <class T> struct Leaf {
  std::string name;
  nn::Parameter<T>* parameter;
  std::size_t node;
};

/// A model recorded on inputs, with everything of it that can be cut.
template <class T> struct Recording {
  Tape<T> tape{Mode::evaluation};
  std::vector<std::size_t> inputs, outputs;
  std::vector<Leaf<T>> weights;           // as they are computed with
  std::vector<Leaf<T>> leaves;            // as they are stored
  std::vector<Leaf<T>> computed_factors;  // factors that have factors themselves
  std::vector<std::pair<std::string, std::pair<nn::Buffer<T>*, std::size_t>>> buffers;
  std::size_t recorded = 0;  // nodes; what stands behind is not used
  std::vector<Index> uses;   // of each node

  /// Calls f with the values of all examples on the tape, batch by batch.
  template <class F> void for_batches(const std::vector<View<const T>>& examples, const F& f) {
    const Index rows = examples.front().shape()[0];
    for (Index begin = 0; begin < rows; begin += most_rows) {
      load(examples, begin);
      tape.replay();
      f();
    }
  }

  /// Puts examples from row `begin` on into the inputs; what is left of the last batch is filled from the
  /// first row on.
  void load(const std::vector<View<const T>>& examples, Index begin) {
    for (std::size_t k = 0; k < examples.size(); ++k) {
      const View<const T>& x = examples[k];
      const View<T> input = tape.at(static_cast<Index>(inputs[k])).data();
      const Index rows = x.shape()[0], width = x.size() / rows;
      for (Index r = 0; r < input.shape()[0]; ++r) {
        std::copy_n(x.data() + (begin + r) % rows * width, width, input.data() + r * width);
      }
    }
  }

  Recording(nn::Module<T>& model, const std::vector<View<const T>>& examples) {
    const nn::ModuleScope<T> scope(tape, model);
    std::vector<Var<T>> given;
    for (const View<const T>& x : examples) {
      given.push_back(tape.input(x.shape().with(0, std::min(x.shape()[0], most_rows))));
      inputs.push_back(static_cast<std::size_t>(given.back().index()));
    }
    load(examples, 0);
    for (const Var<T>& output : model.record(given))
      outputs.push_back(static_cast<std::size_t>(output.index()));
    recorded = tape.nodes().size();
    const auto position = [&](const nn::Parameter<T>& parameter) {
      return static_cast<std::size_t>(parameter.bind(tape).index());
    };
    model.for_parameters([&](const std::string& name, nn::Parameter<T>& parameter) {
      weights.push_back({name, &parameter, position(parameter)});
      parameter.for_leaves(name, [&](const std::string& path, nn::Parameter<T>& leaf) {
        leaves.push_back({path, &leaf, position(leaf)});
      });
      const auto note_factors = [&](nn::Parameter<T>& computed, const auto& again) -> void {
        for (nn::Parameter<T>& factor : computed.factors()) {
          if (factor.parametrization() == nullptr) continue;
          computed_factors.push_back({name, &factor, position(factor)});
          again(factor, again);
        }
      };
      note_factors(parameter, note_factors);
    });
    model.for_buffers([&](const std::string& name, nn::Buffer<T>& buffer) {
      buffers.push_back({name, {&buffer, static_cast<std::size_t>(buffer.bind(tape).index())}});
    });
    uses.resize(tape.nodes().size());
    for (const Node<T>& node : tape.nodes()) {
      for (const std::uint32_t input : tape.inputs(node)) ++uses[input];
    }
  }
};

/// Of one row, of what is recorded for so many.
template <class T> Index multiply_adds(const Tape<T>& tape, Index rows) {
  Index total = 0;
  for (const Node<T>& node : tape.nodes()) total += multiply_adds_of(tape, node);
  return rows == 0 ? 0 : total / rows;
}

}  // namespace taper::sparsity::shrinking
