#include <cmath>

#include <taper/sparsity/factorize.hpp>

namespace taper::sparsity {
namespace {

template <class T> const nn::Hadamard<T>* hadamard(const nn::Parameter<T>& parameter) {
  return dynamic_cast<const nn::Hadamard<T>*>(parameter.parametrization());
}

template <class T> double squared_norm(View<const T> x) {
  double total = 0;
  for (const T entry : x) total += static_cast<double>(entry) * static_cast<double>(entry);
  return total;
}

/// The sum of the Euclidean norms of the groups of a weight.
template <class T> double sum_of_norms(View<const T> weight, Groups groups) {
  if (groups == Groups::elements) return weight.vector().template cast<double>().template lpNorm<1>();
  const auto matrix = weight.matrix().template cast<double>();
  return groups == Groups::inputs ? matrix.colwise().norm().sum() : matrix.rowwise().norm().sum();
}

}  // namespace

template <class T> Index factorize(nn::Module<T>& model, Groups groups, const std::string& match) {
  // All are checked before the first is changed.
  std::vector<nn::Parameter<T>*> chosen;
  model.for_matching(match, "factorize", [&](const std::string& name, nn::Parameter<T>& parameter) {
    if (parameter.parametrization() != nullptr) {
      throw Error("factorize", "'", name, "' is computed from factors already: expected a plain parameter");
    }
    if (groups != Groups::elements && parameter.shape().rank() != 2) {
      throw Error("factorize", "'", name, "' is ", parameter.shape(),
                  ": expected a matrix for rows or columns");
    }
    chosen.push_back(&parameter);
  });
  for (nn::Parameter<T>* parameter : chosen)
    parameter->parametrize(std::make_shared<nn::Hadamard<T>>(groups));
  return static_cast<Index>(chosen.size());
}

template <class T> void collapse(nn::Module<T>& model) {
  model.for_parameters([](const std::string&, nn::Parameter<T>& parameter) {
    if (hadamard(parameter) != nullptr) parameter.collapse();
  });
}

template <class T> Penalty effective_penalty(nn::Module<T>& model, double alpha) {
  Penalty penalty;
  model.for_parameters([&](const std::string&, nn::Parameter<T>& parameter) {
    const nn::Hadamard<T>* const product = hadamard(parameter);
    if (product == nullptr) return;
    for (const nn::Parameter<T>& factor : parameter.factors()) {
      penalty.decay += alpha / 2 * squared_norm<T>(factor.value());
    }
    penalty.induced += alpha * sum_of_norms<T>(parameter.effective(), product->groups());
  });
  return penalty;
}

#define TAPER_INSTANTIATE(T)                                            \
  template Index factorize(nn::Module<T>&, Groups, const std::string&); \
  template void collapse(nn::Module<T>&);                               \
  template Penalty effective_penalty(nn::Module<T>&, double);
TAPER_INSTANTIATE(float)
TAPER_INSTANTIATE(double)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity
