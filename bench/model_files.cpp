// How fast a model of 1 GB is read from a file that is in the system's cache.

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>

#include <taper/io/load.hpp>
#include <taper/io/model.hpp>
#include <taper/io/save.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>

#include "ratios.hpp"

using namespace taper;
using bench::Contender, bench::Role;

namespace {

using Net = nn::Sequential<float>;

/// A network and the files it is saved in, which are gone in the end.
struct Files {
  std::filesystem::path folder;
  Net net{nn::Linear(8192, 8192), nn::ReLU(), nn::Linear(8192, 8192), nn::ReLU(),
          nn::Linear(8192, 8192), nn::ReLU(), nn::Linear(8192, 8192)};

  Files() {
    std::string name = (std::filesystem::temp_directory_path() / "taper-bench-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw Error("bench", "no temporary folder");
    folder = name;
    io::save(net, path("elements"));
    io::save_model(net, {{1, 8192}}, path("model"));
  }
  ~Files() { std::filesystem::remove_all(folder); }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  std::string path(const char* name) const { return (folder / name).string(); }
};

std::vector<Contender> contenders() {
  const auto files = std::make_shared<Files>();
  const auto copy = std::make_shared<std::vector<char>>(std::filesystem::file_size(files->path("elements")));
  return {
      {"io::load", Role::subject, [files] { io::load(files->net, files->path("elements")); }},
      {"the same, architectures compared", Role::other,
       [files] { io::load(files->net, files->path("model")); }},
      {"io::load_model", Role::other, [files] { io::load_model<float>(files->path("model")); }},
      {"read into memory", Role::limit,
       [files, copy] {
         std::ifstream(files->path("elements"), std::ios::binary)
             .read(copy->data(), static_cast<std::streamsize>(copy->size()));
       }},
  };
}

}  // namespace

int main(int argc, char** argv) {
  const double bytes = 4.0 * (8192 + 1) * 8192 * sizeof(float);
  return bench::main(argc, argv,
                     {{"model_files",
                       "Reading a model of 1.07 GB",
                       "what",
                       bench::gigabytes(),
                       {{"float", bytes, contenders}}}});
}
