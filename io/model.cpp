#include <taper/io/model.hpp>

#include <tuple>
#include <utility>

#include <taper/autodiff/ops.hpp>
#include <taper/instantiate.hpp>
#include <taper/io/architecture.hpp>
#include <taper/io/load.hpp>
#include <taper/io/model_tensors.hpp>

namespace taper::io {
namespace {

// A program that calls nothing but load_model links the operations by this, one of each file in autodiff/ops:
// those that are not linked are in no registry.
template <class T> using Unary = Var<T> (*)(Var<T>);
template <class T> using Binary = Var<T> (*)(Var<T>, Var<T>);
template <class T>
const std::tuple operations{static_cast<Unary<T>>(&relu<T>),
                            &adaptive_avg_pool1d<T>,
                            static_cast<Var<T> (*)(Var<T>, Var<T>, const Conv2dOptions&)>(&conv2d<T>),
                            static_cast<Binary<T>>(&add<T>),
                            &dropout<T>,
                            &field_pairs<T>,
                            &gather_rows<T>,
                            &hadamard<T>,
                            &transpose<T>,
                            &mse_loss<T>,
                            &cross_entropy_loss<T>,
                            &batch_moments<T>,
                            &where<T>,
                            &matmul<T>,
                            &scaled_dot_product_attention<T>,
                            &chunk<T>,
                            &sum<T>};
[[gnu::used]] const void* const linked[]{&operations<float>, &operations<double>};

}  // namespace

template <class T>
void save_model(const nn::Graph<T>& graph, const std::string& path,
                const std::map<std::string, std::string>& metadata) {
  std::map<std::string, std::string> all = metadata;
  all[architecture_key] = architecture_of(graph);
  write_model(graph, path, std::move(all));
}

template <class T>
void save_model(const nn::Module<T>& model, const std::vector<Shape>& inputs, const std::string& path,
                const std::map<std::string, std::string>& metadata) {
  save_model(nn::Graph<T>::trace(model, inputs), path, metadata);
}

template <class T> nn::Graph<T> load_model(const Archive& archive, const ModelOptions& options) {
  nn::Graph<T> graph = graph_of<T>(archive, options.convert);
  load(graph, archive, {.convert = options.convert, .architecture = false});
  return graph;
}

template <class T> nn::Graph<T> load_model(const std::string& path, const ModelOptions& options) {
  return load_model<T>(Archive(path), options);
}

#define TAPER_INSTANTIATE(T)                                                                    \
  template void save_model(const nn::Graph<T>&, const std::string&,                             \
                           const std::map<std::string, std::string>&);                          \
  template void save_model(const nn::Module<T>&, const std::vector<Shape>&, const std::string&, \
                           const std::map<std::string, std::string>&);                          \
  template nn::Graph<T> load_model(const std::string&, const ModelOptions&);                    \
  template nn::Graph<T> load_model(const Archive&, const ModelOptions&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::io
