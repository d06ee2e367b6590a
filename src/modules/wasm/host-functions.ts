/**
 * The functions of the import module `sigil_v1`: what a module may ask of the server. Pure. Source:
 * docs/spec/sandbox.md §4.
 */

/** A function that a module may import. */
export type OfferedFunction = {
  /** As an inspection writes it. */
  readonly type: string;
  /** Any one of them is enough; none is needed where it is absent. */
  readonly capabilities?: readonly string[];
};

export const hostFunctions: Readonly<Record<string, OfferedFunction>> = {
  canon_read: { type: "(i32, i32) -> (i32)", capabilities: ["canon.read"] },
  trust_check: { type: "(i32, i32, i32, i32) -> (i32)", capabilities: ["trust.check"] },
  answer: { type: "(i32, i32, i32) -> (i32)", capabilities: ["canon.read", "trust.check"] },
};

/** What a host function gives instead of a length. */
export const hostErrorCodes = {
  notFound: -1,
  denied: -2,
  invalid: -3,
  unavailable: -4,
  tooLarge: -5,
} as const;
