// parity: what the official code computed (a fixture file) against what Tessera computes. A recipe brings its
// cases in recipes/<recipe>/fixture.cpp; they are dispatched on the file's own `__metadata__.config`, never
// on its name. Limits are those of the fixtures' README: "how tight to compare".
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "autograd/param.h"
#include "engine/safetensors.h"

namespace tessera {

struct VitConfig;

// An option that this build does not know: parity leaves with 2.
class UnknownOption : public Error {
 public:
  explicit UnknownOption(const std::string& what) : Error(ErrorKind::config, what) {}
};

// The JSON of __metadata__.config. Reading a key marks it; a key that no case reads is an option we do not
// know.
class Options {
 public:
  // Throws Error(checkpoint) when `text` is not a JSON object.
  explicit Options(const std::string& text);
  ~Options();
  Options(Options&&) noexcept;

  bool has(const std::string& key) const;
  bool is_null(const std::string& key) const;  // absent or null; marks it
  bool is_text(const std::string& key) const;
  // Each throws UnknownOption when the key is absent or of another type.
  int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;
  bool flag(const std::string& key) const;
  std::string text(const std::string& key) const;
  std::vector<double> numbers(const std::string& key) const;              // a list of numbers, or one number
  std::vector<std::vector<double>> tuples(const std::string& key) const;  // a list of lists of numbers
  std::vector<std::string> texts(const std::string& key) const;
  Options object(const std::string& key) const;  // marks the whole
  std::vector<Options> objects(const std::string& key) const;
  std::vector<std::string> keys() const;
  // Throws UnknownOption unless the value equals the one we implement. A missing key is accepted.
  void require(const std::string& key, double value) const;
  void require(const std::string& key, const std::string& value) const;
  void ignore(const std::vector<std::string>& keys) const;
  // Throws UnknownOption naming a key that nobody has read; `path` stands before it ("optimizer.").
  void require_all_read(const std::string& path = "") const;

 private:
  struct Impl;
  explicit Options(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct ParityRow {
  std::string key;
  double error = 0, limit = 0;
  std::string note;
  bool ok() const { return error <= limit; }  // false for NaN
};

class ParityFile {
 public:
  ParityFile(SafeTensors content, Precision precision);

  const Options& config() const { return config_; }
  Precision precision() const { return precision_; }
  bool has(const std::string& key) const { return content_.find(key) != nullptr; }
  // The tensor `key`, marked as read. Throws Error(checkpoint) when it is absent.
  Tensor read(const std::string& key);
  // Rest of the names that start with `prefix`, in file order: names("param.").
  std::vector<std::string> names(const std::string& prefix) const;

  // Each compares with the tensor `key` and marks it (and its tol.) as read.
  void tensor(const std::string& key, const Tensor& got);  // 10 tol + 1e-6 max|ref|
  void within(const std::string& key, const Tensor& got, double absolute, double relative_to_max,
              double per_element = 0);
  void exact(const std::string& key, const Tensor& got);  // integers, bytes: every element
  void losses(const std::string& key, const std::vector<double>& got,
              double relative = 2e-5);  // 50 tol + relative |ref|
  void final_value(const std::string& key, const Tensor& got,
                   double share = 0.98);  // 50 tol + 1e-4 max|ref| for that share
  // grad.<name>; elements [zero_begin, zero_end) are zero in exact arithmetic: 1e-6 of the file's largest
  // gradient. Under bf16: cosine of the rest at least 0.999.
  void gradient(const std::string& name, const Tensor& got, int64_t zero_begin = 0, int64_t zero_end = 0);
  // out.loss: like tensor(); under bf16 1e-2 relative.
  void loss(const std::string& key, double got);
  // A key that this precision does not compare, said aloud.
  void not_compared(const std::string& key, const std::string& why);

  const std::vector<ParityRow>& rows() const { return rows_; }
  std::vector<std::string> unread() const;

 private:
  double tolerance(const std::string& key);
  double largest_gradient();
  bool right_shape(const std::string& key, const Tensor& want, const Tensor& got);

  SafeTensors content_;
  Options config_;
  Precision precision_;
  std::set<std::string> read_;
  std::vector<ParityRow> rows_;
  double largest_gradient_ = -1;
};

// The sizes of a plain ViT: img_size, patch_size (a number, or [H, W]), in_chans, embed_dim, depth,
// num_heads, mlp_ratio, ln_eps, batch; they must agree with `images` [B, C, H, W].
VitConfig read_vit(const Options& o, const Shape& images);
// Fills a store from param.<name>: every parameter must be there in its shape, and no other. Ends with
// changed().
void load_parameters(ParamStore& store, ParityFile& file);
// Compares grad.<name> of every trained parameter. The middle third of a *.qkv.bias is the key part.
void compare_gradients(ParamStore& store, ParityFile& file);
// The file's optimiser for its number of steps: out.grad_norm, after.loss and final.<name>. `loss` computes
// the loss and the gradients of the present parameters; the gradients of the first step are already there.
// Knows AdamW with decay by dimension, with layer-wise groups, and a clip norm.
void train_and_compare(ParamStore& store, ParityFile& file, const std::function<double()>& loss);

// One kind of fixture.
struct ParityCase {
  const char* name;
  bool (*serves)(const Options& config);
  void (*run)(ParityFile& file);
};
std::vector<ParityCase>& parity_cases();
struct RegisterParity {
  explicit RegisterParity(ParityCase c) { parity_cases().push_back(c); }
};

// Runs the case that serves the file. Throws UnknownOption when none does, or when an option was left unread.
ParityFile run_parity(const std::string& path, Precision precision);
// Prints one line per key and a summary; 0, or 1 if a limit is exceeded or a key was left unread.
int report_parity(const ParityFile& file, bool verbose);

}  // namespace tessera
