/**
 * Errors of bytes, records, keys, proofs and statements, as one closed union, and the exception that carries them.
 * Pure. An error never holds a payload, a key or a secret: names, numbers and rules only.
 */

export type CoreError =
  /** Bytes outside the profile of canonical CBOR. `offset` in bytes from the start. */
  | { readonly kind: "malformedCbor"; readonly offset: number; readonly rule: string }
  /** A value that has no canonical encoding. `path` is a JSON pointer into the value. */
  | { readonly kind: "unencodableValue"; readonly path: string; readonly rule: string }
  | { readonly kind: "malformedCose"; readonly rule: string }
  | { readonly kind: "malformedRecord"; readonly field: string; readonly rule: string }
  | { readonly kind: "malformedKey"; readonly rule: string }
  | { readonly kind: "malformedCheckpoint"; readonly rule: string }
  | { readonly kind: "malformedModel"; readonly field: string; readonly rule: string }
  /** A request field that breaks a rule; `field` as the proto names it, dotted, indexes in brackets. */
  | { readonly kind: "invalidField"; readonly field: string; readonly rule: string }
  | { readonly kind: "leafOutOfRange"; readonly leafIndex: bigint; readonly treeSize: bigint }
  | { readonly kind: "sizeOutOfRange"; readonly size: bigint; readonly treeSize: bigint }
  /** A stored record that fails verification. `step` is the verification step that failed. */
  | {
      readonly kind: "recordCorrupt";
      readonly position: bigint;
      readonly step: string;
      readonly rule: string;
      /** Id of the record, if an index names it. */
      readonly id?: string;
    }
  /** `reason` names the outcome, for example PROPOSAL_WITHDRAWN. */
  | {
      readonly kind: "proposalEnded";
      readonly reason: string;
      readonly proposal: string;
      readonly outcome: string;
    }
  /** A statement whose signer is unknown or may not attest. `reason` is stable; docs/spec/quorum.md lists them. */
  | { readonly kind: "attestationForged"; readonly reason: string; readonly rule: string }
  /** A statement by a witness that has already attested. */
  | { readonly kind: "attestationRepeated"; readonly reason: string; readonly rule: string }
  /** A valid statement that does not count for this proposal, or a commit that is not possible. */
  | { readonly kind: "attestationRefused"; readonly reason: string; readonly rule: string };

/** The message for people: what is wrong, where, and the rule. */
export const describeCoreError = (error: CoreError): string => {
  switch (error.kind) {
    case "malformedCbor":
      return `malformed CBOR at offset ${error.offset}: ${error.rule}`;
    case "unencodableValue":
      return `value at "${error.path}" cannot be encoded: ${error.rule}`;
    case "malformedCose":
      return `malformed COSE_Sign1: ${error.rule}`;
    case "malformedRecord":
      return `malformed record: ${error.field} ${error.rule}`;
    case "malformedKey":
      return `malformed key: ${error.rule}`;
    case "malformedCheckpoint":
      return `malformed checkpoint: ${error.rule}`;
    case "malformedModel":
      return `malformed model: ${error.field} ${error.rule}`;
    case "invalidField":
      return `${error.field} ${error.rule}`;
    case "leafOutOfRange":
      return `leaf ${error.leafIndex} is not below tree size ${error.treeSize}`;
    case "sizeOutOfRange":
      return `size ${error.size} is outside the tree of size ${error.treeSize}`;
    case "recordCorrupt":
      return `record at position ${error.position} fails ${error.step}: ${error.rule}`;
    case "proposalEnded":
      return `${error.proposal} is ${error.outcome}`;
    case "attestationForged":
    case "attestationRepeated":
    case "attestationRefused":
      return error.rule;
  }
};

/** The exception that carries an error of a closed union. `cause` goes to the log, never to a caller. */
export class Fault<Failure extends { readonly kind: string } = CoreError> extends Error {
  readonly error: Failure;
  constructor(error: Failure, sentence: string, options?: ErrorOptions) {
    super(sentence, options);
    this.name = "SigilFault";
    this.error = error;
  }
}

/** @throws Fault always. */
export const fail = (error: CoreError, options?: ErrorOptions): never => {
  throw new Fault(error, describeCoreError(error), options);
};

/** Refuses a request field, or a value that stands for one. @throws Fault always: invalidField. */
export const invalidField = (field: string, rule: string, options?: ErrorOptions): never =>
  fail({ kind: "invalidField", field, rule }, options);

/** For internal invariants, never for external input. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}
