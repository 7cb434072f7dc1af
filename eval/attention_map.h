// Where tokens look: attention mass by category, and the implicit attention of state space models. docs/studies.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/language_model.h"

namespace hymba::eval {

// Of one attention head or one SSM branch (head -1), over the text's query positions; the four masses add up to 1.
struct AttentionMass {
  std::int64_t layer = 0, head = 0;
  std::string branch;  // "attention" or "ssm"
  double meta = 0, bos = 0, self = 0, cross = 0;
  double entropy = 0;               // nats
  std::vector<double> by_meta;      // mass on each meta token
  std::int64_t queries = 0;         // positions the means are over
};

// One row of ids, [1, T]; `has_bos`: its first id is bos. SSM branches get |implicit attention|, rows scaled to sum 1.
std::vector<AttentionMass> attention_masses(const LanguageModel& model, const at::Tensor& ids_1T, bool has_bos);

// The map of one layer as its output is composed: w * attention (mean over heads) + (1 - w) * implicit attention of the
// SSM, where w is the share of the attention branch in the sum of both branches' magnitudes.
struct ComposedMap {
  std::int64_t layer = 0;
  double attention_share = 1;  // w
  at::Tensor map_TS, attention_TS, ssm_TS;  // queries: T text positions; keys: M meta tokens, then T; undefined: no such branch
};
std::vector<ComposedMap> composed_maps(const LanguageModel& model, const at::Tensor& ids_1T);

// Softmax weights of every head and query, [H, L, S]; window -1: all. Positions as in a pass without cache.
at::Tensor attention_weights(const at::Tensor& q_LHP, const at::Tensor& k_SKP, std::int64_t window, std::int64_t prefix);

// Mamba: alpha_ij[e] = sum_n C_i[n] exp(A[e,n] sum_{k=j+1..i} dt_k[e]) dt_j[e] B_j[n], so that y_i = sum_j alpha_ij u_j
// (Ali, Zimerman and Wolf, arXiv 2403.01590). Returns the mean over channels of |alpha|, [L, L], or with `signed_channel`
// >= 0 that channel's alpha as it is.
at::Tensor implicit_attention(const at::Tensor& dt_LE, const at::Tensor& A_EN, const at::Tensor& B_LN, const at::Tensor& C_LN,
                              std::int64_t signed_channel = -1);
// Mamba-2: alpha_ij[h] = C_i . B_j exp(A[h] sum_{k=j+1..i} dt_k[h]) dt_j[h]; the mean over heads of |alpha|.
at::Tensor implicit_attention2(const at::Tensor& dt_LH, const at::Tensor& A_H, const at::Tensor& B_LGN, const at::Tensor& C_LGN);

}  // namespace hymba::eval
