#pragma once

#include <optional>
#include <span>

#include <taper/autodiff/kernels/attention.hpp>
#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/autodiff/tape.hpp>

/// The operations on variables. Each is recorded on the tape of its inputs, computes at once, and throws
/// Error when shapes do not fit. Adding one: its record and function in a file of autodiff/ops/, its line
/// here.
namespace taper {

// One input, entry by entry. Where one is not smooth, its derivative is the one in brackets. A NaN gives a
// NaN, and so does its derivative, but for those that say otherwise: their pieces have constant slopes. At
// infinities, functions and derivatives are their limits, and NaN where there is none.

template <class T> Var<T> neg(Var<T> x);
template <class T> Var<T> exp(Var<T> x);
template <class T> Var<T> log(Var<T> x);
/// log(1 + x), with all digits next to 0.
template <class T> Var<T> log1p(Var<T> x);
/// exp(x) - 1, with all digits next to 0.
template <class T> Var<T> expm1(Var<T> x);
/// The square root [infinite at 0, so that an arriving gradient of 0 becomes 0 * inf, a NaN].
template <class T> Var<T> sqrt(Var<T> x);
template <class T> Var<T> square(Var<T> x);
/// |x| [0 at 0].
template <class T> Var<T> abs(Var<T> x);
/// x^exponent, as C has it: (-0)^0.5 is 0, and (-inf)^0.5 is infinite [at 0 infinite for an exponent below 1
/// other than 0, with the same consequence].
template <class T> Var<T> pow(Var<T> x, std::type_identity_t<T> exponent);
template <class T> Var<T> sin(Var<T> x);
template <class T> Var<T> cos(Var<T> x);
template <class T> Var<T> tanh(Var<T> x);
/// The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.
template <class T> Var<T> erf(Var<T> x);
/// 1 / (1 + exp(-x)).
template <class T> Var<T> sigmoid(Var<T> x);
/// -log(1 + exp(-x)), the logarithm of sigmoid(x).
template <class T> Var<T> log_sigmoid(Var<T> x);
/// log(1 + exp(x)).
template <class T> Var<T> softplus(Var<T> x);
/// max(x, 0) [0 at 0; 1 at a NaN, as in PyTorch, so that a gradient is not cut where the value is lost].
template <class T> Var<T> relu(Var<T> x);
/// x, or slope x where x <= 0 [slope at 0 and at a NaN].
template <class T> Var<T> leaky_relu(Var<T> x, std::type_identity_t<T> slope = T(0.01));
/// x, or alpha (exp(x) - 1) where x <= 0 [alpha at 0] (Clevert et al., 2016).
template <class T> Var<T> elu(Var<T> x, std::type_identity_t<T> alpha = T(1));
/// x Phi(x) with the normal distribution function, not its tanh approximation (Hendrycks and Gimpel, 2016).
template <class T> Var<T> gelu(Var<T> x);
/// x sigmoid(x).
template <class T> Var<T> silu(Var<T> x);
/// min(max(x, low), high) [1 at both ends; 0 at a NaN]. Throws Error unless low <= high.
template <class T> Var<T> clamp(Var<T> x, std::type_identity_t<T> low, std::type_identity_t<T> high);

// Two inputs, entry by entry. Dimensions are compared from the last one; one that is missing or 1 is
// repeated, so a row (n), a column (m x 1) and a scalar fit a matrix (m x n).

template <class T> Var<T> add(Var<T> a, Var<T> b);
template <class T> Var<T> sub(Var<T> a, Var<T> b);
template <class T> Var<T> mul(Var<T> a, Var<T> b);
template <class T> Var<T> div(Var<T> a, Var<T> b);
/// a^b [for a at 0: infinite where b < 1 and not 0; for b where a is 0: 0 where b >= 0].
template <class T> Var<T> pow(Var<T> a, Var<T> b);
/// The larger one, or a NaN if either is one [one half to each when they are equal; 1 to both where either is
/// a NaN, as in PyTorch].
template <class T> Var<T> max(Var<T> a, Var<T> b);
/// The smaller one, or a NaN if either is one [like max].
template <class T> Var<T> min(Var<T> a, Var<T> b);
/// x, or slope x where x <= 0, with slopes of any shape that fits [for x at 0 slope, for slope 0] (He et al.,
/// 2015, equation 1).
template <class T> Var<T> prelu(Var<T> x, Var<T> slope);

// Comparisons, entry by entry like those above: 1 where it holds and 0 elsewhere, and next to a NaN, which is
// equal to nothing. They have no derivative.

template <class T> Var<T> greater(Var<T> a, Var<T> b);
template <class T> Var<T> greater_equal(Var<T> a, Var<T> b);
template <class T> Var<T> less(Var<T> a, Var<T> b);
template <class T> Var<T> less_equal(Var<T> a, Var<T> b);
template <class T> Var<T> equal(Var<T> a, Var<T> b);
template <class T> Var<T> not_equal(Var<T> a, Var<T> b);

/// a where the condition is not 0 (a NaN is not), b elsewhere; all three fit each other as above. What is not
/// chosen counts for nothing, in the gradient too, whatever it is.
template <class T> Var<T> where(Var<T> condition, Var<T> a, Var<T> b);

/// The product of a factor u with its gates v, which are as many as u has entries, or one for each index of
/// an axis, in the shape that is repeated to that of u: of a matrix m x n, the columns have n gates, the rows
/// m x 1; of a tensor 20x10x5x5, axis 1 has 10x1x1. It is mul(u, v), and its backward pass finds both
/// gradients in one pass.
template <class T> Var<T> hadamard(Var<T> u, Var<T> v);

// Products of matrices.

enum class Transpose { no, yes };
/// a b for a m x k and b k x n, each read transposed when asked. With more axes, these are batches of
/// matrices, whose leading dimensions are repeated like those of a sum: 8x4 x m x k times 4 x k x n makes 8x4
/// x m x n.
template <class T>
Var<T> matmul(Var<T> a, Var<T> b, Transpose transpose_a = Transpose::no,
              Transpose transpose_b = Transpose::no);

/// What `affine` can apply to its result: those whose derivative follows from it.
using kernels::Activation;
/// activation(x weight' + bias): x is (any dimensions) x in, weight is out x in, bias has out entries, and
/// the result is (the same dimensions) x out.
template <class T>
Var<T> affine(Var<T> x, Var<T> weight, Var<T> bias, Activation activation = Activation::none);
/// The same without a bias.
template <class T> Var<T> affine(Var<T> x, Var<T> weight, Activation activation = Activation::none);

// Convolutions (in PyTorch's conventions: the weight is not flipped) and poolings.

/// A setting for both directions of an image; one number stands for the two.
struct Both {
  Index rows, columns;
  constexpr Both(Index both) : rows(both), columns(both) {}
  constexpr Both(Index of_rows, Index of_columns) : rows(of_rows), columns(of_columns) {}
};

struct Conv1dOptions {
  Index stride = 1, padding = 0, dilation = 1, groups = 1;
  Activation activation = Activation::none;
};
/// activation(convolution of x with weight + bias): x is batch x channels x length, weight is outputs x
/// (channels / groups) x taps, bias has an entry for each output, and the result is batch x outputs x
/// ((length + 2 padding - dilation (taps - 1) - 1) / stride + 1), rounded down. Beyond the ends of x are
/// `padding` zeros. Group g of the outputs reads group g of the channels; `groups` is 0 for as many as the
/// shapes say.
template <class T> Var<T> conv1d(Var<T> x, Var<T> weight, Var<T> bias, const Conv1dOptions& options = {});
/// The same without a bias.
template <class T> Var<T> conv1d(Var<T> x, Var<T> weight, const Conv1dOptions& options = {});

struct Conv2dOptions {
  Both stride = 1, padding = 0, dilation = 1;
  Index groups = 1;
  Activation activation = Activation::none;
};
/// The same for images, batch x channels x rows x columns, with a weight outputs x (channels / groups) x taps
/// x taps.
template <class T> Var<T> conv2d(Var<T> x, Var<T> weight, Var<T> bias, const Conv2dOptions& options = {});
template <class T> Var<T> conv2d(Var<T> x, Var<T> weight, const Conv2dOptions& options = {});

// Poolings of batch x channels x length, or of batch x channels x rows x columns. Windows start `stride`
// elements apart, or next to each other with a stride of 0. At most half of a window is padding, and windows
// that do not fit at the end are left out.

struct MaxPool1dOptions {
  Index stride = 0, padding = 0, dilation = 1;
};
/// The largest element of each window, or a NaN if there is one [1 to the first one, when several are, also
/// of NaNs]. The padding does not count; a dilated window that has nothing else gives minus infinity.
template <class T> Var<T> max_pool1d(Var<T> x, Index kernel, const MaxPool1dOptions& options = {});
struct MaxPool2dOptions {
  Both stride = 0, padding = 0, dilation = 1;
};
template <class T> Var<T> max_pool2d(Var<T> x, Both kernel, const MaxPool2dOptions& options = {});

struct AvgPool1dOptions {
  Index stride = 0, padding = 0;
  bool count_padding = true;  ///< whether averages count the zeros in the padding
};
/// The average of each window.
template <class T> Var<T> avg_pool1d(Var<T> x, Index kernel, const AvgPool1dOptions& options = {});
struct AvgPool2dOptions {
  Both stride = 0, padding = 0;
  bool count_padding = true;
};
template <class T> Var<T> avg_pool2d(Var<T> x, Both kernel, const AvgPool2dOptions& options = {});

/// Averages over `output` cells: cell i of n elements is [i n / output, (i + 1) n / output), the one rounded
/// down and the other up. One cell is the average of all: global average pooling. Throws Error when there is
/// nothing to average.
template <class T> Var<T> adaptive_avg_pool1d(Var<T> x, Index output);
template <class T> Var<T> adaptive_avg_pool2d(Var<T> x, Both output);

// Reductions.

/// The axes that a reduction goes over: one, a list in any order, or all, which is an empty list and what
/// none is. -1 is the last.
class Axes {
 public:
  Axes() = default;
  Axes(Index axis) : list_{axis} {}
  Axes(std::initializer_list<Index> axes) : list_(axes) {}

  const IndexList& list() const { return list_; }

 private:
  IndexList list_;
};

// They throw Error for an axis that there is not, or that is named twice. The axes go away, or with keepdim
// stay with one index. Axes that are no neighbours are reduced by several operations, the last ones first.

template <class T> Var<T> sum(Var<T> x, const Axes& axes = {}, bool keepdim = false);
/// Throws Error when there is nothing to average.
template <class T> Var<T> mean(Var<T> x, const Axes& axes = {}, bool keepdim = false);
/// The largest entry, or a NaN if there is one [1 to the first one, when several are, also of NaNs; 0 to all
/// others]. Throws Error when there is none.
template <class T> Var<T> max(Var<T> x, const Axes& axes = {}, bool keepdim = false);
/// The smallest entry [like max].
template <class T> Var<T> min(Var<T> x, const Axes& axes = {}, bool keepdim = false);
/// log(sum(exp(x))), shifted by the maximum so that nothing overflows. Throws Error like max.
template <class T> Var<T> logsumexp(Var<T> x, const Axes& axes = {}, bool keepdim = false);
/// The mean of the squared deviations from the mean; unbiased, with a divisor of n - 1 in place of n. The
/// deviations are taken before they are squared, so it has its digits next to any mean, and its gradient,
/// too. Throws Error for n = 0, and n = 1 when unbiased.
template <class T> Var<T> var(Var<T> x, const Axes& axes = {}, bool unbiased = true, bool keepdim = false);

/// exp(x) / sum(exp(x)) along an axis. Next to an infinite entry, which gives a NaN, the finite ones give 0.
template <class T> Var<T> softmax(Var<T> x, Index axis = -1);
/// x - logsumexp(x) along an axis; the maximum is subtracted first, so that offsets of x cancel exactly. Next
/// to an infinite entry, which gives a NaN, the finite ones give minus infinity.
template <class T> Var<T> log_softmax(Var<T> x, Index axis = -1);

// Attention.

/// What a mask does to the scores: `added` to them, or a condition, by which a key takes part where it is not
/// 0 (`allowed`, as in PyTorch's function of this name) or where it is 0 (`ignored`, as in its layer).
using kernels::AttentionMask;
template <class T> struct AttentionOptions {
  /// Of the shape of the scores, or repeated to it.
  std::optional<Var<T>> mask = {};
  AttentionMask mask_kind = AttentionMask::added;
  /// Whether query i sees only the keys [0, i].
  bool causal = false;
  /// The factor of the scores; 1 / sqrt(width of a head) when none is given.
  std::optional<double> scale = {};
  /// Columns that each head has; 0 for one head that has all.
  Index head_width = 0;
  /// The probability with which a weight is set to zero, as by `dropout`: it is for training alone.
  double dropout = 0;
};
/// softmax(scale query key' + mask) value (Vaswani et al., 2017, equation 1), for queries (leading
/// dimensions) x n x width, keys (the same) x m x width and values (the same) x m x value width; the result
/// is (the same) x n x value width. With a head_width, the columns are those of several heads, side by side,
/// as are those of the values and the result: rows x n x (heads width), without any transposition. The scores
/// are (leading dimensions) x n x m, or with a head_width (leading dimensions) x heads x n x m. A query that
/// sees no key at all gives zeros, and a gradient of zero, where PyTorch's layer gives NaN. What a query does
/// not see, by the causal limit or a mask (an added one of minus infinity, too), does not reach its result,
/// even if it is NaN; gradients are those of finite keys and values.
template <class T>
Var<T> scaled_dot_product_attention(Var<T> query, Var<T> key, Var<T> value,
                                    const AttentionOptions<std::type_identity_t<T>>& options = {});

// Normalization. A channel is an index of axis 1 of rows x channels x (other dimensions).

/// The moments of each channel, over all other axes: a matrix 3 x channels of the mean, the variance (divided
/// by n) and the unbiased variance (divided by n - 1). A channel with an infinite entry has NaNs. Throws
/// Error for n = 1.
template <class T> Var<T> batch_moments(Var<T> x);
/// (x - mean) / sqrt(variance + epsilon) weight + bias, with one entry of the others for each channel (Ioffe
/// and Szegedy, 2015, algorithm 1): those of batch_moments in training, and running ones afterwards.
template <class T> Var<T> batch_norm(Var<T> x, Var<T> mean, Var<T> variance, double epsilon = 1e-5);
template <class T>
Var<T> batch_norm(Var<T> x, Var<T> mean, Var<T> variance, Var<T> weight, Var<T> bias, double epsilon = 1e-5);
/// (x - m) / sqrt(v + epsilon) with mean m and variance v over the last `axes` axes (Ba, Kiros and Hinton,
/// 2016), times weight, plus bias, which have the dimensions of those axes.
template <class T> Var<T> layer_norm(Var<T> x, Index axes = 1, double epsilon = 1e-5);
template <class T> Var<T> layer_norm(Var<T> x, Var<T> weight, double epsilon = 1e-5);
template <class T> Var<T> layer_norm(Var<T> x, Var<T> weight, Var<T> bias, double epsilon = 1e-5);
/// x / sqrt(mean of x^2 + epsilon) over the last axes, times weight (Zhang and Sennrich, 2019).
template <class T> Var<T> rms_norm(Var<T> x, Index axes = 1, double epsilon = 1e-5);
template <class T> Var<T> rms_norm(Var<T> x, Var<T> weight, double epsilon = 1e-5);

// Layout.

/// The same entries in another shape; one dimension may be -1 and is worked out.
template <class T> Var<T> reshape(Var<T> x, std::initializer_list<Index> dimensions);
/// Exchanges two axes; an axis with itself gives x.
template <class T> Var<T> transpose(Var<T> x, Index first = -2, Index second = -1);
/// The axes in another order: axis k of the result is axis order[k] of x. Throws Error unless each is named
/// once.
template <class T> Var<T> permute(Var<T> x, std::initializer_list<Index> order);
/// Puts an axis of one index before this one; -1 is behind the last.
template <class T> Var<T> unsqueeze(Var<T> x, Index axis);
/// Takes away an axis that has one index. Throws Error for another one.
template <class T> Var<T> squeeze(Var<T> x, Index axis);
/// Repeats x to these dimensions: as above, dimensions are compared from the last one, and one that is
/// missing or 1 is repeated. -1 is the dimension that x has.
template <class T> Var<T> expand(Var<T> x, std::initializer_list<Index> dimensions);
/// Positions [begin, end) of an axis.
template <class T> Var<T> slice(Var<T> x, Index axis, Index begin, Index end);
/// Part `part` of `parts` equal ones of an axis, counted from 0. Unlike a slice, it says nothing of sizes:
/// when the axis is cut, by the same indices in each part, it is still that part. Throws Error for an axis
/// that has no such parts.
template <class T> Var<T> chunk(Var<T> x, Index part, Index parts, Index axis = 0);
/// Joins tensors that agree in all other dimensions along an axis.
template <class T> Var<T> concat(std::span<const Var<T>> parts, Index axis);
template <class T> Var<T> concat(std::initializer_list<Var<T>> parts, Index axis) {
  return concat(std::span(parts.begin(), parts.size()), axis);
}
/// Joins tensors of one shape along a new axis, which comes before this one; -1 is behind the last.
template <class T> Var<T> stack(std::span<const Var<T>> parts, Index axis = 0);
template <class T> Var<T> stack(std::initializer_list<Var<T>> parts, Index axis = 0) {
  return stack(std::span(parts.begin(), parts.size()), axis);
}
/// Rows of a table (n x d) at these positions (an embedding): whole numbers in [0, n), of any shape, to which
/// the result adds the dimension d. Throws Error for others, in a replay too.
template <class T> Var<T> gather_rows(Var<T> table, Var<T> positions);
/// Positions in one table for the positions in several that stand below each other in it: x is rows x fields,
/// and the whole number in column k, in [0, sizes[k]), comes behind those of the fields before it. Throws
/// Error for others, in a replay too.
template <class T> Var<T> field_positions(Var<T> x, Var<T> sizes);
/// What a factorization machine adds up for inputs of which one in each field is 1 and all others are 0: the
/// weights (n x 1) at the positions (rows x fields), and the products <v_i, v_j> of the rows of the factors
/// (n x k) over all pairs of fields. The result is rows x 1. Rendle, "Factorization machines", 2010, equation
/// 1, with each row of factors multiplied with the sum of those before it, so that nothing cancels. Throws
/// Error for positions that are no whole numbers in [0, n), in a replay too.
template <class T> Var<T> field_pairs(Var<T> weights, Var<T> factors, Var<T> positions);

// Losses: numerically stable. Their options have the names and meanings of PyTorch's arguments.

/// What becomes of the losses of all entries (of all rows, for cross_entropy).
enum class LossReduction { mean, sum, none };

template <class T> struct LossOptions {
  LossReduction reduction = LossReduction::mean;
  /// A factor for each entry, repeated where it is smaller: one for each of the n rows is n x 1. The mean is
  /// then sum(weight loss) / sum(weight).
  std::optional<Var<T>> weight = {};
};

/// (prediction - target)^2.
template <class T>
Var<T> mse_loss(Var<T> prediction, Var<T> target, const LossOptions<std::type_identity_t<T>>& options = {});
/// |prediction - target| [0 when equal, NaN at a NaN].
template <class T>
Var<T> mae_loss(Var<T> prediction, Var<T> target, const LossOptions<std::type_identity_t<T>>& options = {});
/// d^2 / 2 where d = |prediction - target| <= delta, delta (d - delta / 2) beyond (Huber, 1964).
template <class T>
Var<T> huber_loss(Var<T> prediction, Var<T> target, std::type_identity_t<T> delta = T(1),
                  const LossOptions<std::type_identity_t<T>>& options = {});
/// max(0, 1 - target prediction) for targets of -1 and 1 [0 where that product is 1 or more].
template <class T>
Var<T> hinge_loss(Var<T> prediction, Var<T> target, const LossOptions<std::type_identity_t<T>>& options = {});

template <class T> struct PoissonOptions {
  LossReduction reduction = LossReduction::mean;
  /// Whether predictions are logarithms of the rate.
  bool log_input = true;
  /// Added to a rate whose logarithm is taken.
  double eps = 1e-8;
};
/// The negative log-likelihood of a count, without its term log(target!): exp(prediction) - target
/// prediction, or for a prediction of the rate itself, prediction - target log(prediction + eps). Throws
/// Error for an eps that is not positive.
template <class T>
Var<T> poisson_nll_loss(Var<T> prediction, Var<T> target,
                        const PoissonOptions<std::type_identity_t<T>>& options = {});

template <class T> struct BceOptions {
  LossReduction reduction = LossReduction::mean;
  /// A factor for each entry, as in LossOptions, but the mean is that of weight loss.
  std::optional<Var<T>> weight = {};
  /// What positive examples count: a factor of the term of target, one or one for each column.
  std::optional<Var<T>> pos_weight = {};
};
/// log(1 + exp(logit)) - target logit: the cross entropy of sigmoid(logit) with probabilities `target`. Of an
/// infinite logit it is 0 where the target agrees, and infinite elsewhere (without pos_weight).
template <class T>
Var<T> bce_with_logits_loss(Var<T> logits, Var<T> target,
                            const BceOptions<std::type_identity_t<T>>& options = {});

template <class T> struct CrossEntropyOptions {
  LossReduction reduction = LossReduction::mean;
  /// A factor for each class. The mean is sum(weight[label] loss) / sum(weight[label]).
  std::optional<Var<T>> weight = {};
  /// A factor for each row, which counts in both sums of that mean.
  std::optional<Var<T>> sample_weight = {};
  /// A row whose label this is counts for nothing; its loss is 0.
  Index ignore_index = -100;
  /// The part of the target that is spread evenly over all classes (Szegedy et al., 2016, section 7).
  double label_smoothing = 0;
};
/// -log softmax(row)[label] for the rows of logits (n x classes); `labels` are n whole numbers in [0,
/// classes). Throws Error for others, and for the mean of rows that are all ignored, in a replay too.
template <class T>
Var<T> cross_entropy_loss(Var<T> logits, Var<T> labels,
                          const CrossEntropyOptions<std::type_identity_t<T>>& options = {});

/// Sets entries to zero with this probability and divides the others by 1 - probability (Srivastava et al.,
/// 2014, in the "inverted" form). The pattern is drawn anew in each replay, from the seed of the tape.
template <class T> Var<T> dropout(Var<T> x, double probability);

// The usual signs. A plain number stands for a scalar.

template <class T> Var<T> operator-(Var<T> x) {
  return neg(x);
}
#define TAPER_OPERATOR(sign, name)                                               \
  template <class T> Var<T> operator sign(Var<T> a, Var<T> b) {                  \
    return name(a, b);                                                           \
  }                                                                              \
  template <class T> Var<T> operator sign(Var<T> a, std::type_identity_t<T> b) { \
    return name(a, a.tape().constant(b));                                        \
  }                                                                              \
  template <class T> Var<T> operator sign(std::type_identity_t<T> a, Var<T> b) { \
    return name(b.tape().constant(a), b);                                        \
  }
TAPER_OPERATOR(+, add)
TAPER_OPERATOR(-, sub)
TAPER_OPERATOR(*, mul)
TAPER_OPERATOR(/, div)
#undef TAPER_OPERATOR

}  // namespace taper
