/** The functions of the import module `sigil_v1`, a module's host calls. Pure. Source: docs/spec/sandbox.md §4. */

/** An importable function. */
export type OfferedFunction = {
  /** Its type, as in an inspection. */
  readonly type: string;
  /** Any one suffices; absent if none is needed. */
  readonly capabilities?: readonly string[];
};

export const hostFunctions: Readonly<Record<string, OfferedFunction>> = {
  canon_read: { type: "(i32, i32) -> (i32)", capabilities: ["canon.read"] },
  trust_check: { type: "(i32, i32, i32, i32) -> (i32)", capabilities: ["trust.check"] },
  answer: { type: "(i32, i32, i32) -> (i32)", capabilities: ["canon.read", "trust.check"] },
};

/** Error codes that a host function returns instead of a length. */
export const hostErrorCodes = {
  notFound: -1,
  denied: -2,
  invalid: -3,
  unavailable: -4,
  tooLarge: -5,
} as const;
