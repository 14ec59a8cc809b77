/** Errors for people: what was wrong, and what to do. */

/** The bundle is damaged, was changed, or is of a kind that this client does not know. */
export class BundleError extends Error {
  override readonly name = "BundleError";
}

/** The device profile asks for what cannot be held. */
export class ProfileError extends Error {
  override readonly name = "ProfileError";
}

/** The caller gave something that cannot be: an input of another shape, a level that does not exist. */
export class InputError extends Error {
  override readonly name = "InputError";
}

/** The runtime refused, or this page or program cannot run it. */
export class RuntimeError extends Error {
  override readonly name = "RuntimeError";
}
