// What a client reads of a device profile: the policy, the order of variants, and the measured table.
#include "elsa_edge.h"
#include "fields.h"

namespace elsa_edge {
namespace {

using Profiled = Fields<ProfileError>;

Policy policy_of(const Json& qos) {
  Policy policy;
  if (qos.is(Json::Kind::kNull)) return policy;
  Profiled::object("qos", qos);
  const auto number = [&](const Json& section, const char* key, double low, double high, double otherwise) {
    return Profiled::number(std::string("qos: ") + key, section.at(key), low, high, otherwise);
  };
  policy.budget_ms = number(qos, "latency_budget_ms", 1e-6, kInfinity, kInfinity);
  policy.allowed_miss_rate = (100 - number(qos, "latency_percentile", 50, 99.999, 95)) / 100;
  policy.window_runs = static_cast<int>(number(qos, "window_runs", 1, 1e6, policy.window_runs));
  policy.reserve_bytes = 1e6 * number(qos, "memory_reserve_mb", 0, 1e12, 32);
  policy.hysteresis_bytes = 1e6 * number(qos, "memory_hysteresis_mb", 0, 1e12, 16);
  policy.pressure_limit_percent = number(qos, "memory_pressure_percent", 0, 100, policy.pressure_limit_percent);
  policy.temperature_limit_c = number(qos, "temperature_limit_c", -300, kInfinity, kInfinity);
  policy.minimum_accuracy = number(qos, "minimum_accuracy", 0, 1, 0);
  const Json& switching = qos.at("switching");
  if (switching.is(Json::Kind::kNull)) return policy;
  Profiled::object("qos.switching", switching);
  policy.margin = number(switching, "margin", 0, 0.99, policy.margin);
  policy.up_margin = number(switching, "up_margin", 0, 0.99, policy.up_margin);
  policy.up_after_runs = static_cast<int>(number(switching, "up_after_runs", 1, 1e6, policy.up_after_runs));
  policy.dwell_ms = number(switching, "dwell_ms", 0, 1e12, policy.dwell_ms);
  policy.discard_runs = static_cast<int>(number(switching, "discard_runs", 0, 1e6, policy.discard_runs));
  policy.idle_gap_ms = number(switching, "idle_gap_ms", 0, 1e12, policy.idle_gap_ms);
  return policy;
}

MeasuredLevel measured_of(const Json& row) {
  Profiled::object("measured.levels", row);
  const auto maybe = [&](const char* key) {
    return Profiled::maybe(std::string("measured.levels: ") + key, row.at(key), 0, 1e15);
  };
  return {Profiled::text("measured.levels: name", row.at("name")),
          maybe("p50_ms"),
          maybe("p95_ms"),
          maybe("switch_ms"),
          maybe("memory_bytes"),
          maybe("accuracy")};
}

}  // namespace

Profile parse_profile(const std::string& text) {
  Json top;
  try {
    top = Json::parse_profile(text);
  } catch (const std::invalid_argument& error) {
    throw ProfileError(
        std::string("The device profile cannot be read (") + error.what() +
        "). This client reads profiles as elsa-edge writes them; an edited one becomes such with elsa-edge build.");
  }
  Profile profile;
  profile.name = Profiled::text("name", top.at("name"));
  if (!top.at("variants").is(Json::Kind::kNull)) {
    for (const Json& name : Profiled::list("variants", top.at("variants")))
      profile.variants.push_back(Profiled::text("variants", name));
  }
  profile.policy = policy_of(top.at("qos"));
  const Json& runtime = top.at("runtime");
  if (!runtime.is(Json::Kind::kNull)) {
    Profiled::object("runtime", runtime);
    profile.threads = static_cast<int>(Profiled::number("runtime.threads", runtime.at("threads"), 1, 1024, 1));
    if (!runtime.at("choice").is(Json::Kind::kNull))
      profile.choice = Profiled::text("runtime.choice", runtime.at("choice"));
  }
  const Json& measured = top.at("measured");
  if (!measured.is(Json::Kind::kNull)) {
    Profiled::object("measured", measured);
    if (!measured.at("variant").is(Json::Kind::kNull))
      profile.measured_variant = Profiled::text("measured.variant", measured.at("variant"));
    for (const Json& row : Profiled::list("measured.levels", measured.at("levels")))
      profile.measured.push_back(measured_of(row));
  }
  return profile;
}

// Joins the ladder with what was measured on this device for this variant; another table is ignored.
std::vector<LevelFacts> level_facts(const Manifest& manifest, const Profile& profile, const std::string& variant) {
  bool own = profile.measured.size() == manifest.ladder.size() && profile.measured_variant.value_or(variant) == variant;
  for (size_t k = 0; own && k < manifest.ladder.size(); ++k) own = profile.measured[k].name == manifest.ladder[k].name;
  std::vector<LevelFacts> facts;
  for (size_t k = 0; k < manifest.ladder.size(); ++k) {
    const LevelEntry& level = manifest.ladder[k];
    const MeasuredLevel row = own ? profile.measured[k] : MeasuredLevel{};
    const double work = level.flops_fraction.value_or(level.density.value_or(1 - level.sparsity));
    facts.push_back({level.name, work, row.p50_ms, row.p95_ms, row.switch_ms.value_or(0), row.memory_bytes,
                     row.accuracy ? row.accuracy : level.accuracy});
  }
  return facts;
}

}  // namespace elsa_edge
