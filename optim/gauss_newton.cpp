#include <taper/optim/gauss_newton.hpp>

#include <algorithm>
#include <cmath>

#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/data/dataset.hpp>
#include <taper/instantiate.hpp>
#include <taper/optim/optimizer.hpp>

namespace taper::optim {
namespace {

constexpr Index most_batch_rows = 128;   // in a pass for value and gradient
constexpr Index batches_at_a_time = 64;  // whose gradients are kept until they are added up
constexpr Index jacobian_rows = 1024;    // in a product J' J
constexpr Index piece_rows = 32;         // of a Jacobian, row by row
constexpr Index product_columns = 64;    // of the triangle, at a time

std::size_t unsign(Index i) {
  return static_cast<std::size_t>(i);
}

void check_weights(std::span<const double> weights, Index rows, const char* where) {
  if (weights.empty()) return;
  if (static_cast<Index>(weights.size()) != rows) {
    throw Error(where, weights.size(), " sample_weights for ", rows, " rows: expected one for each");
  }
  double total = 0;
  for (const double weight : weights) {
    require_setting(where, "sample weight", weight);
    total += weight;
  }
  if (!(total > 0)) throw Error(where, "sample_weights that are all 0: expected one that counts");
}

/// Calls f(lane) for each, on several threads.
template <class F> void for_each_lane(Index count, const F& f) {
  kernels::for_pieces(count, 1, [&](Index lane, Index) { f(lane); });
}

}  // namespace

template <class T>
GaussNewton<T>::GaussNewton(nn::Module<T>& model, const std::vector<View<const T>>& columns,
                            const RowLoss<T>& loss, std::span<const double> sample_weights, const char* where)
    : where_(where),
      model_(model),
      row_loss_(loss),
      columns_(data::checked_columns<T>(columns, where)),
      parameters_(model.parameters()),
      layout_(parameters_),
      batch_rows_(std::min(most_batch_rows, rows())),
      weights_(sample_weights.begin(), sample_weights.end()) {
  check_weights(sample_weights, rows(), where);
  record();
  Lane& lane = *lanes_.front();
  for (Index row = 0; row < rows(); ++row) {
    load_targets(lane, row);
    loss_->check(lane.targets);
    const double share = loss_->terms(lane.targets) * weight_of(row);
    if (share > 0) counting_.push_back(row);
    total_ += share;
  }
  if (total_ == 0) throw Error(where, rows(), " rows that are all ignored: expected one that counts");
  take_values();
  check_rows_alone();
}

/// Whether the output is computed from this column. All that is recorded leads to the output.
template <class T> bool GaussNewton<T>::reads(const Recorded& recorded, std::size_t column) {
  const auto place = static_cast<std::uint32_t>(recorded.inputs[column].index());
  return recorded.output.index() == recorded.inputs[column].index() ||
         std::ranges::any_of(recorded.tape.nodes(), [&](const Node<double>& node) {
           return node.op != nullptr && std::ranges::count(recorded.tape.inputs(node), place) > 0;
         });
}

/// Records the model for a batch and for one row, and copies both recordings for each thread.
template <class T> void GaussNewton<T>::record() {
  const KeepRandomState keep;
  while (static_cast<int>(lanes_.size()) < kernels::threads()) {
    lanes_.push_back(std::make_unique<Lane>());
    lanes_.back()->block = std::make_shared<Block<double>>(layout_.size());
  }
  const auto record_for = [&](Index count, Recorded Lane::*recorded) {
    Tape<T> tape(Mode::evaluation);
    const nn::ModuleScope<T> scope(tape, model_);
    std::vector<Var<T>> inputs;
    std::vector<Index> places;
    for (const View<const T>& column : columns_) {
      const Shape shape = column.shape().with(0, count);
      inputs.push_back(tape.input(shape));
      inputs.back().assign(View<const T>(column.data(), shape));  // real values, so that labels are labels
      places.push_back(inputs.back().index());
    }
    const Var<T> value = row_loss_(tape, inputs);
    parameters_.require_all_of(tape, where_);
    const Node<T>& node = tape.nodes()[unsign(value.index())];
    OutputLoss::require(node, where_);
    const Index output = tape.inputs(node)[0], target = tape.inputs(node)[1];
    const Shape& shape = tape.nodes()[unsign(output)].shape;
    if (shape.rank() < 1 || shape[0] != count) {
      throw Error(where_, "an output ", shape, " for ", count, " rows: expected one row for each");
    }
    const auto column = std::ranges::find(places, target);
    if (column == places.end()) {
      throw Error(where_, "a loss whose targets are computed: expected a column of the data");
    }
    target_ = static_cast<std::size_t>(column - places.begin());
    loss_.emplace(node, shape.size() / count, where_);
    depends_ = tape.nodes()[unsign(output)].requires_grad;
    for (const auto& lane : lanes_) {
      Recorded& to = (*lane).*recorded;
      to.tape.clear();
      to.output = record_in_double(tape, output, parameters_, layout_, places, to.tape, lane->block,
                                   to.inputs, where_);
      to.tape.keep_gradients(false);
    }
    target_is_input_ = reads(lanes_.front()->batch, target_);
  };
  record_for(batch_rows_, &Lane::batch);
  record_for(1, &Lane::row);
  by_batch_ = RowGradients::of(lanes_.front()->batch.tape, *lanes_.front()->block, batch_rows_);
  for (const auto& lane : lanes_) {
    lane->targets.resize(unsign(loss_->targets()));
    lane->batch.tape.keep_gradients(by_batch_.has_value());
    const Index factors = by_batch_ ? batch_rows_ : 1;
    lane->factors.resize(unsign(factors * loss_->rank() * loss_->outputs()));
    lane->seed.resize(unsign(batch_rows_ * loss_->outputs()));
  }
}

template <class T> void GaussNewton<T>::sync() {
  require_layout();
  record();
  take_values();
}

template <class T> void GaussNewton<T>::take_values() {
  const Block<T>& block = *parameters_.block();
  masks_ = block.mask_version;
  positions_.clear();
  runs_.clear();
  for (const auto& entry : parameters_.entries()) {
    for (Index i = entry.offset; i < entry.offset + entry.shape.size(); ++i) {
      const Index at = layout_.position(i);
      for (const auto& lane : lanes_)
        lane->block->values.data()[at] = static_cast<double>(block.values.data()[i]);
      if (block.frozen.data()[i] != 0) continue;
      if (runs_.empty() || runs_.back().at + runs_.back().size != at) runs_.push_back({size(), at, 0});
      ++runs_.back().size;
      positions_.push_back(i);
    }
  }
}

template <class T> void GaussNewton<T>::require_layout() const {
  if (parameters_.block()->version == parameters_.version()) return;
  throw Error(where_, "the model's parameters were laid out anew since this was made: expected a new one");
}

template <class T> std::vector<double> GaussNewton<T>::point() const {
  std::vector<double> x;
  for (const Index position : positions_) {
    x.push_back(static_cast<double>(parameters_.block()->values.data()[position]));
  }
  return x;
}

template <class T> void GaussNewton<T>::round(std::span<double> x) const {
  for (double& entry : x) entry = static_cast<double>(static_cast<T>(entry));
}

template <class T> void GaussNewton<T>::store(std::span<const double> x) {
  require_layout();
  if (masks_ != parameters_.block()->mask_version) {
    throw Error(where_, "masks that changed on the way: expected a new run with other masks");
  }
  T* const values = parameters_.block()->values.data();
  for (std::size_t i = 0; i < x.size(); ++i) values[positions_[i]] = static_cast<T>(x[i]);
}

/// Rows one after the other from `first` on become the rows of the inputs from `at` on.
template <class T> void GaussNewton<T>::load(Recorded& to, Index first, Index count, Index at) const {
  for (std::size_t k = 0; k < columns_.size(); ++k) {
    if (k == target_ && !target_is_input_) continue;
    const Index width = columns_[k].size() / rows();
    const T* const from = columns_[k].data() + first * width;
    std::transform(from, from + count * width, to.inputs[k].data().data() + at * width,
                   [](T entry) { return static_cast<double>(entry); });
  }
}

template <class T> void GaussNewton<T>::load_targets(Lane& lane, Index row) const {
  const Index width = loss_->targets();
  const T* const from = columns_[target_].data() + row * width;
  std::transform(from, from + width, lane.targets.begin(),
                 [](T entry) { return static_cast<double>(entry); });
}

/// Gives all lanes the free entries.
template <class T> void GaussNewton<T>::spread(std::span<const double> x) {
  for (const auto& lane : lanes_) {
    for (const Run& run : runs_) {
      std::copy_n(x.data() + run.first, run.size, lane->block->values.data() + run.at);
    }
  }
}

/// The free entries of a lane's gradient.
template <class T> void GaussNewton<T>::gather(const Lane& lane, double* to) const {
  for (const Run& run : runs_) std::copy_n(lane.block->gradients.data() + run.at, run.size, to + run.first);
}

/// A row alone gives what it gives in a batch, up to rounding.
template <class T> void GaussNewton<T>::check_rows_alone() {
  Lane& lane = *lanes_.front();
  load(lane.batch, 0, batch_rows_);
  lane.batch.tape.replay(0);
  const View<const double> together = lane.batch.output.value();
  double most = 0;
  for (const double output : together) most = std::max(most, std::abs(output));
  const Index outputs = loss_->outputs();
  for (Index row = 0; row < batch_rows_; ++row) {
    load(lane.row, row, 1);
    lane.row.tape.replay(0);
    const View<const double> alone = lane.row.output.value();
    for (Index k = 0; k < outputs; ++k) {
      if (!(std::abs(alone[k] - together[row * outputs + k]) > 1e-6 * most)) continue;
      throw Error(where_, "a model whose output for row ", row, " is ", together[row * outputs + k],
                  " among other rows and ", alone[k], " alone: expected rows that do not depend on others");
    }
  }
}

/// The share of a batch in the mean loss, and in its gradient. The last batch is moved forward until it is
/// whole, and does not count what has been in the one before.
template <class T> double GaussNewton<T>::evaluate_batch(Lane& lane, Index batch, double* gradient) const {
  const Index begin = batch * batch_rows_, first = std::min(begin, rows() - batch_rows_);
  load(lane.batch, first, batch_rows_);
  lane.batch.tape.replay(0);
  const std::size_t outputs = unsign(loss_->outputs());
  const std::span<const double> values(lane.batch.output.value().data(), unsign(batch_rows_) * outputs);
  double total = 0;
  for (Index i = 0; i < batch_rows_; ++i) {
    const auto of_row = values.subspan(unsign(i) * outputs, outputs);
    const auto seed = std::span(lane.seed).subspan(unsign(i) * outputs, outputs);
    std::ranges::fill(seed, 0.0);
    const double weight = first + i < begin ? 0 : weight_of(first + i);
    if (weight == 0) continue;
    load_targets(lane, first + i);
    total += weight * loss_->value(of_row, lane.targets);
    loss_->gradient(of_row, lane.targets, weight / total_, seed);
  }
  if (depends_) {
    lane.batch.tape.backward(lane.batch.output, {lane.seed.data(), lane.batch.output.shape()});
    gather(lane, gradient);
  }
  return total / total_;
}

template <class T> double GaussNewton<T>::evaluate(std::span<const double> x, std::span<double> gradient) {
  spread(x);
  std::ranges::fill(gradient, 0.0);
  const Index batches = (rows() + batch_rows_ - 1) / batch_rows_, stride = size() + 1;
  partial_.resize(unsign(batches_at_a_time * stride));
  double mean = 0;
  for (Index begin = 0; begin < batches; begin += batches_at_a_time) {
    const Index count = std::min(batches_at_a_time, batches - begin);
    const Index lanes = lanes_for(count);
    for_each_lane(lanes, [&](Index lane) {
      for (Index k = lane; k < count; k += lanes) {
        double* const to = partial_.data() + k * stride;
        to[size()] = evaluate_batch(*lanes_[unsign(lane)], begin + k, to);
      }
    });
    for (Index k = 0; k < count; ++k) {
      const double* const from = partial_.data() + k * stride;
      mean += from[size()];
      if (!depends_) continue;
      for (Index j = 0; j < size(); ++j) gradient[unsign(j)] += from[j];
    }
  }
  return mean;
}

/// Writes S with S' S = H / total, the second derivatives of a row's share in the mean by its outputs.
template <class T>
void GaussNewton<T>::load_factor(Lane& lane, Index row, const double* outputs, double total,
                                 std::span<double> factor) const {
  load_targets(lane, row);
  const double weight = loss_->terms(lane.targets) == 0 ? 0 : weight_of(row);
  loss_->curvature({outputs, unsign(loss_->outputs())}, weight / total, factor);
}

/// The rows of S J for these rows of the data, one after the other.
template <class T>
void GaussNewton<T>::jacobian_by_row(Lane& lane, std::span<const Index> rows, double total,
                                     double* to) const {
  Tape<double>& tape = lane.row.tape;
  const Shape& shape = lane.row.output.shape();
  for (const Index row : rows) {
    load(lane.row, row, 1);
    tape.replay(0);
    load_factor(lane, row, lane.row.output.value().data(), total, lane.factors);
    for (Index k = 0; k < loss_->rank(); ++k, to += size()) {
      tape.backward(lane.row.output, {lane.factors.data() + k * loss_->outputs(), shape});
      gather(lane, to);
    }
  }
}

/// The same for as many rows as a batch has at most, with backward passes for all of them.
template <class T>
void GaussNewton<T>::jacobian_by_batch(Lane& lane, std::span<const Index> rows, double total,
                                       double* to) const {
  Tape<double>& tape = lane.batch.tape;
  const Index count = static_cast<Index>(rows.size()), outputs = loss_->outputs(), rank = loss_->rank();
  for (Index i = 0; i < batch_rows_; ++i) load(lane.batch, rows[unsign(std::min(i, count - 1))], 1, i);
  tape.replay(0);
  const double* const values = lane.batch.output.value().data();
  const std::span<double> factors = lane.factors;
  for (Index i = 0; i < count; ++i) {
    load_factor(lane, rows[unsign(i)], values + i * outputs, total,
                factors.subspan(unsign(i * rank * outputs), unsign(rank * outputs)));
  }
  std::ranges::fill(lane.seed, 0.0);
  for (Index k = 0; k < rank; ++k) {
    for (Index i = 0; i < count; ++i) {
      std::copy_n(factors.data() + (i * rank + k) * outputs, outputs, lane.seed.data() + i * outputs);
    }
    tape.backward(lane.batch.output, {lane.seed.data(), lane.batch.output.shape()});
    for (Index i = 0; i < count; ++i) {
      by_batch_->write(tape, i, lane.block->gradients.data());
      gather(lane, to + (i * rank + k) * size());
    }
  }
}

template <class T>
void GaussNewton<T>::curvature(std::span<const double> x, std::span<const Index> rows, double* to) {
  spread(x);
  const Index n = size(), rank = loss_->rank();
  std::fill_n(to, n * n, 0.0);
  double total = 0;  // of the terms of these rows
  for (const Index row : rows) {
    load_targets(*lanes_.front(), row);
    total += loss_->terms(lanes_.front()->targets) * weight_of(row);
  }
  if (total == 0 || n == 0 || rank == 0 || !depends_) return;
  const Index most = std::max<Index>(1, jacobian_rows / rank), all = static_cast<Index>(rows.size());
  jacobian_.resize(unsign(std::min(most, all) * rank * n));
  for (Index begin = 0; begin < all; begin += most) {
    const Index count = std::min(most, all - begin), piece = by_batch_ ? batch_rows_ : piece_rows;
    const Index pieces = (count + piece - 1) / piece, lanes = lanes_for(pieces);
    for_each_lane(lanes, [&](Index lane) {
      for (Index k = lane; k < pieces; k += lanes) {
        const Index first = k * piece, size = std::min(piece, count - first);
        const auto of_piece = rows.subspan(unsign(begin + first), unsign(size));
        double* const place = jacobian_.data() + first * rank * n;
        if (by_batch_) {
          jacobian_by_batch(*lanes_[unsign(lane)], of_piece, total, place);
        } else {
          jacobian_by_row(*lanes_[unsign(lane)], of_piece, total, place);
        }
      }
    });
    for (Index column = 0; column < n; column += product_columns) {
      const double* const from = jacobian_.data() + column;
      kernels::gemm<double>(n - column, std::min(product_columns, n - column), count * rank, {from, 1, n},
                            {from, n, 1}, to + column * n + column, n, true);
    }
  }
}

TAPER_INSTANTIATE_CLASS(GaussNewton)

}  // namespace taper::optim
