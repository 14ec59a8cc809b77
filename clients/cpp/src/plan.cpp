// What is known about the levels before the first run. Twin of elsa_edge/control/plan.py.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "elsa_edge.h"
#include "normal.h"
#include "text.h"

namespace elsa_edge {
namespace {

constexpr double kFixedShare = 0.15, kSame = 1.02;
constexpr double kMeasuredVariance = 0.01, kPriorVariance = 0.36, kScaleVariance = 0.09, kNoScaleVariance = 25;
constexpr double kDefaultTail = 0.1;

std::vector<int> accurate_enough(const std::vector<LevelFacts>& levels, const Policy& policy,
                                 std::vector<std::string>& notes) {
  if (levels.empty()) fail<ProfileError>({"A plan needs at least one level."});
  std::vector<int> allowed;
  std::string unknown;
  for (size_t k = 0; k < levels.size(); ++k) {
    if (policy.minimum_accuracy > 0 && !levels[k].accuracy)
      unknown += joined({unknown.empty() ? "" : ", ", levels[k].name});
    const bool enough = policy.minimum_accuracy <= 0 || levels[k].accuracy.value_or(1) >= policy.minimum_accuracy;
    if (enough) {
      allowed.push_back(static_cast<int>(k));
    } else {
      notes.push_back(joined({levels[k].name, " is left out: its accuracy ", plain(*levels[k].accuracy),
                              " is below the minimum ", plain(policy.minimum_accuracy), "."}));
    }
  }
  if (!unknown.empty()) {
    fail<ProfileError>({"qos.minimum_accuracy is ", plain(policy.minimum_accuracy), ", but no accuracy is known for ",
                        unknown, ". Measure it with elsa-edge evaluate, or set minimum_accuracy to null."});
  }
  if (allowed.empty())
    fail<ProfileError>({"No level reaches qos.minimum_accuracy, ", plain(policy.minimum_accuracy), "."});
  return allowed;
}

bool has(const std::optional<double>& value) { return value && *value != 0; }

// Expected warm median of each level in ms; in arbitrary units while nothing was measured.
std::vector<double> reference_ms(const std::vector<LevelFacts>& levels) {
  std::vector<double> reference(levels.size());
  double logs = 0;
  int count = 0;
  for (size_t k = 0; k < levels.size(); ++k) {
    reference[k] = kFixedShare + (1 - kFixedShare) * std::clamp(levels[k].work, 0.0, 1.0);
    if (has(levels[k].p50_ms)) {
      logs += std::log(*levels[k].p50_ms / reference[k]);
      ++count;
    }
  }
  const double scale = count > 0 ? std::exp(logs / count) : 1;
  for (size_t k = 0; k < levels.size(); ++k)
    reference[k] = has(levels[k].p50_ms) ? *levels[k].p50_ms : scale * reference[k];
  return reference;
}

// Without figures only the order is known: sparser needs less.
std::vector<double> memory_of(const std::vector<LevelFacts>& levels) {
  const bool known =
      std::all_of(levels.begin(), levels.end(), [](const LevelFacts& level) { return level.memory_bytes.has_value(); });
  std::vector<double> memory(levels.size());
  for (size_t k = 0; k < levels.size(); ++k) memory[k] = known ? *levels[k].memory_bytes : static_cast<double>(k);
  return memory;
}

bool dominates(const LevelFacts& better, const LevelFacts& worse) {
  if (!better.p50_ms || !worse.p50_ms || *better.p50_ms > kSame * *worse.p50_ms) return false;
  if (!better.memory_bytes || !worse.memory_bytes) return true;
  return *better.memory_bytes <= kSame * *worse.memory_bytes;
}

std::vector<int> without_dominated(const std::vector<int>& order, const std::vector<LevelFacts>& levels,
                                   std::vector<std::string>& notes) {
  std::vector<int> kept;
  for (auto k = order.rbegin(); k != order.rend(); ++k) {
    const auto better = std::find_if(kept.begin(), kept.end(), [&](int m) { return dominates(levels[m], levels[*k]); });
    if (better == kept.end()) {
      kept.insert(kept.begin(), *k);
    } else {
      notes.push_back(joined(
          {levels[*k].name, " is left out: ", levels[*better].name, " is worth more, as fast and as small here."}));
    }
  }
  if (kept.size() == 1 && order.size() > 1) {
    notes.push_back(joined({"Only ", levels[kept[0]].name, " is left, so there is nothing to adapt on this device."}));
  }
  return kept;
}

// The levels share one tail: the median of theirs, since one of them may have been measured beside other work.
double tail_log(const std::vector<LevelFacts>& levels, const Policy& policy) {
  std::vector<double> tails;
  for (const LevelFacts& level : levels) {
    if (!has(level.p95_ms) || !has(level.p50_ms)) continue;
    tails.push_back(std::log(*level.p95_ms / *level.p50_ms));
    // Sorted as they come: a library's sort would be a kilobyte more.
    for (size_t at = tails.size() - 1; at > 0 && tails[at - 1] > tails[at]; --at) std::swap(tails[at - 1], tails[at]);
  }
  double at95 = kDefaultTail;
  if (const size_t count = tails.size()) at95 = std::max(0.02, (tails[(count - 1) / 2] + tails[count / 2]) / 2);
  return std::max(0.0, at95 * normal_quantile(1 - policy.allowed_miss_rate) / normal_quantile(0.95));
}

}  // namespace

Plan make_plan(const std::vector<LevelFacts>& levels, const Policy& policy) {
  Plan plan;
  plan.policy = policy;
  plan.levels = levels;
  const std::vector<int> allowed = accurate_enough(levels, policy, plan.notes);
  const std::vector<double> reference = reference_ms(levels), memory = memory_of(levels);
  const bool accurate =
      std::all_of(levels.begin(), levels.end(), [](const LevelFacts& level) { return level.accuracy.has_value(); });
  // Equal accuracy: the faster one is worth more.
  const auto value = [&](int k) {
    return accurate ? std::tuple(*levels[k].accuracy, -reference[k], k) : std::tuple(double(k), 0.0, k);
  };
  const auto less = [&](int a, int b) { return value(a) < value(b); };
  std::vector<int> order;
  for (const int k : allowed) order.insert(std::upper_bound(order.begin(), order.end(), k, less), k);
  plan.candidates = without_dominated(order, levels, plan.notes);
  for (const LevelFacts& level : levels) plan.any_measured |= level.p50_ms.has_value();
  if (!plan.any_measured)
    plan.notes.push_back("No latency was measured on this device; the controller learns it while running.");
  plan.positions.assign(levels.size(), -1);
  plan.all_measured = true;
  bool any_candidate_measured = false;
  double fastest_ms = kInfinity;
  for (const int k : plan.candidates) fastest_ms = std::min(fastest_ms, reference[k]);
  for (auto* numbers :
       {&plan.reference_log_ms, &plan.residual_variance, &plan.lead, &plan.memory_bytes, &plan.switch_share}) {
    numbers->resize(plan.candidates.size());
  }
  plan.measured.resize(plan.candidates.size());
  for (size_t p = 0; p < plan.candidates.size(); ++p) {
    const int k = plan.candidates[p];
    const bool measured = levels[k].p50_ms.has_value();
    plan.positions[k] = static_cast<int>(p);
    plan.reference_log_ms[p] = std::log(reference[k]);
    plan.residual_variance[p] = measured ? kMeasuredVariance : kPriorVariance;
    plan.measured[p] = measured;
    plan.all_measured &= measured;
    any_candidate_measured |= measured;
    plan.memory_bytes[p] = memory[k];
    plan.switch_share[p] = plan.any_measured ? levels[k].switch_ms / reference[k] : 0;
    plan.lead[p] = fastest_ms / reference[k];
  }
  const auto [least, most] = std::minmax_element(memory.begin(), memory.end());
  plan.ample_bytes = *most - *least + policy.hysteresis_bytes;
  const double budget_log_ms = std::log(policy.budget_ms);
  plan.stay_log_ms = budget_log_ms + std::log1p(-policy.margin);
  plan.up_log_ms = budget_log_ms + std::log1p(-policy.up_margin);
  plan.shared_variance = plan.any_measured ? kScaleVariance : kNoScaleVariance;
  plan.tail_log = tail_log(levels, policy);
  plan.any_measured = any_candidate_measured;
  return plan;
}

}  // namespace elsa_edge
