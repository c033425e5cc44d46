#pragma once

#include <taper/nn/module.hpp>

/// Poolings as modules: each applies the operation of its name.
namespace taper::nn {

#define TAPER_POOLING(Name, operation, Kernel, Options)                                               \
  template <class T = float> class Name : public Layer<T> {                                           \
   public:                                                                                            \
    explicit Name(Kernel kernel, const Options& options = {}) : kernel_(kernel), options_(options) {} \
    template <class U>                                                                                \
    requires(!std::same_as<T, U>) explicit Name(const Name<U>& other)                                 \
        : Name(other.kernel(), other.options()) {}                                                    \
    Kernel kernel() const { return kernel_; }                                                         \
    const Options& options() const { return options_; }                                               \
    Var<T> forward(Var<T> x) const override { return operation(x, kernel_, options_); }               \
    std::string describe() const override { return #Name; }                                           \
                                                                                                      \
   private:                                                                                           \
    Kernel kernel_;                                                                                   \
    Options options_;                                                                                 \
  };
TAPER_POOLING(MaxPool1d, max_pool1d, Index, MaxPool1dOptions)
TAPER_POOLING(MaxPool2d, max_pool2d, Both, MaxPool2dOptions)
TAPER_POOLING(AvgPool1d, avg_pool1d, Index, AvgPool1dOptions)
TAPER_POOLING(AvgPool2d, avg_pool2d, Both, AvgPool2dOptions)
#undef TAPER_POOLING

#define TAPER_POOLING(Name, operation, Output)                                                  \
  template <class T = float> class Name : public Layer<T> {                                     \
   public:                                                                                      \
    explicit Name(Output output) : output_(output) {}                                           \
    template <class U>                                                                          \
    requires(!std::same_as<T, U>) explicit Name(const Name<U>& other) : Name(other.output()) {} \
    Output output() const { return output_; }                                                   \
    Var<T> forward(Var<T> x) const override { return operation(x, output_); }                   \
    std::string describe() const override { return #Name; }                                     \
                                                                                                \
   private:                                                                                     \
    Output output_;                                                                             \
  };
TAPER_POOLING(AdaptiveAvgPool1d, adaptive_avg_pool1d, Index)
TAPER_POOLING(AdaptiveAvgPool2d, adaptive_avg_pool2d, Both)
#undef TAPER_POOLING

/// The average of each channel: batch x channels, of batch x channels x length or x rows x columns.
template <class T = float> class GlobalAvgPool : public Layer<T> {
 public:
  GlobalAvgPool() = default;
  template <class U> explicit GlobalAvgPool(const GlobalAvgPool<U>&) {}
  Var<T> forward(Var<T> x) const override {
    const Var<T> y = x.shape().rank() == 3 ? adaptive_avg_pool1d(x, 1) : adaptive_avg_pool2d(x, 1);
    return reshape(y, {y.shape()[0], y.shape()[1]});
  }
  std::string describe() const override { return "GlobalAvgPool"; }
};

}  // namespace taper::nn
