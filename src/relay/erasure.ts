/** What erasing a tenant from a relay's destination is asked to do, and what it says afterwards. Pure. */
import type { Erased, RelayError } from "./destination.ts";

export type ErasureRequest = {
  /** The ledger has erased it. */
  readonly tenant: string;
  /** `count` changes nothing; `purge old` also removes older generations where events cannot be changed in place. */
  readonly action: "count" | "erase" | "purge old";
};

export type ErasureReport = {
  readonly name: string;
  readonly destination: string;
  readonly outcome: /** Nothing of the tenant was there. */
    | "clean"
    /** All of it is gone. */
    | "erased"
    /** Some of it is there: `cannot` says what takes it. */
    | "left"
    /** The destination takes nothing back. */
    | "unable"
    | "failed";
  /** Events of the tenant with more than an erased record has, before and now; null if not known. */
  readonly found: number | null;
  readonly left: number | null;
  /** The relay's, afterwards. */
  readonly generation: number;
  /** What was not erased, for people. */
  readonly cannot: readonly string[];
  /** As `kind: rule`. */
  readonly error: string | null;
};

type Place = Pick<ErasureReport, "name" | "destination" | "generation">;

const unable = "the destination takes nothing back: whoever runs it must remove what it received";

const leftOf = ({ left, isInPlace }: Erased, generation: number, begins: boolean): readonly string[] => {
  if (left === 0) return [];
  if (isInPlace) return [`${left} events, which would be changed in their place`];
  return [
    `${left} messages of generations before ${begins ? generation + 1 : generation}: once consumers are past them, --purge-old overwrites them and removes those generations`,
  ];
};

/** @param begins whether a new generation would begin, in a dry run. */
export const reportErased = (place: Place, erased: Erased, begins = false): ErasureReport => {
  const { found, left, outOfReach } = erased;
  const cannot = [...leftOf(erased, place.generation, begins), ...outOfReach];
  if (erased.isBeyondReach === true)
    return { ...place, outcome: "unable", found, left, cannot: [unable, ...cannot], error: null };
  const done = found === 0 ? "clean" : "erased";
  return { ...place, outcome: left > 0 ? "left" : done, found, left, cannot, error: null };
};

export const reportUnable = (place: Place): ErasureReport => ({
  ...place,
  outcome: "unable",
  found: null,
  left: null,
  cannot: [unable],
  error: null,
});

export const reportFailed = (place: Place, { kind, rule }: RelayError): ErasureReport => ({
  ...place,
  outcome: "failed",
  found: null,
  left: null,
  cannot: [],
  error: `${kind}: ${rule}`,
});
