#include <taper/train/fit.hpp>

#include <taper/instantiate.hpp>

namespace taper::train {
namespace {

template <class T> History run(Trainer<T> trainer, const FitOptions<T>& options) {
  try {
    if (options.checkpoint.resume) options.checkpoint.resume(trainer);
    trainer.run();
  } catch (...) {
    trainer.finish();
    throw;
  }
  trainer.finish();
  return trainer.history();
}

}  // namespace

template <class T>
History fit(nn::Module<T>& model, const data::Dataset<T>& data, const std::type_identity_t<nn::Loss<T>>& loss,
            optim::Optimizer<T>& optimizer, const std::type_identity_t<FitOptions<T>>& options) {
  return run(Trainer<T>(model, data, loss, optimizer, options), options);
}

template <class T>
History fit(nn::Module<T>& model, const std::vector<View<const std::type_identity_t<T>>>& columns,
            const std::type_identity_t<Step<T>>& step, optim::Optimizer<T>& optimizer,
            const std::type_identity_t<FitOptions<T>>& options) {
  return run(Trainer<T>(model, columns, step, optimizer, options), options);
}

#define TAPER_INSTANTIATE(T)                                                                              \
  template History fit(nn::Module<T>&, const data::Dataset<T>&, const std::type_identity_t<nn::Loss<T>>&, \
                       optim::Optimizer<T>&, const std::type_identity_t<FitOptions<T>>&);                 \
  template History fit(nn::Module<T>&, const std::vector<View<const std::type_identity_t<T>>>&,           \
                       const std::type_identity_t<Step<T>>&, optim::Optimizer<T>&,                        \
                       const std::type_identity_t<FitOptions<T>>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::train
