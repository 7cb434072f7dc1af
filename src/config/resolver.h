// Layered configuration. A design is data: the command line overrides row 9, which overrides row 8, ..., base. Each
// component binds its options to its own struct with Boost.Program_options; po::store keeps the first value stored, so
// storing the layers from the strongest to the weakest is the overlay rule itself.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/value_semantic.hpp>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "config/ini.h"

namespace hymba {

struct ConfigLayer {
  std::string name;
  bool defaults = false;  // a layer of defaults for many designs (base): keys that nobody reads are no error there
  std::vector<Assignment> assignments;
};

// A value as it was resolved, and where it came from ("default" if no layer gives it).
struct ResolvedValue {
  std::string value;
  std::string origin;
};

class Resolver {
 public:
  // Layers from the strongest to the weakest.
  explicit Resolver(std::vector<ConfigLayer> layers);

  // Fills the variables bound by `options` and marks the keys as read. UserError naming origin and key for a value
  // that does not parse. May be called once for every component.
  void read(const boost::program_options::options_description& options);

  // UserError for: an unknown key (with the nearest known one), a key that no component read, and a value equal to
  // the one inherited from a weaker layer. `known`: every key of every component there is.
  void check(const std::set<std::string>& known) const;

  const std::map<std::string, ResolvedValue>& resolved() const { return resolved_; }
  std::string text() const;              // "key = value" lines in key order
  std::string text_with_origin() const;  // the same, each followed by "# origin"
  std::string hash() const;              // 16 hex digits of text()
  // The strongest layer's value of a key, read or not; "" if absent.
  std::string raw(const std::string& key) const;

 private:
  void check_no_op(std::size_t layer, const Assignment& assignment) const;
  std::vector<ConfigLayer> layers_;
  std::map<std::string, ResolvedValue> resolved_;
};

// The layers of one stanza at one size: overrides, name@size, name, from@size, from, ..., base@size, base. The keys
// from, title, group and row describe the stanza and are left out. UserError for a circle of `from`.
std::vector<ConfigLayer> stanza_layers(const StanzaFile& file, const std::string& name, const std::string& size,
                                       const std::vector<Assignment>& overrides);

// "key=value" from the command line.
Assignment parse_assignment(const std::string& text, const std::string& option = "--set");

}  // namespace hymba
