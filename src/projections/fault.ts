/**
 * Why a projection stops: one closed union, and the exception that carries it. Pure. An error names positions and
 * rules, never a payload or a password.
 */
import { Fault } from "@sigil/core/errors";

export type ProjectionError =
  /** The lane lost a message, or got them in another order. `taken` is the lane's newest; null before the first. */
  | {
      readonly kind: "linkMissing";
      readonly lane: string;
      readonly position: bigint;
      readonly prev: bigint | null;
      readonly taken: bigint | null;
      /** What it may be, of a source that knows. */
      readonly hint?: string;
    }
  /** The links hold and a place is missing all the same: somebody dropped a message and linked the rest anew. */
  | {
      readonly kind: "positionMissing";
      readonly expected: bigint;
      readonly found: bigint;
      readonly hint?: string;
    }
  /** `step` is the verification step that failed; docs/spec/record.md. */
  | {
      readonly kind: "recordRefused";
      readonly position: bigint;
      readonly step: string;
      readonly rule: string;
    }
  | { readonly kind: "checkpointRefused"; readonly rule: string }
  /** Places came as erased that no erasure of the ledger accounts for. */
  | { readonly kind: "withheld"; readonly erased: bigint; readonly reported: bigint }
  /** The newest checkpoint that was compared is of `checked` places, and what is above is not held by any. */
  | { readonly kind: "unchecked"; readonly size: bigint; readonly checked: bigint }
  /** Hex. The places taken are not those of the checkpoint. */
  | {
      readonly kind: "rootDiffers";
      readonly size: bigint;
      readonly computed: string;
      readonly signed: string;
    }
  /** The projection was filled from another ledger. */
  | { readonly kind: "otherLedger"; readonly rule: string }
  /** Another one holds the projection's lock. */
  | { readonly kind: "consumerRunning" }
  /** Another consumer moved the cursor meanwhile. */
  | { readonly kind: "cursorMoved"; readonly expected: bigint; readonly found: bigint }
  /** What is stored is not what was projected. */
  | { readonly kind: "projectionDamaged"; readonly rule: string }
  /** The record holds what the database has no column for. */
  | { readonly kind: "unstorable"; readonly position: bigint; readonly rule: string }
  /** `code` is the database's own, a SQLSTATE for one. */
  | { readonly kind: "databaseFailed"; readonly code: string; readonly rule: string };

const placeOf = (position: bigint | null): string => (position === null ? "nothing" : `position ${position}`);

/** The sentence a person reads: what is wrong, where, and the rule. */
const describeProjectionError = (error: ProjectionError): string => {
  switch (error.kind) {
    case "linkMissing":
      return (
        `lane ${error.lane}: position ${error.position} follows ${placeOf(error.prev)}, ` +
        `and ${placeOf(error.taken)} was taken last: ${error.hint ?? "a message is missing or out of order"}`
      );
    case "positionMissing":
      return (
        `position ${error.expected} is missing: position ${error.found} came in its place` +
        (error.hint === undefined ? "" : `: ${error.hint}`)
      );
    case "recordRefused":
      return `the record at position ${error.position} fails ${error.step}: ${error.rule}`;
    case "checkpointRefused":
      return `the checkpoint does not hold: ${error.rule}`;
    case "withheld":
      return (
        `${error.erased} records came as erased, and the ledger's erasures account for ${error.reported}: ` +
        "the source withholds records, or ends before their erasure is reported"
      );
    case "unchecked":
      return (
        `the source has ${error.size} records and no checkpoint that holds them, the newest being of ${error.checked}: ` +
        "a record may be missing above it, or the relay has not come so far yet"
      );
    case "rootDiffers":
      return (
        `at size ${error.size} the root of what was read is ${error.computed}, and the ledger signed ${error.signed}: ` +
        `a message was dropped, changed or reordered below position ${error.size}`
      );
    case "otherLedger":
    case "projectionDamaged":
      return error.rule;
    case "consumerRunning":
      return "another consumer writes the same projection: one at a time";
    case "cursorMoved":
      return `another consumer writes the same projection: its cursor stands at ${error.found}, not at ${error.expected}`;
    case "unstorable":
      return `the record at position ${error.position} cannot be stored: ${error.rule}`;
    case "databaseFailed":
      return `the database failed (${error.code}): ${error.rule}`;
  }
};

export class ProjectionFault extends Fault<ProjectionError> {
  constructor(error: ProjectionError, options?: ErrorOptions) {
    super(error, describeProjectionError(error), options);
    this.name = "ProjectionFault";
  }
}

/** @throws ProjectionFault always. */
export const failProjection = (error: ProjectionError, options?: ErrorOptions): never => {
  throw new ProjectionFault(error, options);
};

/** Runs work on a database: what it throws beside faults of a projection is a failure of the database. */
export const guardedBy =
  (describe: (cause: unknown) => { readonly code: string; readonly rule: string }) =>
  async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (cause) {
      if (cause instanceof ProjectionFault) throw cause;
      throw new ProjectionFault({ kind: "databaseFailed", ...describe(cause) }, { cause });
    }
  };
