// A training step of one layer of self-attention (forward, squared error, backward, Adam), on one thread and
// on two. Against PyTorch: attention.py, which has the same layers and runs this program with --serve.

#include <memory>
#include <optional>
#include <taper/taper.hpp>

#include "limits.hpp"
#include "numbers.hpp"
#include "ratios.hpp"

using namespace taper;
using bench::Contender, bench::Role, bench::Table;

namespace {

struct Sizes {
  Index rows, length, embed, heads;
  bool causal;

  std::string name() const {
    return std::to_string(rows) + " x " + std::to_string(length) + " x " + std::to_string(embed) + " " +
           std::to_string(heads) + " heads" + (causal ? " causal" : "");
  }
  /// Multiply-adds of the products, forward and backward; those that a causal mask leaves out count, too.
  double products() const {
    const double positions = static_cast<double>(rows * length), width = static_cast<double>(embed);
    // The gradient of the input is made, so every product has two more of its size.
    return 3 * (4 * positions * width * width + 2 * positions * static_cast<double>(length) * width);
  }
};

// As in attention.py.
const std::vector<Sizes> sizes{{32, 64, 64, 4, false},  {32, 64, 64, 4, true},  {8, 128, 512, 8, false},
                               {2, 1024, 64, 4, false}, {2, 1024, 64, 4, true}, {64, 16, 32, 8, false}};

struct AttentionTraining {
  nn::MultiheadAttention<float> layer;
  Tape<float> tape{Mode::training};
  std::optional<optim::Adam<float>> adam;
  Var<float> loss;

  explicit AttentionTraining(const Sizes& of) : layer(of.embed, of.heads, {.causal = of.causal}) {
    const nn::Parameters<float> parameters = layer.parameters();
    Index k = 2;
    for (const auto& entry : parameters.entries()) {
      bench::fill(parameters.value(entry), k++,
                  static_cast<float>(1 / std::sqrt(static_cast<double>(of.embed))));
    }
    adam.emplace(layer.parameters(), optim::AdamOptions{.lr = 1e-3});
    Tensor<float> x({of.rows, of.length, of.embed}), y(x.shape());
    bench::fill(x, 0, 1);
    bench::fill(y, 1, 1);
    tape.keep_gradients(false);  // as fit() does
    loss = nn::mse_loss(layer(tape.variable(x)), tape.constant(y));
  }
};

Contender attention_step(const Sizes& of, int threads) {
  const auto training = std::make_shared<AttentionTraining>(of);
  return {"layer", Role::subject,
          [=] {
            set_threads(threads);
            training->tape.value_and_gradient(training->loss);
            training->adam->step();
          },
          1, [=] { return static_cast<double>(training->loss.item()); }};
}

}  // namespace

int main(int argc, char** argv) {
  Table steps{"attention",
              "A training step of self-attention",
              "rows x length x embed heads, threads",
              bench::microseconds("step"),
              {}};
  for (const Sizes& of : sizes) {
    for (const int threads : {1, 2}) {
      steps.cases.push_back({of.name() + ", " + std::to_string(threads), 1, [=] {
                               return std::vector<Contender>{
                                   attention_step(of, threads),
                                   {"products at FMA peak", Role::limit,
                                    [=] { bench::multiply_add<float>(threads); },
                                    bench::multiply_add<float>(threads) / (2 * of.products())}};
                             }});
    }
  }
  return bench::main(argc, argv, {steps});
}
