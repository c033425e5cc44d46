#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include <taper/nn/module.hpp>

namespace taper::nn {

/// What a model consists of, in the manner of torchinfo. Prints as a table.
struct Summary {
  struct Row {
    std::string name;         // "0", indented by depth when printed
    std::string description;  // "Linear(8, 32)"
    Shape output;             // of one pass with the given input
    bool computes = false;    // whether it records anything, so that `output` means something
    Index parameters = 0;     // elements that are trained, inside it too
    Index multiply_adds = 0;  // of one pass, inside it too
  };
  std::vector<Row> rows;  // the model itself first, then its parts in their order
};

/// Records the model once for evaluation, on zeros of this shape (batch first), and lists its modules.
template <class T> Summary summary(const Module<T>& model, const Shape& input);

std::ostream& operator<<(std::ostream& out, const Summary& summary);

}  // namespace taper::nn
