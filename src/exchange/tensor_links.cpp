#include "exchange/tensor_links.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/split_with_sizes.h>

#include <map>

#include "base/error.h"
#include "base/text.h"
#include "data/utf8.h"

namespace hymba {
namespace {

// "name|size@mixer" of a rule.
struct Piece {
  std::string name, size, mixer;
};

Piece parse_piece(const std::string& text) {
  Piece piece;
  const auto bar = text.find('|'), at = text.find('@');
  piece.name = text.substr(0, bar);
  if (bar != std::string::npos) piece.size = text.substr(bar + 1, at == std::string::npos ? at : at - bar - 1);
  if (at != std::string::npos) piece.mixer = text.substr(at + 1);
  return piece;
}

std::string full_name(const Family& family, const std::string& name, std::int64_t layer) {
  std::string text = !name.empty() && name[0] == '~' ? family.layer + name.substr(1) : name;
  return replace_all(text, "{i}", std::to_string(layer));
}

// Sizes by their letters, from what the sublayer's mixers say of themselves.
std::map<std::string, std::int64_t> sizes_of(const Sublayer& sublayer, std::int64_t hidden) {
  std::map<std::string, std::int64_t> sizes = {{"D", hidden}, {"e", 1}};
  for (const auto& mixer : sublayer.mixers()) {
    std::map<std::string, std::int64_t> facts;
    for (const auto& [key, value] : mixer->facts()) facts[key] = value;
    if (mixer->attends()) {
      sizes["q"] = facts["heads"] * facts["head_dim"];
      sizes["k"] = facts["kv_heads"] * facts["head_dim"];
      sizes["v"] = facts["kv_heads"] * facts["v_dim"];
      sizes["o"] = facts["heads"] * facts["v_dim"];
    }
    if (facts.count("width") != 0) sizes["I"] = facts["width"];
    if (facts.count("experts") != 0) sizes["e"] = facts["experts"];
  }
  return sizes;
}

bool has_bias(const Sublayer& sublayer, const std::string& mixer, bool out) {
  for (std::size_t i = 0; i < sublayer.mixers().size(); ++i) {
    if (sublayer.mixer_names()[i] == mixer)
      return out ? sublayer.mixers()[i]->out_bias() : sublayer.mixers()[i]->in_bias();
  }
  return false;
}

// The rule's pieces with experts repeated and absent biases left out.
std::vector<Piece> pieces_of(const TensorRule& rule, const Sublayer* sublayer, std::int64_t experts) {
  std::vector<Piece> pieces, group;
  const bool out = starts_with(rule.ours, "out_proj");
  const auto flush = [&] {
    for (std::int64_t e = 0; !group.empty() && e < experts; ++e) {
      for (auto piece : group) {
        piece.name = replace_all(piece.name, "{e}", std::to_string(e));
        pieces.push_back(piece);
      }
    }
    group.clear();
  };
  for (const auto& word : split(rule.theirs, ' ')) {
    const Piece piece = parse_piece(word);
    if (!piece.mixer.empty() && !has_bias(*sublayer, piece.mixer, out)) continue;
    if (piece.name.find("{e}") != std::string::npos) {
      group.push_back(piece);
      continue;
    }
    flush();
    pieces.push_back(piece);
  }
  flush();
  return pieces;
}

std::vector<std::int64_t> their_shape(const TensorLink& link, std::int64_t size) {
  if (link.view == TensorView::kFlat) return {size};
  std::vector<std::int64_t> shape = link.shape;
  shape[static_cast<std::size_t>(link.axis)] = size;
  if (link.view == TensorView::kConv) shape.insert(shape.begin() + 1, 1);
  if (link.view == TensorView::kHeads && shape.size() == 2) return {1, shape[0], 1, shape[1]};
  return shape;
}

TensorLink make_link(const Family& family, const TensorRule& rule, const Parameter& parameter, const Sublayer* sublayer,
                     std::int64_t hidden) {
  TensorLink link{parameter.name,
                  parameter.value.sizes().vec(),
                  rule.view,
                  std::string(rule.ours) == "out_proj.weight" ? 1 : 0,
                  {}};
  std::map<std::string, std::int64_t> sizes;
  if (sublayer != nullptr) sizes = sizes_of(*sublayer, hidden);
  const std::int64_t total =
      link.view == TensorView::kFlat ? parameter.value.numel() : link.shape[static_cast<std::size_t>(link.axis)];
  std::int64_t used = 0;
  for (const auto& piece : pieces_of(rule, sublayer, sizes["e"])) {
    std::int64_t size = total - used;  // "*", or the only one
    if (!piece.size.empty() && piece.size != "*") {
      if (sizes.count(piece.size) == 0) fail("{}: no size '{}' here", parameter.name, piece.size);
      size = sizes[piece.size];
    }
    link.parts.push_back(
        {full_name(family, piece.name, sublayer != nullptr ? sublayer->layer() : 0), their_shape(link, size), size});
    used += size;
  }
  if (used != total) fail("{}: its parts have {} rows, it has {}", parameter.name, used, total);
  return link;
}

}  // namespace

std::vector<TensorLink> link_tensors(const Family& family, const LanguageModel& model) {
  std::map<std::string, std::pair<const Sublayer*, std::string>> layers;  // prefix of the parameters -> sublayer
  for (const auto& sublayer : model.sublayers()) layers[sublayer->name() + "."] = {sublayer.get(), sublayer->text()};
  std::vector<TensorLink> links;
  for (const auto& parameter : model.parameters().all()) {
    std::string when, ours = parameter.name;
    const Sublayer* sublayer = nullptr;
    if (starts_with(ours, "layers.")) {
      const auto second = ours.find('.', 7), third = ours.find('.', second + 1);
      std::tie(sublayer, when) = layers.at(ours.substr(0, third + 1));
      ours = ours.substr(third + 1);
    }
    const TensorRule* found = nullptr;
    for (const auto& rule : family.rules) {
      if (when == rule.when && ours == rule.ours) found = &rule;
    }
    require(found != nullptr, "the layout of {} has no place for the parameter {}{}", family.name, parameter.name,
            when.empty() ? "" : fmt::format(" of {}", when));
    links.push_back(make_link(family, *found, parameter, sublayer, model.config().hidden));
  }
  return links;
}

std::vector<std::string> ignored_names(const Family& family, const LanguageModel& model) {
  std::vector<std::string> names;
  for (const std::string name : family.ignored) {
    if (name[0] != '~') names.push_back(name);
    for (std::int64_t i = 0; name[0] == '~' && i < model.config().layers; ++i)
      names.push_back(full_name(family, name, i));
  }
  return names;
}

at::Tensor join_parts(const TensorLink& link, const std::function<at::Tensor(const TensorPart&)>& part,
                      at::ScalarType type) {
  if (link.parts.size() == 1) {
    const at::Tensor one = part(link.parts[0]).reshape(link.shape);
    return one.scalar_type() == type ? one : one.to(type);
  }
  at::Tensor ours = at::empty(link.shape, type);
  const at::Tensor target = link.view == TensorView::kFlat ? ours.view({-1}) : ours;
  std::int64_t first = 0;
  for (const auto& piece : link.parts) {
    at::Tensor to = target.narrow(link.axis, first, piece.size);
    to.copy_(part(piece).reshape(to.sizes()));
    first += piece.size;
  }
  return ours;
}

std::vector<at::Tensor> split_parts(const TensorLink& link, const at::Tensor& ours) {
  std::vector<std::int64_t> sizes;
  for (const auto& piece : link.parts) sizes.push_back(piece.size);
  const at::Tensor from = link.view == TensorView::kFlat ? ours.reshape({-1}) : ours;
  auto parts = at::split_with_sizes(from, sizes, link.axis);
  for (std::size_t i = 0; i < parts.size(); ++i) parts[i] = parts[i].reshape(link.parts[i].shape);
  return parts;
}

}  // namespace hymba
