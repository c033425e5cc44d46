#pragma once

#include <concepts>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace taper::io {

/// What tensors of a file are called in the model: by a function, or by pairs of patterns, of which the first
/// that matches counts. "*" stands for anything, and for the same again in the second one; a name that
/// matches none stays as it is:
///
///     {{"encoder.*", "*"}, {"fc.*", "2.*"}}  // "encoder.0.weight" -> "0.weight", "fc.bias" -> "2.bias"
class Rename {
 public:
  using Pair = std::pair<std::string, std::string>;

  /// All names stay.
  Rename() = default;
  /// Throws Error for a pair whose second pattern has more stars than the first.
  Rename(std::vector<Pair> pairs);
  Rename(std::initializer_list<Pair> pairs);
  template <class Function>
  requires std::is_invocable_r_v<std::string, const Function&, const std::string&> Rename(Function function)
      : function_(std::move(function)) {}

  std::string operator()(const std::string& name) const;

 private:
  std::function<std::string(const std::string&)> function_;
};

}  // namespace taper::io
