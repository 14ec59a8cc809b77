// Predicts the latency of every level from the runs of the one in use. Twin of elsa_edge/control/estimate.py.
//
//     log latency(level) = reference + shared slow-down + residual(level) + noise
//     tail(level)        = reference + shared + residual + Q(1 - miss_rate) of the recent prediction errors
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "elsa_edge.h"

namespace elsa_edge {

class Estimate {
 public:
  double shared = 0;
  int64_t runs = 0;
  std::vector<int64_t> seen_run;

  explicit Estimate(const Plan& plan)
      : seen_run(plan.candidates.size(), -1),
        plan_(plan),
        shared_variance_(plan.shared_variance),
        residual_(plan.candidates.size(), 0.0),
        variance_(plan.residual_variance),
        miss_rate_(plan.policy.allowed_miss_rate),
        tail_(plan.tail_log) {}

  // Whether a level was not observed for long, so that what is believed about it may be wrong.
  bool is_stale(int p) const { return runs - std::max<int64_t>(0, seen_run[p]) >= kStaleRuns; }
  // Whether a level was observed, and not too long ago.
  bool is_tried(int p) const { return seen_run[p] >= 0 && !is_stale(p); }
  // Whether the latency of a level was measured, or observed not too long ago.
  bool is_known(int p) const { return plan_.measured[p] || is_tried(p); }

  // Log of the latency in ms that the allowed share of runs stays below, per candidate.
  void predict(int current, double stay_runs, std::vector<double>& predicted) const {
    const double base = shared + tail_;
    for (int p = 0; p < static_cast<int>(predicted.size()); ++p) {
      double value = plan_.reference_log_ms[p] + base, unknown = plan_.residual_variance[p];
      if (seen_run[p] >= 0) {
        // Also of the current level: one that fits from outside must fit from inside, until it is observed again.
        const double age = static_cast<double>(runs - seen_run[p]);
        value += residual_[p] * kFadeRuns / (kFadeRuns + age);
        unknown = std::min(unknown, variance_[p] + age * kResidualDrift);
      }
      if (p != current) value += plan_.switch_share[p] / stay_runs + kUnknownCharge * std::sqrt(unknown);
      predicted[p] = value;
    }
  }

  // Takes in one warm run of a level, and whether it missed a budget that a faster level would not have missed.
  void learn(int p, double log_ms, bool missed) {
    const double age = static_cast<double>(runs - seen_run[p]);
    const double kept = seen_run[p] >= 0 ? kFadeRuns / (kFadeRuns + age) : 0;
    const double residual = kept * residual_[p];
    double variance = std::min(plan_.residual_variance[p], variance_[p] + age * kResidualDrift);
    double shared_variance = shared_variance_;
    const double noise = noise_;
    // Errors of a model that does not know its parameters yet say nothing about the noise.
    bool settled = shared_variance + variance <= 4 * noise + 0.01;
    shared_variance += kDrift * noise;
    const double error = log_ms - plan_.reference_log_ms[p] - shared - residual;

    const double spread = std::sqrt(shared_variance + variance + noise);
    streak_ = next_streak(streak_, error, spread);
    stay_ = p == latest_ ? stay_ + 1 : 1;
    int jump = jump_ - (jump_ > 0) + (jump_ < 0);
    double shared_part = shared_variance, own_part = variance;
    double move = std::clamp(error, -kClip * spread, kClip * spread);
    if (streak_ != 0) {
      // A surprise on arrival is the level's own, unless it undoes what was just blamed on all levels.
      const bool own = stay_ <= kArrivalRuns && jump * error >= 0;
      const bool shift = std::abs(streak_) >= kShiftAfter;
      if (shift) {
        shared_variance = std::max(shared_variance, error * error);
        variance = std::max(variance, own ? error * error : 0);
        move = error;
        if (!own) jump = error > 0 ? kJumpRuns : -kJumpRuns;
      }
      settled = settled && !own && !shift;
      shared_part = own ? 0 : shared_variance;
      own_part = own ? variance : 0;
    }
    const double total = shared_part + own_part + noise;
    if (settled) {
      push(error);
      noise_ = next_noise();
    }
    const double allowed = plan_.policy.allowed_miss_rate;
    const double steered = miss_rate_ + kConformalStep * (allowed - missed);
    miss_rate_ = std::max(kStrictest * allowed, std::min({0.5, kMostLenient * allowed, steered}));
    shared += move * shared_part / total;
    shared_variance_ = shared_variance - shared_variance * shared_part / total;
    // A disturbance that begins just after a switch must not be believed of the level for long.
    const double most = kMostOwn * std::sqrt(plan_.residual_variance[p]);
    residual_[p] = std::clamp(residual + move * own_part / total, -most, most);
    variance_[p] = variance - variance * own_part / total;
    runs += 1;
    seen_run[p] = runs;
    tail_ = next_tail();
    latest_ = p;
    jump_ = jump;
  }

 private:
  static constexpr size_t kWindow = 100;
  static constexpr double kPriorCount = 10, kDrift = 0.05, kFirstNoise = 0.05 * 0.05, kLeastNoise = 0.003 * 0.003;
  static constexpr double kClip = 3, kSurprise = 2.5, kLeastSurprise = 0.1, kMostOwn = 2.5, kResidualDrift = 1e-6,
                          kFadeRuns = 2000;
  static constexpr int kShiftAfter = 2, kArrivalRuns = 4, kJumpRuns = 12, kStaleRuns = 1000;
  static constexpr double kConformalStep = 0.02, kMostLenient = 4, kStrictest = 0.125, kUnknownCharge = 0.5;

  static int next_streak(int streak, double error, double spread) {
    if (std::abs(error) <= std::max(kSurprise * spread, kLeastSurprise)) return 0;
    return error > 0 ? std::max(streak, 0) + 1 : std::min(streak, 0) - 1;
  }

  void push(double error) {
    scores_.push_back(error);
    if (scores_.size() > kWindow) {
      ordered_.erase(std::lower_bound(ordered_.begin(), ordered_.end(), scores_.front()));
      scores_.erase(scores_.begin());
    }
    ordered_.insert(std::lower_bound(ordered_.begin(), ordered_.end(), error), error);
  }

  // Variance of the middle two thirds of the errors, as if normal: outliers do not count.
  double next_noise() const {
    const size_t count = ordered_.size();
    const double spread = 0.5 * (ordered_[84 * count / 100] - ordered_[16 * count / 100]);
    const double weight = static_cast<double>(count) / (static_cast<double>(count) + kPriorCount);
    return std::max(kLeastNoise, weight * spread * spread + (1 - weight) * kFirstNoise);
  }

  // How far above the median the percentile 1 - miss_rate lies, as a log ratio, at least 0.
  double next_tail() const {
    const double count = static_cast<double>(ordered_.size()), prior = plan_.tail_log;
    if (ordered_.empty()) return prior;
    const double rank = std::ceil((count + 1) * (1 - miss_rate_)) - 1;
    // Too few errors for this percentile: the largest one, or the prior.
    const double error = rank < count ? ordered_[static_cast<size_t>(rank)] : std::max(prior, ordered_.back());
    const double weight = count / (count + kPriorCount);
    return std::max(0.0, weight * error + (1 - weight) * prior);
  }

  const Plan& plan_;
  double shared_variance_, noise_ = kFirstNoise;
  std::vector<double> residual_, variance_, scores_, ordered_;
  double miss_rate_, tail_;
  int streak_ = 0, latest_ = -1, stay_ = 0, jump_ = 0;
};

}  // namespace elsa_edge
