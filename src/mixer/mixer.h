// A mixer turns the rows it asked of a layer's input projection into an output of its own width. A layer projects its
// normalised input once, hands every mixer its slice, fuses their outputs and projects back (mixer/sublayer.h): one
// mixer alone is a plain Mamba, attention or FFN layer, several are a hybrid-head layer (Hymba, arXiv 2411.13676, 2.1).
//
// A new mixer is one .cpp file: a struct Config with its options, a class, and one line of registration.
// Shapes: B batch, L tokens, D hidden, E inner, N state, H heads, K KV heads, P head dim, X rows of the projection.
#pragma once

#include <ATen/core/Tensor.h>

#include <boost/program_options/options_description.hpp>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "config/resolver.h"
#include "nn/cache.h"
#include "nn/parameters.h"
#include "nn/step.h"

namespace hymba {

// Where a mixer stands in the model.
struct MixerContext {
  std::int64_t layer = 0;             // index of its block
  std::int64_t hidden = 0;            // D
  std::int64_t meta_tokens = 0;       // M
  std::vector<std::int64_t> peers;    // blocks that have a mixer of this type, ascending; holds `layer`
  double init_std = 0.02;
  double norm_eps = 1e-6;
  std::string prefix;                 // of its parameters' names, "layers.0.mixer.mamba."
  ParameterStore* store = nullptr;
};

// Error where a design's number is not from 1 to kMostSize: far above every model there is, and products of two stay far below 64 bits.
constexpr std::int64_t kMostSize = 1 << 20;
void check_size(const std::string& key, std::int64_t value);

// Heads to scale in a forward pass (1 keeps, 0 removes), by layer and mixer, and what is added in their place; see
// `heads` in the CLI.
struct HeadMask {
  std::int64_t layer = 0;
  std::string mixer;   // "attention", "mamba" ...
  at::Tensor scale_H;  // [heads()] of that mixer
  at::Tensor shift_E;  // [E] of the branch as it goes into the fusion; undefined: nothing
};

// Sees tensors of a pass as they are made, for studies; it changes none. `what`: "output" (of any mixer), "branch" (the
// same after its norm and gate, as it goes into the fusion), and what the mixers name themselves ("q_BLHP", "dt_BLE" ...).
using Observer = std::function<void(std::int64_t layer, const std::string& mixer, const std::string& what, const at::Tensor&)>;

// What one forward pass carries through the layers.
struct Pass {
  std::int64_t position = 0;     // of the first row; meta tokens count as positions
  std::int64_t meta_tokens = 0;  // M
  ModelCache* cache = nullptr;   // none: training or scoring
  std::vector<KvView> kv;        // by block: K and V made in this pass, for the blocks that share them
  std::vector<HeadMask> masks;
  const Observer* observer = nullptr;  // may be null
  void observe(std::int64_t layer, const std::string& mixer, const char* what, const at::Tensor& tensor) const {
    if (observer != nullptr) (*observer)(layer, mixer, what, tensor);
  }
};

// "8k cache": which bytes to count. `paper` follows Table 1's accounting (FACTS: conv state in pure Mamba only, meta
// tokens in full layers only, shared windows divided by the group size, everything in the KV type); `exact` is what a
// generating model owns: K and V in the KV type, conv and SSM states in fp32.
enum class Accounting { kPaper, kExact };

struct CacheQuery {
  std::int64_t context = 8000;  // tokens without meta tokens
  double bytes_kv = 2;          // of one element of K and V
  Accounting accounting = Accounting::kExact;
  bool only_mixer = false;      // the mixer is alone in its layer
};

// Bytes for one sequence, by part.
struct CacheBytes {
  double kv_full = 0, kv_window = 0, conv = 0, ssm = 0, meta = 0;
  double kv_shared_saved = 0;  // what the layers that use another layer's K and V do not hold
  double total() const { return kv_full + kv_window + conv + ssm + meta; }
  CacheBytes& operator+=(const CacheBytes& other);
};

// Parameters inside a mixer and floating point operations of one token, its share of the projections not included.
struct MixerCost {
  std::int64_t params = 0;
  double flops_per_token = 0;         // 2 for a multiply-add
  double flops_per_visible_key = 0;   // attention: for every key that a query sees
  std::int64_t window = -1;           // how many keys that are at most; -1: all
};

class Mixer {
 public:
  virtual ~Mixer() = default;
  virtual std::int64_t in_rows() const = 0;    // rows of the layer's input projection
  virtual std::int64_t out_width() const = 0;  // channels of its output
  virtual std::int64_t heads() const { return 1; }
  // What the layer's projections do for this mixer: p = in_scale (W x) + bias, and its output is scaled by out_scale.
  virtual bool in_bias() const { return false; }
  virtual bool out_bias() const { return false; }
  virtual double in_scale() const { return 1; }
  virtual double out_scale() const { return 1; }
  // p_BLX [B, L, in_rows()] -> [B, L, out_width()]. The one path for training, prefill and single steps: with a cache
  // (mine != nullptr) it continues from it and updates it.
  virtual at::Tensor forward(const at::Tensor& p_BLX, Pass& pass, MixerCache* mine) const = 0;
  virtual MixerCost cost() const = 0;
  virtual CacheBytes cache_bytes(const CacheQuery& query) const { return {}; }
  virtual MixerCache make_cache(const CacheShape& shape) const { return {}; }
  // One decoding step of a batch whose sequences may have different lengths: from p_BX [B, in_rows()], rows strided, to
  // y_BE [B, out_width()], contiguous, all bound beforehand (nn/step.h). Equal to forward() on one token of each
  // sequence, which is what this default does; mixers that matter for speed have their own.
  virtual StepFunction bind_step(const at::Tensor& p_BX, const at::Tensor& y_BE, StepBatch& step, MixerCache* mine) const;
  // What `show` prints of it: {"window", "256"}, {"kv_source", "3"} ...
  virtual std::vector<std::pair<std::string, std::int64_t>> facts() const { return {}; }
  virtual bool recurrent() const { return false; }  // counts as SSM in the attention : Mamba ratio
  virtual bool attends() const { return false; }
  // Whether a text of `positions` may be read in several parts with a cache: angles that depend on the whole length forbid it.
  virtual bool reads_in_parts(std::int64_t positions) const { return true; }
};

// A mixer type with its options; one object for each model that is built.
class MixerType {
 public:
  virtual ~MixerType() = default;
  virtual void read(Resolver& resolver) = 0;
  virtual boost::program_options::options_description options() = 0;
  virtual std::unique_ptr<Mixer> make(const MixerContext& context) const = 0;
};

using MixerTypeMaker = std::function<std::unique_ptr<MixerType>()>;
// channels: it mixes the channels of one token (an FFN), so it may follow another mixer in a block.
void register_mixer(const std::string& name, MixerTypeMaker maker, bool channels = false);
bool is_channel_mixer(const std::string& name);
std::vector<std::string> mixer_names();
std::unique_ptr<MixerType> make_mixer_type(const std::string& name);  // UserError with the names that there are

// Registration of class M with M::Config (default-constructible, options()) and M(config, context):
//   const RegisterMixer<Attention> kRegistered("attention");
template <class M>
class RegisterMixer {
 public:
  explicit RegisterMixer(const std::string& name, bool channels = false) {
    register_mixer(name, [] { return std::make_unique<Type>(); }, channels);
  }

 private:
  class Type : public MixerType {
   public:
    void read(Resolver& resolver) override { resolver.read(config_.options()); }
    boost::program_options::options_description options() override { return config_.options(); }
    std::unique_ptr<Mixer> make(const MixerContext& context) const override {
      return std::make_unique<M>(config_, context);
    }

   private:
    typename M::Config config_;
  };
};

}  // namespace hymba
