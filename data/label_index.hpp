#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace taper::data {

/// Numbers labels in the order of their first appearance.
class LabelIndex {
 public:
  /// The position of a label in `labels`, to which it is added when it is new.
  double operator()(std::string_view label, std::vector<std::string>& labels) {
    auto found = positions_.find(label);
    if (found == positions_.end()) {
      found = positions_.emplace(label, static_cast<double>(labels.size())).first;
      labels.emplace_back(label);
    }
    return found->second;
  }

 private:
  std::map<std::string, double, std::less<>> positions_;
};

}  // namespace taper::data
