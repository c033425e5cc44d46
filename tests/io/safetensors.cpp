#include <taper/io/load.hpp>
#include <taper/io/save.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <fstream>
#include <limits>

#include <taper/data/file.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/optim/adam.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/pruning.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"
#include "../data/files.hpp"

using namespace taper;
namespace fs = std::filesystem;

namespace {

/// An empty folder, removed with all that is in it.
class TempFolder {
 public:
  TempFolder() : file_("") {
    fs::remove(file_.path());
    fs::create_directory(file_.path());
  }
  ~TempFolder() {
    std::error_code ignored;
    fs::remove_all(file_.path(), ignored);
  }
  fs::path operator/(const char* name) const { return file_.path() / name; }
  std::ptrdiff_t count() const { return std::distance(fs::directory_iterator(file_.path()), {}); }

 private:
  TempFile file_;
};

/// All values, as bits, and all masks.
template <class T> std::string state(nn::Module<T>& model) {
  std::string bytes;
  model.for_parameters([&](const std::string& name, nn::Parameter<T>& parameter) {
    parameter.for_leaves(name, [&](const std::string& path, nn::Parameter<T>& leaf) {
      const View<T> value = leaf.value();
      bytes += path;
      bytes.append(reinterpret_cast<const char*>(value.data()),
                   static_cast<std::size_t>(value.size()) * sizeof(T));
      for (Index i = 0; i < value.size(); ++i) bytes += leaf.mask().is_free(i) ? 'f' : 'h';
    });
  });
  return bytes;
}

template <class T> nn::Sequential<T> network() {
  return nn::Sequential<T>(nn::Linear<T>(3, 4), nn::Tanh<T>(), nn::Linear<T>(4, 2, false));
}

std::string read(const fs::path& path) {
  return data::read_bytes(path, "test");
}

/// A file with this header, its length in front of it, and these bytes behind it.
std::string archive(const std::string& header, const std::string& data) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(std::uint64_t{header.size()} >> (8 * i));
  return bytes + header + data;
}

nn::Linear<float> tiny() {
  nn::Linear<float> model(2, 1);
  model.weight.value().vector() << 1, -2;
  model.bias->value()[0] = 0.5f;
  model.weight.freeze(Mask::frozen({1, 2}, {1}));
  return model;
}

/// The file of tiny(): 220 bytes of text and four spaces, which make 224.
const std::string tiny_bytes = std::string("\xe0\0\0\0\0\0\0\0", 8) +
                               R"({"__metadata__":{"format":"taper"},)"
                               R"("weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
                               R"("bias":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},)"
                               R"("weight.mask":{"dtype":"BOOL","shape":[1,2],"data_offsets":[12,14]}}    )" +
                               std::string("\0\0\x80\x3f\0\0\0\xc0\0\0\0\x3f\1\0", 14);

}  // namespace

TEST_CASE("save: the bytes of a small file") {
  const TempFolder folder;
  auto model = tiny();
  io::save(model, folder / "tiny");
  CHECK(read(folder / "tiny") == tiny_bytes);
  CHECK(folder.count() == 1);

  nn::Linear<float> other(2, 1);
  other.bias->freeze();
  io::load(other, TempFile(tiny_bytes).path());
  CHECK(state(other) == state(model));
  CHECK(other.bias->mask().all_free());
}

TEST_CASE_TEMPLATE("save and load: every bit comes back, and masks as they were", T, float, double) {
  const TempFolder folder;
  for (const Index factors : {1, 2, 3}) {
    CAPTURE(factors);
    auto model = network<T>(), other = network<T>();
    auto& first = static_cast<nn::Linear<T>&>(model[0]);
    first.bias->freeze(Mask::frozen({4}, {2}));
    if (factors > 1) {
      sparsity::factorize(model, sparsity::Groups::inputs, {.depth = factors});
      sparsity::factorize(other, sparsity::Groups::inputs, {.depth = factors});
    }
    sparsity::prune_by_magnitude(model, 0.5);
    static_cast<nn::Linear<T>&>(other[0]).bias->freeze(Mask::frozen({4}, {0, 1}));
    // Every kind of number, a NaN with a payload and a signalling one among them.
    std::uint64_t payload = sizeof(T) == 4 ? 0x7fa12345 : 0x7ff0123456789abc;
    std::memcpy(first.bias->value().data(), &payload, sizeof(T));
    payload |= sizeof(T) == 4 ? 0xffc00001 : 0xfff8000000000001;
    std::memcpy(first.bias->value().data() + 1, &payload, sizeof(T));
    first.bias->value()[2] = -T{0};
    first.bias->value()[3] = std::numeric_limits<T>::denorm_min();

    io::save(model, folder / "model");
    CHECK(state(other) != state(model));
    const auto parameters = other.parameters();
    const auto masks = parameters.block()->mask_version;
    io::load(other, folder / "model");
    CHECK(state(other) == state(model));
    CHECK(other.parameters().block() == parameters.block());
    CHECK(parameters.block()->version == 0);
    CHECK(parameters.block()->mask_version > masks);
    const auto same_masks = parameters.block()->mask_version;
    io::load(other, folder / "model");  // again: no mask has changed
    CHECK(parameters.block()->mask_version == same_masks);
    io::save(other, folder / "again");
    CHECK(read(folder / "again") == read(folder / "model"));
  }
}

TEST_CASE("load: an optimizer goes on with the loaded numbers and masks") {
  const TempFolder folder;
  nn::Linear<double> model(3, 1, false), saved(3, 1, false);
  saved.weight.prune(Mask::frozen({1, 3}, {1}));
  io::save(saved, folder / "model");
  optim::Adam<double> adam(model.parameters(), {.lr = 0.1});
  Tape<double> tape;
  const Var<double> loss = sum(square(model(tape.constant(Tensor<double>({1, 3}, {1, 2, 3})))));
  tape.backward(loss);
  adam.step();
  io::load(model, folder / "model");
  tape.replay();
  tape.backward(loss);
  adam.step();
  CHECK(model.weight.value()[1] == 0);
  CHECK(model.weight.value()[0] != saved.weight.value()[0]);
}

TEST_CASE("save and load: no parameters, no entries, scalars, names that need escapes") {
  struct Odd : nn::Layer<double> {
    nn::Parameter<double> empty, scalar, high;
    std::string name = "\"quoted\\ \xc3\xa9\n";
    Odd() : empty(Shape{0, 3}), scalar(Shape{}), high(Shape{1, 2, 1, 2}) {}
    Var<double> forward(Var<double> x) const override { return x; }
    void visit(nn::Visitor<double>& m) const override {
      m("empty", empty), m("scalar", scalar), m(name, high), m("again", scalar);
    }
  };
  const TempFolder folder;
  Odd model, other;
  model.scalar.value()[0] = 3;
  model.scalar.freeze();
  model.high.value()[3] = 4;
  model.empty.freeze();
  io::save(model, folder / "odd");
  io::load(other, folder / "odd");
  CHECK(state(other) == state(model));
  model.name = "\xff";
  CHECK_ERROR(io::save(model, folder / "odd"), "[save]", "not UTF-8");
  model.name = "scalar.mask";
  CHECK_ERROR(io::save(model, folder / "odd"), "[save]", "\"scalar.mask\"", "another name");
  model.scalar.thaw();
  io::save(model, folder / "odd");  // no mask has the name now
  other.name = "scalar.mask";
  io::load(other, folder / "odd");
  CHECK(state(other) == state(model));
  model.name = "__metadata__";
  CHECK_ERROR(io::save(model, folder / "odd"), "[save]", "\"__metadata__\"");

  nn::Sequential<double> nothing;
  io::save(nothing, folder / "nothing");
  io::load(nothing, folder / "nothing");
  CHECK_ERROR(io::load(nothing, folder / "odd"), "[load]", "has \"empty\" (0x3), \"scalar\" (scalar)",
              "and no other");
}

TEST_CASE("load: files for other models") {
  const TempFolder folder;
  auto model = network<float>();
  io::save(model, folder / "model");
  const auto refuses = [&](auto other, auto... words) {
    other.freeze("*bias");
    const std::string before = state(other);
    CHECK_ERROR(io::load(other, folder / "model"), "[load]", "model", words...);
    CHECK(state(other) == before);
  };
  refuses(nn::Sequential<float>(nn::Linear<float>(3, 4), nn::Tanh<float>(), nn::Linear<float>(4, 2)),
          "lacks \"2.bias\" (2): expected");
  refuses(nn::Sequential<float>(nn::Linear<float>(3, 4)), "has \"2.weight\"");
  refuses(
      nn::Sequential<float>(nn::Linear<float>(3, 4), nn::Linear<float>(4, 2, false)),
      "lacks \"1.weight\" (2x4) and has \"2.weight\" (2x4): expected the tensors of the model and no other");
  refuses(nn::Sequential<float>(nn::Linear<float>(3, 4), nn::Tanh<float>(), nn::Linear<float>(2, 4, false)),
          "has \"2.weight\" of shape 2x4 instead of 4x2: expected the shapes of the model");
  refuses(network<double>(), "\"0.weight\" of dtype \"F32\"", "expected \"F64\"");
  auto factorized = network<float>();
  sparsity::factorize(factorized, sparsity::Groups::elements, "0.weight");
  static_cast<nn::Linear<float>&>(factorized[2]).weight = nn::Parameter<float>({5, 4});
  refuses(factorized, "has \"2.weight\" of shape 2x4 instead of 5x4");

  // A mask for something that is no parameter is surplus too.
  std::string bytes = tiny_bytes;
  bytes.replace(bytes.find("weight.mask"), 11, "height.mask");
  auto small = tiny();
  CHECK_ERROR(io::load(small, TempFile(bytes).path()), "[load]", "has \"height.mask\"");
}

TEST_CASE("load: damaged files, with the model unchanged") {
  auto model = tiny();
  const std::string before = state(model);
  const auto refuses = [&](const std::string& bytes, auto... words) {
    CAPTURE(bytes);
    CHECK_ERROR(io::load(model, TempFile(bytes).path()), "[load]", words...);
    CHECK(state(model) == before);
  };
  const auto changed = [](const std::string& from, const std::string& to) {
    std::string header = tiny_bytes.substr(8, 224);
    header.replace(header.find(from), from.size(), to);
    return archive(header, tiny_bytes.substr(232));
  };
  refuses("", "has 0 bytes");
  refuses("1234567", "has 7 bytes");
  refuses(std::string(8, '\xff'), "expected a header of 18446744073709551615");
  refuses(archive("", "").replace(0, 1, "\x01"), "expected a header of 1 ");
  refuses(archive("", ""), "no JSON");
  refuses(archive("{\"a\":", ""), "no JSON");
  refuses(archive("{}{}", ""), "no JSON");
  refuses(archive("{\"\xff\":1}", ""), "no JSON");
  refuses(archive("{\"a\":1e999}", ""), "no valid JSON");
  refuses(archive("[1]", ""), "no JSON object");
  refuses(archive(std::string(1'000'000, '['), ""), "no JSON object");
  refuses(archive("{\"a\":1}", ""), "\"a\" without a valid shape");
  refuses(archive("{}", ""), "lacks \"weight\" (1x2), \"bias\" (1)");
  refuses(archive("{}", "1"), "has 1 bytes behind the header");
  refuses(changed("\"taper\"", "7"), "__metadata__");
  refuses(changed("\"shape\":[1]", "\"shape\":[-1]"), "\"bias\" without a valid shape");
  refuses(changed("\"shape\":[1]", "\"shape\":[1.5]"), "\"bias\" without a valid shape");
  refuses(changed("\"shape\":[1]", "\"shape\":[]"), "\"bias\" of shape scalar instead of 1");
  refuses(changed("\"shape\":[1]", "\"shape\":[1,1,1,1,1]"), "\"bias\" of shape 1x1x1x1x1");
  refuses(changed("[8,12]", "[8]"), "\"bias\" with 1 data_offsets");
  refuses(changed("[8,12]", "[8,12,12]"), "\"bias\" with 3 data_offsets");
  refuses(changed("[8,12]", "[12,8]"), "\"bias\" in bytes 12 to 8");
  refuses(changed("[8,12]", "[8,4000000000]"), "\"bias\" in bytes 8 to 4000000000", "the 14 behind");
  refuses(changed("[8,12]", "[4,12]"), "\"bias\" from byte 4", "expected 8");
  refuses(changed("[8,12]", "[9,12]"), "\"bias\" from byte 9", "expected 8");
  refuses(tiny_bytes + "more", "has 18 bytes behind the header", "expected the 14");
  refuses(changed("[0,8]", "[0,4]"), "from byte 8", "expected 4");
  refuses(changed("\"dtype\":\"F32\",", ""), "\"weight\" without a dtype");
  refuses(changed("\"F32\"", "\"F16\""), "\"weight\" of dtype \"F16\"");
  refuses(changed("\"F32\"", "3"), "\"weight\" without a dtype");
  refuses(changed("\"BOOL\"", "\"U8\""), "\"weight.mask\" of dtype \"U8\"");
  refuses(changed("\"shape\":[1]", "\"shape\":[1],\"shape\":[1]"), "\"shape\" twice");
  refuses(changed("\"weight\"", "\"bias\""), "\"bias\" twice");
  // Two that change places by one entry each.
  std::string header = tiny_bytes.substr(8, 224);
  header.replace(header.find("[0,8]"), 5, "[0,4]").replace(header.find("[8,12]"), 6, "[4,12]");
  refuses(archive(header, tiny_bytes.substr(232)), "has 4 bytes of \"weight\"", "expected 8 for F32");
  std::string bytes = tiny_bytes;
  bytes.back() = 2;
  refuses(bytes, "a byte 2 in \"weight.mask\"", "0 or 1");

  // A header of 35615 bytes begins like gzip.
  header = tiny_bytes.substr(8, 224) + std::string(0x8b1f - 224, ' ');
  auto other = tiny();
  other.thaw();
  io::load(other, TempFile(archive(header, tiny_bytes.substr(232))).path());
  CHECK(state(other) == before);
}

TEST_CASE("load: truncations and random damage are errors or harmless") {
  auto model = tiny();
  const auto survives = [&](const std::string& bytes) {
    auto other = tiny();
    other.weight.value()[0] = 8;
    other.thaw();
    const std::string before = state(other);
    try {
      io::load(other, TempFile(bytes).path());
      return true;
    } catch (const Error&) {
      CHECK(state(other) == before);
      return false;
    }
  };
  for (std::size_t size = 0; size < tiny_bytes.size(); ++size) CHECK(!survives(tiny_bytes.substr(0, size)));
  CHECK(survives(tiny_bytes));
  Rng rng(9);
  int loaded = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    std::string bytes = tiny_bytes;
    for (Index flips = 1 + rng.below(3); flips > 0; --flips) {
      char& byte = bytes.data()[rng.below(std::ssize(bytes))];
      byte = static_cast<char>(byte ^ static_cast<char>(1 + rng.below(255)));
    }
    loaded += survives(bytes);
  }
  CHECK(loaded > 0);
  CHECK(loaded < 1000);
}

TEST_CASE("save and load: paths that lead elsewhere") {
  const TempFolder folder;
  auto model = tiny();
  CHECK_ERROR(io::load(model, folder / "none"), "[load]", "none: no such file");
  CHECK_ERROR(io::load(model, folder / ""), "[load]", "is a directory");
  CHECK_ERROR(io::save(model, folder / ""), "[save]", "is a directory");
  CHECK_ERROR(io::save(model, folder / "none/model"), "[save]", "none/model cannot be written",
              "No such file");
  CHECK_ERROR(io::save(model, ""), "[save]", "cannot be written");
  const fs::path pipe = folder / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK_ERROR(io::save(model, pipe), "[save]", "pipe or socket");
  CHECK_ERROR(io::load(model, pipe), "[load]", "pipe or socket");
  CHECK(fs::is_fifo(pipe));

  // A link stays one, and so do the permissions of the file behind it.
  io::save(model, folder / "model");
  fs::permissions(folder / "model", fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink(folder / "model", folder / "link");
  model.bias->value()[0] = 7;
  io::save(model, folder / "link");
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(fs::status(folder / "model").permissions() == (fs::perms::owner_read | fs::perms::owner_write));
  auto other = tiny();
  io::load(other, folder / "model");
  CHECK(other.bias->value()[0] == 7);
  CHECK(folder.count() == 3);

  // So does one that leads nowhere yet, and one that leads to it, from another folder.
  fs::create_directory(folder / "sub");
  fs::create_symlink("sub/new", folder / "dangling");
  fs::create_symlink("../dangling", folder / "sub/far");
  io::save(model, folder / "sub/far");
  CHECK(fs::is_symlink(folder / "sub/far"));
  CHECK(fs::is_symlink(folder / "dangling"));
  CHECK(fs::is_regular_file(fs::symlink_status(folder / "sub/new")));
  io::load(other, folder / "dangling");
  fs::create_symlink("circle", folder / "circle");
  CHECK_ERROR(io::save(model, folder / "circle"), "[save]", "cannot be written");
  fs::create_symlink("none/model", folder / "astray");
  CHECK_ERROR(io::save(model, folder / "astray"), "[save]", "cannot be written: No such file");
}

TEST_CASE("save: what a killed program left behind is removed, and what another one writes is not") {
  const TempFolder folder;
  auto model = tiny();
  std::ofstream(folder / "model.saving-123-0") << "stale";
  std::ofstream(folder / "model.saving-notes") << "not ours";
  std::ofstream(folder / "model2.saving-1-0") << "of another file";
  const int locked = ::open((folder / "model.saving-124-0").c_str(), O_CREAT | O_WRONLY, 0600);
  REQUIRE(flock(locked, LOCK_EX) == 0);
  io::save(model, folder / "model");
  CHECK_FALSE(fs::exists(folder / "model.saving-123-0"));
  CHECK(fs::exists(folder / "model.saving-124-0"));
  CHECK(folder.count() == 4);
  ::close(locked);
  io::save(model, folder / "model");
  CHECK_FALSE(fs::exists(folder / "model.saving-124-0"));
  CHECK(folder.count() == 3);
}

TEST_CASE(
    "save: killed at any moment, it leaves the old file or the new one, and nothing after the next save") {
  const TempFolder folder;
  nn::Linear<float> model(1000, 300);
  io::save(model, folder / "model");
  int left = 0;
  for (int kill_number = 0; kill_number < 30; ++kill_number) {
    const pid_t child = fork();
    if (child == 0) {
      while (true) io::save(model, folder / "model");
    }
    usleep(static_cast<useconds_t>(3000 + 617 * kill_number));
    kill(child, SIGKILL);
    REQUIRE(waitpid(child, nullptr, 0) == child);
    left += folder.count() > 1;
    nn::Linear<float> loaded(1000, 300);
    io::load(loaded, folder / "model");
    const View<float> value = loaded.weight.value();
    CHECK(std::ranges::equal(value, model.weight.value()));
  }
  MESSAGE(left, " of 30 kills left a file behind");
  io::save(model, folder / "model");
  CHECK(folder.count() == 1);
}

TEST_CASE("save: a full disk leaves the old file") {
  const TempFolder folder;
  auto model = tiny();
  io::save(model, folder / "model");
  // A limit on the size of files stands for the disk.
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{100, limit.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  model.bias->value()[0] = 7;
  const std::string text = error_text([&] { io::save(model, folder / "model"); });
  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, handler);
  CHECK(text.find("model cannot be written: File too large") != std::string::npos);
  CHECK(read(folder / "model") == tiny_bytes);
  CHECK(folder.count() == 1);
}
