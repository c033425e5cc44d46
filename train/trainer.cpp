#include <taper/train/trainer.hpp>

#include <taper/instantiate.hpp>
#include <taper/train/trainer/state.hpp>

namespace taper::train {

template <class T>
Trainer<T>::Trainer(nn::Module<T>& model, const std::vector<View<const std::type_identity_t<T>>>& columns,
                    const std::type_identity_t<Step<T>>& step, optim::Optimizer<T>& optimizer,
                    const std::type_identity_t<FitOptions<T>>& options)
    : training_(std::make_unique<Training<T>>(model, setup_with_step(model, columns, step, options),
                                              optimizer, options)) {}

template <class T>
Trainer<T>::Trainer(nn::Module<T>& model, const data::Dataset<T>& data,
                    const std::type_identity_t<nn::Loss<T>>& loss, optim::Optimizer<T>& optimizer,
                    const std::type_identity_t<FitOptions<T>>& options)
    : training_(std::make_unique<Training<T>>(model, setup_with_loss(model, data, loss, options), optimizer,
                                              options)) {}

template <class T> Trainer<T>::Trainer(Trainer&&) noexcept = default;
template <class T> Trainer<T>& Trainer<T>::operator=(Trainer&&) noexcept = default;
template <class T> Trainer<T>::~Trainer() = default;

template <class T> double Trainer<T>::step() {
  const double loss = training_->step();
  if (training_->options.checkpoint.save) training_->options.checkpoint.save(*this);
  return loss;
}

template <class T> const Epoch& Trainer<T>::run_epoch() {
  const Index present = epoch();
  while (epoch() == present) step();
  return history().epochs.back();
}

template <class T> const History& Trainer<T>::run(Index epochs) {
  if (epochs < 0) throw Error("fit", epochs, " epochs: expected 0 or more");
  for (Index i = 0; i < epochs && history().stopped.empty(); ++i) run_epoch();
  training_->check_last_step();
  return history();
}

template <class T> const History& Trainer<T>::run() {
  while (!is_done()) run_epoch();
  return history();
}

template <class T> void Trainer<T>::finish() {
  training_->finish();
}

template <class T> Index Trainer<T>::epoch() const {
  return training_->epoch;
}

template <class T> Index Trainer<T>::batch() const {
  return training_->batch;
}

template <class T> Index Trainer<T>::epochs() const {
  return training_->options.epochs;
}

template <class T> bool Trainer<T>::is_done() const {
  return training_->is_done();
}

template <class T> const History& Trainer<T>::history() const {
  return training_->history;
}

template <class T> TrainerState<T> Trainer<T>::state() const {
  return state_of(*training_);
}

template <class T> void Trainer<T>::load_state(const TrainerState<T>& state) {
  train::load_state(*training_, state);
}

TAPER_INSTANTIATE_CLASS(Trainer)

}  // namespace taper::train
