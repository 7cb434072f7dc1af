#include "eval/comparison.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "eval/bootstrap.h"

namespace hymba::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// One metric of both models. Means of scores; or, with weights, the ratio of two sums (bits a byte).
struct Pairs {
  std::string metric;
  std::vector<double> a, b, weight;
  bool perplexity = false;  // what is compared is exp(-mean)
};

double value_of(const Pairs& pairs, const std::vector<double>& scores, std::span<const std::size_t> items) {
  double sum = 0, weights = 0;
  for (const auto i : items) {
    sum += scores[i];
    weights += pairs.weight.empty() ? 1 : pairs.weight[i];
  }
  return pairs.perplexity ? std::exp(-sum / weights) : sum / weights;
}

// Standard error of value(b) - value(a) to first order: that of the mean of each item's influence.
double error_of(const Pairs& pairs, double a, double b) {
  const auto n = static_cast<double>(pairs.a.size());
  std::vector<double> influence;
  const double scale = pairs.weight.empty() ? 1 : n / std::max(1e-300, [&] {
    double sum = 0;
    for (const double w : pairs.weight) sum += w;
    return sum;
  }());
  for (std::size_t i = 0; i < pairs.a.size(); ++i) {
    if (pairs.perplexity) influence.push_back(-b * pairs.b[i] + a * pairs.a[i]);
    else if (!pairs.weight.empty()) influence.push_back(scale * (pairs.b[i] - pairs.a[i] - (b - a) * pairs.weight[i]));
    else influence.push_back(pairs.b[i] - pairs.a[i]);
  }
  return standard_deviation(influence) / std::sqrt(n);
}

// Two-sided p of t, and the t of a 95 % interval.
double p_of(double difference, double error, double freedom) {
  if (error <= 0) return difference == 0 ? 1 : 0;
  return 2 * boost::math::cdf(boost::math::complement(boost::math::students_t(freedom), std::abs(difference) / error));
}

void add_bootstrap(const Pairs& pairs, int repeats, Comparison* c) {
  const auto draws = bootstrap(pairs.a.size(), repeats, [&](std::span<const std::size_t> items) {
    return value_of(pairs, pairs.b, items) - value_of(pairs, pairs.a, items);
  });
  if (draws.empty()) return;
  c->bootstrap_error = standard_deviation(draws);
  c->bootstrap_low = quantile(draws, 0.025);
  c->bootstrap_high = quantile(draws, 0.975);
  // How often a difference as large comes up around none; one is added so that no p is 0 by few draws.
  const auto extreme = std::count_if(draws.begin(), draws.end(), [&](double d) {
    return std::abs(d - c->difference) >= std::abs(c->difference) - 1e-12;
  });
  c->bootstrap_p = static_cast<double>(extreme + 1) / static_cast<double>(draws.size() + 1);
}

Comparison compare(const std::string& task, const Pairs& pairs, int repeats) {
  Comparison c;
  c.task = task;
  c.metric = pairs.metric;
  c.n = static_cast<std::int64_t>(pairs.a.size());
  std::vector<std::size_t> all(pairs.a.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  c.a = value_of(pairs, pairs.a, all);
  c.b = value_of(pairs, pairs.b, all);
  c.difference = c.b - c.a;
  const auto binary = [](const std::vector<double>& scores) {
    return std::all_of(scores.begin(), scores.end(), [](double s) { return s == 0 || s == 1; });
  };
  if (!pairs.perplexity && pairs.weight.empty() && binary(pairs.a) && binary(pairs.b)) {
    c.a_only = c.b_only = 0;
    for (std::size_t i = 0; i < pairs.a.size(); ++i) {
      c.a_only += pairs.a[i] > pairs.b[i] ? 1 : 0;
      c.b_only += pairs.b[i] > pairs.a[i] ? 1 : 0;
    }
  }
  if (c.n < 2) return c;
  c.error = error_of(pairs, c.a, c.b);
  const auto freedom = static_cast<double>(c.n - 1);
  const double t = boost::math::quantile(boost::math::students_t(freedom), 0.975);
  c.low = c.difference - t * c.error;
  c.high = c.difference + t * c.error;
  c.p = p_of(c.difference, c.error, freedom);
  add_bootstrap(pairs, repeats, &c);
  return c;
}

std::string id_of(const json& sample) {
  for (const char* key : {"id", "doc_id"}) {
    if (sample.contains(key)) return sample[key].is_string() ? sample[key].get<std::string>() : sample[key].dump();
  }
  return "";
}

bool is_score(const std::string& key) {
  return key == "acc" || key == "acc_norm" || key == "contains" || key.starts_with("exact_match");
}

// Samples of b in the order of a, by their ids; both must be of the same documents.
std::vector<const json*> matched(const std::string& task, const json& a, const json& b) {
  std::map<std::string, const json*> by_id;
  for (const auto& sample : b) by_id[id_of(sample)] = &sample;
  require(a.size() == b.size() && by_id.size() == b.size(), "task {}: {} samples against {} ({} different ids); both must be of the same items",
          task, a.size(), b.size(), by_id.size());
  std::vector<const json*> result;
  for (const auto& sample : a) {
    const auto found = by_id.find(id_of(sample));
    require(found != by_id.end(), "task {}: item {} of the first has no partner in the second", task, id_of(sample));
    const bool same = !sample.contains("doc") || !found->second->contains("doc") || sample["doc"] == (*found->second)["doc"];
    require(same, "task {}: item {} is another document in the second", task, id_of(sample));
    result.push_back(found->second);
  }
  return result;
}

}  // namespace

std::vector<Comparison> compare_samples(const std::string& task, const json& a, const json& b, int repeats) {
  require(a.is_array() && !a.empty(), "task {}: no samples", task);
  const auto partners = matched(task, a, b);
  std::vector<Pairs> all;
  const auto collect = [&](const std::string& metric, const std::string& key, double scale) {
    Pairs pairs{metric, {}, {}, {}, false};
    for (std::size_t i = 0; i < partners.size(); ++i) {
      const bool there = a[i].contains(key) && partners[i]->contains(key) && a[i][key].is_number() && (*partners[i])[key].is_number();
      require(there, "task {}: item {} has no {} in both", task, id_of(a[i]), key);
      pairs.a.push_back(scale * a[i][key].get<double>());
      pairs.b.push_back(scale * (*partners[i])[key].get<double>());
    }
    return pairs;
  };
  for (const auto& [key, value] : a[0].items()) {
    if (is_score(key) && partners[0]->contains(key)) all.push_back(collect(key, key, 1));
  }
  if (a[0].contains("loglikelihood") && partners[0]->contains("loglikelihood")) {
    const bool text = a[0].contains("bytes");
    Pairs pairs = collect(text ? "bits_per_byte" : "perplexity", "loglikelihood", text ? -1 / std::log(2.0) : 1);
    for (const auto& sample : a) {
      if (text) pairs.weight.push_back(sample.at("bytes").get<double>());
    }
    pairs.perplexity = !text;
    all.push_back(std::move(pairs));
  }
  require(!all.empty(), "task {}: the two have no score in common (acc, acc_norm, contains, exact_match, loglikelihood)", task);
  std::vector<Comparison> result;
  for (const auto& pairs : all) result.push_back(compare(task, pairs, repeats));
  return result;
}

Comparison average(const std::string& name, const std::vector<Comparison>& tasks) {
  Comparison mean;
  mean.task = name;
  mean.metric = "mean";
  const auto n = static_cast<double>(tasks.size());
  double squares = 0, drawn = 0;
  for (const auto& task : tasks) {
    mean.n += task.n;
    mean.a += task.a / n;
    mean.b += task.b / n;
    squares += task.error * task.error;
    drawn += task.bootstrap_error * task.bootstrap_error;
  }
  mean.difference = mean.b - mean.a;
  mean.error = std::sqrt(squares) / n;
  mean.bootstrap_error = std::sqrt(drawn) / n;
  constexpr double kNormal = 1.959963984540054;
  mean.low = mean.difference - kNormal * mean.error;
  mean.high = mean.difference + kNormal * mean.error;
  mean.bootstrap_low = mean.difference - kNormal * mean.bootstrap_error;
  mean.bootstrap_high = mean.difference + kNormal * mean.bootstrap_error;
  const auto p = [&](double error) { return error > 0 ? std::erfc(std::abs(mean.difference) / error / std::sqrt(2.0)) : mean.difference == 0 ? 1.0 : 0.0; };
  mean.p = p(mean.error);
  mean.bootstrap_p = p(mean.bootstrap_error);
  return mean;
}

std::map<std::string, json> read_samples(const fs::path& folder) {
  std::map<std::string, json> all;
  require(fs::is_directory(folder), "{}: expected a folder with samples_TASK.jsonl, found none", folder.string());
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("samples_") && entry.path().extension() == ".jsonl") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    std::string task = file.stem().string().substr(8);
    const std::size_t date = task.find("_20");  // the harness adds when it was: samples_piqa_2026-11-26T10-00-00.jsonl
    if (date != std::string::npos && task.find('T', date) != std::string::npos) task.resize(date);
    int line = 0;
    json& samples = all[task] = json::array();
    for (const auto& text : split(read_file(file), '\n')) {
      ++line;
      if (trim(text).empty()) continue;
      auto sample = json::parse(text, nullptr, false);
      require(sample.is_object(), "{}:{}: expected one JSON object a line; truncated or damaged?", file.string(), line);
      samples.push_back(std::move(sample));
    }
  }
  require(!all.empty(), "{}: no samples_TASK.jsonl here; `hymba eval --log-samples --out DIR` writes them", folder.string());
  return all;
}

}  // namespace hymba::eval
