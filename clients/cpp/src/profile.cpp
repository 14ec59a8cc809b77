// What a client reads of a device profile: the policy, the order of variants, and the measured table.
#include "elsa_edge.h"
#include "fields.h"

namespace elsa_edge {
namespace {

constexpr Fields kProfile([](const std::string& sentence) { throw ProfileError(sentence); });

// A key of `qos`: what it may be, and where in the policy it goes in which unit. Nothing there leaves the policy's own.
struct Key {
  const char* name;
  double low, high;
  double Policy::* number;
  int Policy::* whole;
  double unit;
};
constexpr Key kQos[] = {
    {"latency_budget_ms", 1e-6, kInfinity, &Policy::budget_ms, nullptr, 1},
    {"window_runs", 1, 1e6, nullptr, &Policy::window_runs, 1},
    {"memory_reserve_mb", 0, 1e12, &Policy::reserve_bytes, nullptr, 1e6},
    {"memory_hysteresis_mb", 0, 1e12, &Policy::hysteresis_bytes, nullptr, 1e6},
    {"memory_pressure_percent", 0, 100, &Policy::pressure_limit_percent, nullptr, 1},
    {"temperature_limit_c", -300, kInfinity, &Policy::temperature_limit_c, nullptr, 1},
    {"minimum_accuracy", 0, 1, &Policy::minimum_accuracy, nullptr, 1},
};
constexpr Key kSwitching[] = {
    {"margin", 0, 0.99, &Policy::margin, nullptr, 1},
    {"up_margin", 0, 0.99, &Policy::up_margin, nullptr, 1},
    {"up_after_runs", 1, 1e6, nullptr, &Policy::up_after_runs, 1},
    {"dwell_ms", 0, 1e12, &Policy::dwell_ms, nullptr, 1},
    {"discard_runs", 0, 1e6, nullptr, &Policy::discard_runs, 1},
    {"idle_gap_ms", 0, 1e12, &Policy::idle_gap_ms, nullptr, 1},
};

void read_keys(const Json& section, const Key* begin, const Key* end, Policy& policy) {
  if (section.is(Json::Kind::kNull)) return;
  kProfile.object({"qos"}, section);
  for (const Key* key = begin; key != end; ++key) {
    const Json& value = section.at(key->name);
    if (value.is(Json::Kind::kNull)) continue;
    const double number = key->unit * kProfile.number({"qos: ", key->name}, value, key->low, key->high);
    if (key->number != nullptr) policy.*key->number = number;
    if (key->whole != nullptr) policy.*key->whole = static_cast<int>(number);
  }
}

Policy policy_of(const Json& qos) {
  Policy policy;
  read_keys(qos, std::begin(kQos), std::end(kQos), policy);
  read_keys(qos.at("switching"), std::begin(kSwitching), std::end(kSwitching), policy);
  const double percentile = kProfile.number({"qos: latency_percentile"}, qos.at("latency_percentile"), 50, 99.999, 95);
  policy.allowed_miss_rate = (100 - percentile) / 100;
  return policy;
}

void read_measured(const Json& row, MeasuredLevel& level) {
  kProfile.object({"measured.levels"}, row);
  const auto maybe = [&](const char* key) { return kProfile.maybe({"measured.levels: ", key}, row.at(key), 0, 1e15); };
  level.name = kProfile.text({"measured.levels: name"}, row.at("name"));
  level.p50_ms = maybe("p50_ms");
  level.p95_ms = maybe("p95_ms");
  level.switch_ms = maybe("switch_ms");
  level.memory_bytes = maybe("memory_bytes");
  level.accuracy = maybe("accuracy");
}

}  // namespace

Profile parse_profile(const std::string& text) {
  Json top;
  try {
    top = Json::parse_profile(text);
  } catch (const std::invalid_argument& error) {
    fail<ProfileError>(
        {"The device profile cannot be read (", error.what(),
         "). This client reads profiles as elsa-edge writes them; an edited one becomes such with elsa-edge build."});
  }
  Profile profile;
  profile.name = kProfile.text({"name"}, top.at("name"));
  if (!top.at("variants").is(Json::Kind::kNull)) {
    for (const Json& name : kProfile.list({"variants"}, top.at("variants")))
      profile.variants.push_back(kProfile.text({"variants"}, name));
  }
  profile.policy = policy_of(top.at("qos"));
  const Json& runtime = top.at("runtime");
  if (!runtime.is(Json::Kind::kNull)) {
    kProfile.object({"runtime"}, runtime);
    profile.threads = static_cast<int>(kProfile.number({"runtime.threads"}, runtime.at("threads"), 1, 1024, 1));
    if (!runtime.at("choice").is(Json::Kind::kNull))
      profile.choice = kProfile.text({"runtime.choice"}, runtime.at("choice"));
  }
  const Json& measured = top.at("measured");
  if (!measured.is(Json::Kind::kNull)) {
    kProfile.object({"measured"}, measured);
    if (!measured.at("variant").is(Json::Kind::kNull))
      profile.measured_variant = kProfile.text({"measured.variant"}, measured.at("variant"));
    const std::vector<Json>& rows = kProfile.list({"measured.levels"}, measured.at("levels"));
    profile.measured.resize(rows.size());
    for (size_t i = 0; i < rows.size(); ++i) read_measured(rows[i], profile.measured[i]);
  }
  return profile;
}

// Joins the ladder with what was measured on this device for this variant; another table is ignored.
std::vector<LevelFacts> level_facts(const Manifest& manifest, const Profile& profile, const std::string& variant) {
  bool own = profile.measured.size() == manifest.ladder.size() && profile.measured_variant.value_or(variant) == variant;
  for (size_t k = 0; own && k < manifest.ladder.size(); ++k) own = profile.measured[k].name == manifest.ladder[k].name;
  std::vector<LevelFacts> facts(manifest.ladder.size());
  for (size_t k = 0; k < manifest.ladder.size(); ++k) {
    const LevelEntry& level = manifest.ladder[k];
    const MeasuredLevel row = own ? profile.measured[k] : MeasuredLevel{};
    const double work = level.flops_fraction.value_or(level.density.value_or(1 - level.sparsity));
    facts[k] = {level.name,
                work,
                row.p50_ms,
                row.p95_ms,
                row.switch_ms.value_or(0),
                row.memory_bytes,
                row.accuracy ? row.accuracy : level.accuracy};
  }
  return facts;
}

}  // namespace elsa_edge
