#pragma once

#include <string>
#include <taper/data/dataset.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <vector>

#include "common.hpp"

/// The job of sparse_lenet: images of digits, and the two networks of LeCun et al., "Gradient-based learning
/// applied to document recognition", 1998, in the sizes that papers on sparsity have.
namespace taper::apps {

/// Images and labels, as the network takes them: n x 784 for lenet300, n x 1 x 28 x 28 for lenet5.
struct Images {
  std::string source;  ///< the name of the folder, or "embedded"
  data::Dataset<float> train, validation, test;
};

/// The four files of MNIST, or others in their form, from the folder of the options or its folder "mnist", or
/// the embedded set. Of each file the first `limit` images are taken (0: all), and then `validation` rows of
/// the training set, but at most a fifth, chosen by the seed, are set apart. Throws Error for missing files,
/// images of another size and labels that are no digits.
Images load_images(const CommonOptions& options, bool flat, Index limit, Index validation);

/// "lenet300": 784-300-100-10; "lenet5": two convolutions of 5 x 5 with 20 and 50 filters, each with
/// rectifier and max pooling of 2 x 2, then 800-500-10.
nn::Sequential<float> lenet(const std::string& model);

/// Its "widths" (filters of convolutions, inputs of matrices, and the outputs), "parameters" and
/// "multiply_adds" of one image: one for each product of a weight with an activation, biases not counted.
Json size_of(const nn::Sequential<float>& net, const data::Dataset<float>& images);

/// Sets filters of a network that is factorized by filters to zero, until it has at most so many
/// multiply-adds for an image: first those whose penalty is the least for what they cost, with what their
/// readers then save, and never the last one of a layer. Where the penalty is in balance with the loss, the
/// penalty of a group is what the loss would rise by, to the first order and up to a factor of all, if the
/// group went. (Larger penalties for dear layers do not do it: behind a rectifier a layer can be small and
/// the next one large in its place, so that at the optimum the penalties of all layers are the same.) Returns
/// false where one filter in each layer is too many; some have then been set to zero.
bool cut_filters(nn::Sequential<float>& net, const data::Dataset<float>& images, Index multiply_adds);

/// The share of the images, in percent, whose largest output is not that of the label.
double error_rate(const nn::Sequential<float>& net, const data::Dataset<float>& images);

/// A network of the same layers and sizes with new weights from the default generator: uniform in +- 1 /
/// sqrt(fan-in), as layers start.
nn::Sequential<float> with_new_weights(const nn::Sequential<float>& net);

/// What the first layer looks at: of convolutions the filters, 5 x 5 each; of a matrix one image of 28 x 28
/// with the norms of the weights that read each pixel, zero for pixels that are not read.
std::vector<std::vector<double>> first_layer(const nn::Sequential<float>& net);

}  // namespace taper::apps
