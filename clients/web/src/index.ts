export { Bundle, type Manifest, type ReadFile, type Trust, type Variant } from "./bundle.js";
export { Controller, type Decision, type Observation, type Reason } from "./controller.js";
export { BundleError, InputError, ProfileError, RuntimeError } from "./errors.js";
export { type LevelFacts, makePlan, type Plan } from "./plan.js";
export { DEFAULT_POLICY, type Policy, policyFromQos } from "./policy.js";
export { type DeviceProfile, levelFacts, parseProfile } from "./profile.js";
export { AdaptiveSession, fetchFrom, type Feeds, type OpenOptions, type Runtime } from "./session.js";
export { prepareWasm, type WasmSettings } from "./wasm.js";
