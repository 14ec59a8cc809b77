// One decision per run: which level next. Twin of elsa_edge/control/{begin,climb,decide}.py; held to it by golden traces.
//
// Order of the questions: what did the run teach; which levels does the memory allow; which of those hold the budget; is
// the present one among them. Down at once. Up only after a stay, a number of fitting runs, and not right after a failed
// attempt. When nothing fits, the fastest level (or the smallest) runs and `feasible` is false.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "elsa_edge.h"
#include "estimate.h"
#include "text.h"

namespace elsa_edge {
namespace {

constexpr double kFirstStayRuns = 50, kLeastStayRuns = 8, kLeastMs = 1e-6;
constexpr int kLargestBackoff = 10, kLeastWindowRuns = 20, kTrial = 4, kLongestTrial = 6;

const Plan& checked(const Plan& plan) {
  if (plan.candidates.empty() || plan.policy.window_runs < 1)
    fail<ProfileError>({"A plan needs a level, and window_runs of at least 1."});
  return plan;
}

}  // namespace

// The latest runs, and how many of them were so: a ring of flags with its sum.
class Window {
 public:
  explicit Window(int size) : flags_(static_cast<size_t>(size)) {}
  int length = 0, count = 0;

  void push(bool flag) {
    if (length == static_cast<int>(flags_.size())) {
      count -= flags_[next_];
    } else {
      ++length;
    }
    flags_[next_] = flag;
    count += flag;
    next_ = (next_ + 1) % flags_.size();
  }

 private:
  std::vector<char> flags_;
  size_t next_ = 0;
};

struct Controller::State {
  const Plan plan;
  Decision decision;
  int position = 0;
  Estimate estimate;
  int last_level = -1;
  double last_ms;
  int gaps = 0, cold_left;
  int64_t runs = 0;
  int runs_here = 0;
  double mean_stay_runs = kFirstStayRuns, switched_ms;
  int fits_above = 0;
  Window misses, avoidable;
  std::vector<int> failures;
  std::vector<double> blocked_until_ms;
  int trial_left = 0;
  int64_t probe_run = 0;
  int probe_left = 0;
  double pressure_ms = -kInfinity;
  std::vector<double> predicted;
  std::vector<char> permitted;

  State(Plan&& given, double now_ms, std::optional<double> available_bytes)
      : plan(std::move(given)),
        estimate(checked(plan)),
        last_ms(now_ms),
        cold_left(plan.policy.discard_runs),
        switched_ms(now_ms),
        misses(plan.policy.window_runs),
        avoidable(plan.policy.window_runs),
        failures(plan.candidates.size()),
        blocked_until_ms(plan.candidates.size(), -kInfinity),
        predicted(plan.candidates.size()),
        permitted(plan.candidates.size()) {
    begin(available_bytes ? *available_bytes - plan.policy.reserve_bytes : kInfinity);
  }

  int count() const { return static_cast<int>(plan.candidates.size()); }
  double smallest() const { return *std::min_element(plan.memory_bytes.begin(), plan.memory_bytes.end()); }

  template <typename Condition>
  void permit(Condition condition) {
    for (int p = 0; p < count(); ++p) permitted[p] = condition(p);
  }
  bool any_permitted() const { return std::find(permitted.begin(), permitted.end(), 1) != permitted.end(); }

  void begin(double head) {
    const bool known = plan.any_measured;
    const double least_bytes = smallest(), limit = plan.stay_log_ms;
    for (int p = 0; p < count(); ++p) predicted[p] = plan.reference_log_ms[p] + plan.tail_log;
    permit([&](int p) { return plan.memory_bytes[p] - least_bytes <= head; });
    if (!any_permitted()) permit([&](int p) { return plan.memory_bytes[p] == least_bytes; });
    int fitting = -1, fastest = -1;
    for (int p = 0; p < count(); ++p) {
      if (!permitted[p]) continue;
      if ((known || limit == kInfinity) && predicted[p] <= limit) fitting = p;
      if (fastest < 0 || predicted[p] < predicted[fastest]) fastest = p;
    }
    position = fitting >= 0 ? fitting : fastest;
    decision.level = plan.candidates[position];
    decision.feasible = (!known || predicted[position] <= limit) && head >= 0;
    if (known) decision.predicted_ms = std::exp(predicted[position]);
  }

  void observe(const Observation& seen) {
    check(seen);
    take_in(seen);
    const bool known = estimate.runs > 0 || plan.any_measured;
    expect(known);
    const char* forced = memory_gate(seen);
    int target = position;
    const char* reason = "hold";
    bool feasible = true;
    if (forced != nullptr) {
      feasible = leave(forced, target, reason);
    } else if (predicted[position] > plan.stay_log_ms) {
      feasible = leave("down-latency", target, reason);
      if (!feasible && target == position) try_another(seen, target, reason);
    } else {
      fits_above = upward(seen, target, reason);
      // A probe where nothing is known to fit promises nothing.
      feasible = probe_left == 0 || std::any_of(predicted.begin(), predicted.begin() + position,
                                                [&](double below) { return below <= plan.stay_log_ms; });
    }
    if (target != position) move(seen, target, reason);
    decision.level = plan.candidates[target];
    decision.reason = reason;
    decision.feasible = feasible;
    decision.predicted_ms.reset();
    if (std::isfinite(predicted[target])) decision.predicted_ms = std::exp(predicted[target]);
    decision.slowdown = std::exp(estimate.shared);
    decision.miss_rate = misses.length > 0 ? static_cast<double>(misses.count) / misses.length : 0;
  }

  void check(const Observation& seen) const {
    if (!std::isfinite(seen.now_ms)) fail<InputError>({"The time of an observation must be finite."});
    if (seen.latency_ms.has_value() != seen.level.has_value()) {
      fail<InputError>({"An observation has a level and a latency, or neither of them."});
    }
    if (seen.latency_ms && !(std::isfinite(*seen.latency_ms) && *seen.latency_ms >= 0)) {
      fail<InputError>({"A latency must be a finite number of milliseconds, 0 or more."});
    }
    const int last = static_cast<int>(plan.levels.size()) - 1;
    if (seen.level && (*seen.level < 0 || *seen.level > last)) {
      fail<InputError>({"The observed level does not exist: expected 0 to ", std::to_string(last), ", found ",
                        std::to_string(*seen.level), "."});
    }
  }

  // Counts the run, and learns from it unless it was cold.
  void take_in(const Observation& seen) {
    if (!seen.level) return;
    const Policy& policy = plan.policy;
    const int level = *seen.level;
    const double latency_ms = *seen.latency_ms;
    const bool first = last_level < 0;
    const bool paused = !first && seen.now_ms - latency_ms - last_ms > policy.idle_gap_ms;
    gaps = paused ? gaps + 1 : 0;
    if ((!first && level != last_level) || gaps == 1) cold_left = policy.discard_runs;
    const int at = plan.positions[level];
    const bool here = at == position;
    const bool missed = latency_ms > policy.budget_ms;
    // A miss that the fastest level would have had as well speaks against no level.
    const bool avoided = missed && (at < 0 || latency_ms * plan.lead[at] <= policy.budget_ms);
    if (cold_left == 0 && at >= 0) {
      estimate.learn(at, std::log(std::max(latency_ms, kLeastMs)), avoided);
      if (here) probe_left = std::max(0, probe_left - 1);
    }
    // The way up has held: forget one failure.
    if (trial_left == 1 && here) failures[position] = std::max(0, failures[position] - 1);
    misses.push(missed);
    avoidable.push(avoided);
    last_level = level;
    last_ms = std::max(last_ms, seen.now_ms);
    cold_left = std::max(0, cold_left - 1);
    ++runs;
    runs_here += here;
    trial_left = std::max(0, trial_left - here);
  }

  // Log ms of each candidate's allowed percentile, with the cost of switching spread over a usual stay.
  void expect(bool known) {
    if (!known) {
      std::fill(predicted.begin(), predicted.end(), kInfinity);
      predicted[position] = -kInfinity;
      return;
    }
    estimate.predict(position, mean_stay_runs, predicted);
    // A probe: stay until warm runs were seen.
    if (probe_left > 0 || !estimate.is_known(position)) predicted[position] = -kInfinity;
  }

  // Sets which candidates the memory allows; returns the reason to leave the present one if there is one.
  const char* memory_gate(const Observation& seen) {
    const Policy& policy = plan.policy;
    const auto& memory = plan.memory_bytes;
    const int here = position;
    const double head = seen.available_bytes ? *seen.available_bytes - policy.reserve_bytes : kInfinity;
    if (head < 0) {
      permit([&](int p) { return memory[here] - memory[p] >= -head; });
      if (any_permitted()) return "down-memory";
      const double least_bytes = smallest();
      // Nothing smaller: at least nothing larger in value either.
      permit([&](int p) { return memory[p] == least_bytes && (memory[here] != least_bytes || p <= here); });
      return "infeasible-memory";
    }
    if (seen.pressure_percent && *seen.pressure_percent >= policy.pressure_limit_percent) {
      permit([&](int p) { return memory[p] < memory[here]; });
      // The figure lags ten seconds behind: one step at a time.
      if (any_permitted() && seen.now_ms - pressure_ms >= policy.dwell_ms) return "down-pressure";
      permit([&](int p) { return memory[p] <= memory[here] && p <= here; });
      return nullptr;
    }
    const double limit = head >= plan.ample_bytes ? kInfinity : memory[here] + head - policy.hysteresis_bytes;
    permit([&](int p) { return memory[p] <= memory[here] || memory[p] <= limit; });
    return nullptr;
  }

  // Where to go from a level that cannot stay: the most valuable that fits, or else the fastest.
  bool leave(const char* why, int& target, const char*& reason) const {
    const bool for_latency = std::strcmp(why, "down-latency") == 0;
    reason = why;
    for (int p = count() - 1; p >= 0; --p) {
      if (!permitted[p] || predicted[p] > plan.stay_log_ms) continue;
      target = p;
      if (for_latency && p > position) reason = "better";
      return std::strcmp(why, "infeasible-memory") != 0;
    }
    target = least_late();
    if (for_latency) reason = "infeasible-latency";
    return false;
  }

  // The level for when none fits: the fastest as predicted, or a sparser one that was not tried yet.
  //
  // A guess must not hold the rule at a level that was seen to be late: what should be faster is tried, then judged. Nor
  // does it lure it to a denser one: that is a climb, made when it was observed and this one has had its runs.
  int least_late() const {
    const std::vector<double>& reference = plan.reference_log_ms;
    int fastest = -1;
    // Equally fast: the more valuable one.
    for (int p = count() - 1; p >= 0; --p) {
      if (permitted[p] && (fastest < 0 || predicted[p] < predicted[fastest])) fastest = p;
    }
    if (fastest > position && permitted[position]) {
      const bool stayed = runs_here >= plan.policy.up_after_runs;
      if (!stayed || !estimate.is_tried(fastest)) fastest = position;
    }
    int least = fastest;
    for (int p = 0; p < fastest; ++p) {
      if (permitted[p] && reference[p] < reference[least] && !estimate.is_tried(p)) least = p;
    }
    return least;
  }

  // A denser level of unknown latency is tried now and then where nothing fits: sparser need not be faster.
  void try_another(const Observation& seen, int& target, const char*& reason) const {
    const Policy& policy = plan.policy;
    const bool hot = seen.temperature_c && *seen.temperature_c >= policy.temperature_limit_c;
    const bool settled = runs_here >= policy.up_after_runs && seen.now_ms - switched_ms >= policy.dwell_ms;
    if (!settled || hot || !is_rare()) return;
    for (int p = position + 1; p < count(); ++p) {
      if (!permitted[p] || blocked_until_ms[p] > seen.now_ms || estimate.is_known(p)) continue;
      target = p;
      reason = "probe";
      return;
    }
  }

  // Sets the level to go up to, or the present one, and the reason; returns for how long a better one has fitted.
  int upward(const Observation& seen, int& target, const char*& reason) const {
    const Policy& policy = plan.policy;
    const int here = position, top = count() - 1;
    const double limit = plan.up_log_ms, present = predicted[here];
    target = here;
    reason = "hold";
    // Nothing above, or still probing.
    if (here == top || (present == -kInfinity && limit < kInfinity)) return 0;
    for (int p = top; p > here; --p) {
      if (!permitted[p] || predicted[p] > present) continue;
      target = p;
      reason = "better";
      return 0;
    }
    // Unknown latencies are climbed one by one: each teaches about the next.
    int highest = top;
    for (int p = top; !plan.all_measured && p > here; --p) {
      if (permitted[p] && !estimate.is_known(p)) highest = p;
    }
    bool fits = false, roomy = false;
    int open_now = -1;
    for (int p = here + 1; p <= highest; ++p) {
      if (predicted[p] > limit) continue;
      fits = true;
      if (!permitted[p]) continue;
      roomy = true;
      if (blocked_until_ms[p] <= seen.now_ms) open_now = p;
    }
    const int fitted = roomy ? fits_above + 1 : 0;
    int above = here + 1;
    while (above <= top && !permitted[above]) ++above;
    const bool probe = above <= top && worth_a_probe(present, above) && may_probe();
    if (!roomy && !probe) {
      if (fits) reason = "hold-memory";
      return 0;
    }
    if (seen.temperature_c && *seen.temperature_c >= policy.temperature_limit_c) return reason = "hold-heat", fitted;
    if (seen.now_ms - switched_ms < policy.dwell_ms) return reason = "hold-dwell", fitted;
    if (too_many_misses()) return reason = "hold-misses", fitted;
    if (open_now >= 0 && fitted >= policy.up_after_runs) return target = open_now, reason = "up", 0;
    if (probe && blocked_until_ms[above] <= seen.now_ms) return target = above, reason = "probe", 0;
    reason = open_now >= 0 ? "hold-dwell" : "hold-backoff";
    return fitted;
  }

  // Whether the level above may fit though nothing says so: it is unknown, or believed too slow for long.
  bool worth_a_probe(double present, int above) const {
    if (!estimate.is_known(above)) return present <= plan.up_log_ms;
    if (!estimate.is_stale(above)) return false;
    return present + plan.reference_log_ms[above] - plan.reference_log_ms[position] <= plan.up_log_ms;
  }

  // Whether a probe's cold and first warm runs could all miss the budget without breaking the policy.
  bool may_probe() const {
    const Policy& policy = plan.policy;
    if (estimate.seen_run[position] < 0) return false;
    if (avoidable.count + probe_runs() <= policy.allowed_miss_rate * policy.window_runs) return true;
    // A window too strict for any probe: as rarely as the allowed rate asks for.
    return is_rare();
  }

  // Whether the latest probe is so long ago that another costs no more misses than may be.
  bool is_rare() const { return static_cast<double>(runs - probe_run) * plan.policy.allowed_miss_rate >= probe_runs(); }

  int probe_runs() const { return plan.policy.discard_runs + 2; }

  bool too_many_misses() const {
    if (misses.length < std::min(plan.policy.window_runs, kLeastWindowRuns)) return false;
    return avoidable.count > plan.policy.allowed_miss_rate * misses.length;
  }

  void move(const Observation& seen, int target, const char* reason) {
    const Policy& policy = plan.policy;
    const int here = position;
    const bool probing = std::strcmp(reason, "probe") == 0;
    // Whatever it failed for: memory that a level takes in truth, or a stall it causes, shows only once it runs.
    if (trial_left > 0 && target < here) {
      ++failures[here];
      const double stay_ms = std::max(policy.dwell_ms, seen.now_ms - switched_ms);
      blocked_until_ms[here] = seen.now_ms + std::ldexp(stay_ms, std::min(failures[here], kLargestBackoff));
    }
    mean_stay_runs = std::max(kLeastStayRuns, mean_stay_runs + 0.2 * (runs_here - mean_stay_runs));
    position = target;
    runs_here = 0;
    switched_ms = seen.now_ms;
    fits_above = 0;
    // After failures a level must hold for longer before one is forgotten.
    trial_left = target > here ? kTrial * policy.up_after_runs << std::min(failures[target], kLongestTrial) : 0;
    if (probing) probe_run = runs;
    probe_left = probing ? 1 + plan.measured[target] : 0;
    if (std::strcmp(reason, "down-pressure") == 0) pressure_ms = seen.now_ms;
  }
};

Controller::Controller(Plan plan, double now_ms, std::optional<double> available_bytes)
    : state_(std::make_unique<State>(std::move(plan), now_ms, available_bytes)) {}
Controller::Controller(Controller&&) noexcept = default;
Controller::~Controller() = default;

const Decision& Controller::observe(const Observation& observation) {
  state_->observe(observation);
  return state_->decision;
}
const Decision& Controller::decision() const { return state_->decision; }
const Plan& Controller::plan() const { return state_->plan; }

}  // namespace elsa_edge
