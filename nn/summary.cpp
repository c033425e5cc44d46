#include <taper/nn/summary.hpp>

#include <algorithm>
#include <iomanip>
#include <ostream>

#include <taper/instantiate.hpp>

namespace taper::nn {
namespace {

/// Whether a path is a module's own or that of something inside it.
bool inside(const std::string& path, const std::string& module) {
  return module.empty() || path == module || path.starts_with(module + '.');
}

}  // namespace

template <class T> Summary summary(const Module<T>& model, const Shape& input) {
  std::vector<std::pair<std::string, Index>> leaves;
  model.for_parameters([&](const std::string& name, const Parameter<T>& parameter) {
    parameter.for_leaves(name, [&](const std::string& path, const Parameter<T>& leaf) {
      leaves.emplace_back(path, leaf.shape().size());
    });
  });
  Tape<T> tape(Mode::evaluation);
  record_one(model, tape.input(input), "summary");

  Summary result;
  model.for_modules([&](const std::string& name, const Module<T>& module) {
    Summary::Row row{.name = name, .description = module.describe(), .output = {}};
    for (const auto& [path, size] : leaves) row.parameters += inside(path, name) ? size : 0;
    for (const Node<T>& node : tape.nodes()) {
      if (node.op == nullptr || !inside(tape.path(node), name)) continue;
      row.output = node.shape;
      row.computes = true;
      row.multiply_adds += multiply_adds_of(tape, node);
    }
    result.rows.push_back(std::move(row));
  });
  return result;
}

std::ostream& operator<<(std::ostream& out, const Summary& summary) {
  const auto line = [&](const std::string& layer, const std::string& shape, const std::string& parameters,
                        const std::string& products) {
    out << std::left << std::setw(36) << layer << std::setw(18) << shape << std::right << std::setw(12)
        << parameters << std::setw(16) << products << '\n';
  };
  line("layer", "output", "parameters", "multiply-adds");
  for (const Summary::Row& row : summary.rows) {
    const auto depth = row.name.empty() ? 0 : 1 + std::ranges::count(row.name, '.');
    const std::string title = (row.name.empty() ? "" : row.name + ": ") + row.description;
    line(std::string(static_cast<std::size_t>(2 * depth), ' ') + title, row.computes ? row.output.str() : "-",
         std::to_string(row.parameters), std::to_string(row.multiply_adds));
  }
  return out;
}

#define TAPER_INSTANTIATE(T) template Summary summary(const Module<T>&, const Shape&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::nn
