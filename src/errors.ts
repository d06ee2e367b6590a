/**
 * The closed union of all errors of server and command line, including the core's, and the exception that carries them.
 * Pure. Only `rpc/status.ts` maps it to gRPC codes; the command line prints `describeError`. An error never holds a
 * payload, a key or a secret: names, numbers and rules only.
 */
import { describeCoreError, Fault, type CoreError } from "@sigil/core/errors";

export { assert, invalidField } from "@sigil/core/errors";

/** Why a caller's credential was refused. Stable: callers see it as `ErrorInfo.reason`. */
export type CredentialReason =
  | "TOKEN_MALFORMED"
  | "TOKEN_ALGORITHM"
  | "TOKEN_UNKNOWN_KEY"
  | "TOKEN_SIGNATURE"
  | "TOKEN_EXPIRED"
  | "TOKEN_NOT_YET_VALID"
  | "TOKEN_AUDIENCE"
  | "TOKEN_LIFETIME"
  | "TOKEN_CLAIMS"
  | "PRINCIPAL_REVOKED"
  | "PRINCIPAL_SUSPENDED"
  | "KEY_SUSPENDED"
  | "CERTIFICATE_UNMAPPED"
  | "CREDENTIALS_MISSING";

/** Which quota of a caller, of a tenant or overall was reached. Stable: callers see it as `ErrorInfo.reason`. */
export type QuotaReason =
  | "INTAKE_LINE"
  | "REPLY_LINE"
  | "REPLY_UNREAD"
  | "STREAMS_PER_CALLER"
  | "STREAMS_PER_TENANT"
  | "STREAMS"
  | "UPLOADS_PER_CALLER"
  | "UPLOADS_PER_TENANT"
  | "UPLOADS"
  | "PROPOSALS_PER_CALLER"
  | "PROPOSALS_PER_TENANT"
  | "PROPOSALS"
  | "INSPECTIONS";

/** Fields of every refused run: the module, the decision that allowed it, the record of the run. */
type OfRun = {
  readonly module: string;
  readonly auditId: string;
  readonly run: string;
  /** Digests in hex, if two differ. */
  readonly wanted?: string;
  readonly found?: string;
};

export type SigilError =
  | CoreError
  /** Bytes that are not a WebAssembly module that the sandbox supports. `offset` in bytes from the start. */
  | { readonly kind: "malformedModule"; readonly offset: number; readonly rule: string }
  | { readonly kind: "invalidPageToken"; readonly rule: string }
  | { readonly kind: "notFound"; readonly what: string; readonly id: string }
  | { readonly kind: "ledgerCorrupt"; readonly position: bigint; readonly rule: string }
  | { readonly kind: "ledgerBehindAnchor"; readonly size: bigint; readonly anchorSize: bigint }
  /** A witness cosigned what this ledger is not, or is not any more: it is smaller, or has another past. */
  | {
      readonly kind: "ledgerBehindWitness";
      readonly witness: string;
      readonly seenSize: bigint;
      /** In hex, as is `root`: this ledger's at that size, or at its own where it is smaller. */
      readonly seenRoot: string;
      readonly size: bigint;
      readonly root: string;
    }
  | { readonly kind: "storeLocked"; readonly path: string }
  | { readonly kind: "storeFailed"; readonly step: string; readonly rule: string }
  /** The write may or may not be durable; repeat with the same idempotency key to find out. */
  | { readonly kind: "indeterminate"; readonly rule: string }
  | { readonly kind: "notServing"; readonly rule: string }
  /** The record is committed, and too few witnesses cosigned it to answer for it; `missing` more would be enough. */
  | { readonly kind: "notCosigned"; readonly missing: number; readonly waitMs: number }
  | { readonly kind: "queueFull"; readonly what: string; readonly limit: number }
  /** `rule` says what to do next. */
  | {
      readonly kind: "overQuota";
      readonly reason: QuotaReason;
      readonly limit: number;
      readonly rule: string;
    }
  | { readonly kind: "tooLarge"; readonly what: string; readonly bytes: number; readonly limit: number }
  | { readonly kind: "cancelled" }
  | { readonly kind: "deadlineExceeded"; readonly deadlineMs: number }
  | { readonly kind: "idempotencyConflict"; readonly key: string }
  /** The record does not follow the newest version of its id; `version` is that version, 0 for none. */
  | { readonly kind: "staleVersion"; readonly id: string; readonly version: bigint }
  | {
      readonly kind: "unauthenticated";
      readonly reason: CredentialReason;
      readonly rule: string;
    }
  | {
      readonly kind: "levelTooLow";
      readonly rpc: string;
      readonly needed: string;
      readonly actual: string;
    }
  | { readonly kind: "tenantForbidden"; readonly tenant: string; readonly rule: string }
  /** A watch asks for more than its caller's feed grant names; `value` is the first thing beyond it. */
  | {
      readonly kind: "feedForbidden";
      readonly field: "kinds" | "spaces" | "disclosures" | "proof";
      readonly value: string;
      readonly rule: string;
    }
  /** The trust model did not allow a write. `why` is the decision's reason. */
  | {
      readonly kind: "denied";
      readonly action: string;
      readonly target: string;
      readonly verdict: string;
      readonly why: string;
      readonly auditId: string;
      /** Id of the run's record, if a run was denied. */
      readonly run?: string;
    }
  /**
   * A module that does not run as requested, or ended abnormally. `reason` is stable; docs/spec/module.md lists them.
   */
  | ({ readonly kind: "moduleRefused"; readonly reason: string; readonly rule: string } & OfRun)
  /** Code on disk that differs from the approved code; digests in hex. */
  | ({ readonly kind: "moduleAltered"; readonly wanted: string; readonly found: string } & OfRun)
  | ({ readonly kind: "runTrapped"; readonly rule: string } & OfRun)
  /** `reason` names the limit that a run exceeded. */
  | ({ readonly kind: "runLimit"; readonly reason: string; readonly limit: number } & OfRun)
  | ({ readonly kind: "runTimedOut"; readonly limitMs: number } & OfRun)
  | ({ readonly kind: "runCrashed" } & OfRun)
  /** Too many concurrent runs. */
  | ({ readonly kind: "runsBusy"; readonly what: string; readonly limit: number } & Partial<OfRun>)
  /** A write that needs a quorum. */
  | { readonly kind: "quorumNeeded"; readonly what: string }
  /** Approvals that a proposal lacks. */
  | { readonly kind: "quorumShort"; readonly proposal: string; readonly needed: number }
  /** A suspension that is not allowed. `reason` is stable; docs/spec/suspension.md lists them. */
  | { readonly kind: "suspensionRefused"; readonly reason: string; readonly rule: string }
  /** The tenant was erased: nothing can be read or written. `erasure` is the hash of the order. */
  | {
      readonly kind: "erased";
      readonly tenant: string;
      readonly erasure: string;
      readonly erasurePosition: bigint;
    }
  | { readonly kind: "modelMissing"; readonly rule: string }
  | { readonly kind: "wrongKeyEncryptionKey"; readonly source: string }
  | { readonly kind: "keyUnavailable"; readonly rule: string }
  /** No commit ended at this size and its key is gone; `storedSize` is the next size that has a checkpoint. */
  | { readonly kind: "checkpointUnsigned"; readonly size: bigint; readonly storedSize: bigint }
  /** A PKCS #11 token that cannot be used for this purpose; `token` is its label, never its PIN. */
  | { readonly kind: "tokenUnavailable"; readonly token: string; readonly rule: string }
  /** The key in use is not the one that the caller expected; `current` is its thumbprint in base64url. */
  | { readonly kind: "keyReplaced"; readonly role: string; readonly current: string }
  | { readonly kind: "looseMode"; readonly path: string; readonly mode: string; readonly fix: string }
  | { readonly kind: "foreignOwner"; readonly path: string; readonly uid: number; readonly fix: string }
  | { readonly kind: "directoryNotEmpty"; readonly path: string }
  | { readonly kind: "notInitialised"; readonly path: string }
  | { readonly kind: "newerFormat"; readonly found: number; readonly known: number }
  /** `interrupted` if a migration from `found` was begun but not completed. */
  | {
      readonly kind: "olderFormat";
      readonly path: string;
      readonly found: number;
      readonly known: number;
      readonly interrupted: boolean;
    }
  | { readonly kind: "invalidConfig"; readonly key: string; readonly rule: string }
  /** An invalid backup; `backup` is its path, or its sender. */
  | { readonly kind: "backupRefused"; readonly backup: string; readonly rule: string }
  | { readonly kind: "usage"; readonly rule: string };

/** The message for people: what is wrong, where, and the rule. */
export const describeError = (error: SigilError): string => {
  switch (error.kind) {
    case "malformedModule":
      return `malformed module at offset ${error.offset}: ${error.rule}`;
    case "invalidPageToken":
      return `page_token ${error.rule}`;
    case "notFound":
      return `no ${error.what} "${error.id}"`;
    case "ledgerCorrupt":
      return `ledger is damaged at position ${error.position}: ${error.rule}`;
    case "ledgerBehindAnchor":
      return `ledger holds ${error.size} records but its anchor says ${error.anchorSize}: records are missing`;
    case "ledgerBehindWitness":
      return (
        `witness ${error.witness} cosigned size ${error.seenSize} with root ${error.seenRoot}, the ledger has size ` +
        `${error.size} and root ${error.root} there: it was set back or rewritten, or is not the one that was cosigned`
      );
    case "storeLocked":
      return `data directory ${error.path} is in use by another process`;
    case "storeFailed":
      return `store failed at ${error.step}: ${error.rule}`;
    case "indeterminate":
      return `the write may or may not have been kept: ${error.rule}; repeat it with the same idempotency_key`;
    case "notServing":
      return `not serving: ${error.rule}`;
    case "notCosigned":
      return (
        `commit_policy cosigned: the record is committed and not covered, ${error.missing} more ` +
        `cosignature${error.missing === 1 ? " is" : "s are"} needed after ${error.waitMs} ms; ` +
        "repeat the call with the same idempotency_key"
      );
    case "queueFull":
      return `${error.what} is full at ${error.limit}; retry with back-off`;
    case "overQuota":
      return `${error.rule} (limit ${error.limit})`;
    case "tooLarge":
      return `${error.what} is ${error.bytes} bytes, the limit is ${error.limit}`;
    case "cancelled":
      return "cancelled by the caller";
    case "deadlineExceeded":
      return `deadline of ${error.deadlineMs} ms exceeded`;
    case "idempotencyConflict":
      return `idempotency_key "${error.key}" was used with another request body`;
    case "staleVersion":
      return `"${error.id}" is at version ${error.version}; read it and try again`;
    case "unauthenticated":
      return `not authenticated: ${error.rule}`;
    case "levelTooLow":
      return `${error.rpc} needs level ${error.needed}, the caller has ${error.actual}`;
    case "tenantForbidden":
      return `tenant "${error.tenant}" is out of reach: ${error.rule}`;
    case "feedForbidden":
      return `${error.field} "${error.value}" may not be watched: ${error.rule}`;
    case "denied":
      return `the trust model answers ${error.verdict} to ${error.action} ${error.target}: ${error.why}`;
    case "moduleRefused":
      return `${error.module} ${error.rule}`;
    case "moduleAltered":
      return `the code of ${error.module} was altered: it must have ${error.wanted} and has ${error.found}`;
    case "runTrapped":
      return `${error.module} trapped: ${error.rule}`;
    case "runLimit":
      return `${error.module} went past its limit of ${error.limit} (${error.reason})`;
    case "runTimedOut":
      return `${error.module} was stopped after ${error.limitMs} ms`;
    case "runCrashed":
      return `the sandbox of ${error.module} broke`;
    case "runsBusy":
      return `${error.limit} runs of ${error.what} are under way; retry with back-off`;
    case "quorumNeeded":
      return `${error.what} takes a quorum: propose it`;
    case "quorumShort":
      return `${error.proposal} still needs ${error.needed} approval${error.needed === 1 ? "" : "s"}`;
    case "suspensionRefused":
      return error.rule;
    case "erased":
      return `tenant "${error.tenant}" was erased by the record at position ${error.erasurePosition}`;
    case "modelMissing":
      return `no usable trust model: ${error.rule}`;
    case "wrongKeyEncryptionKey":
      return `the key-encryption key from ${error.source} does not open this data directory`;
    case "checkpointUnsigned":
      return (
        `no commit ended at size ${error.size}, and the checkpoint key of that time signs no more; ` +
        `the next size with a checkpoint is ${error.storedSize}`
      );
    case "keyUnavailable":
      return `key unavailable: ${error.rule}`;
    case "tokenUnavailable":
      return `PKCS #11 token ${error.token}: ${error.rule}`;
    case "keyReplaced":
      return `the ${error.role} key in use is ${error.current}`;
    case "looseMode":
      return `${error.path} has mode ${error.mode}; run: ${error.fix}`;
    case "foreignOwner":
      return `${error.path} belongs to user ${error.uid}, neither this process's nor root; run: ${error.fix}`;
    case "directoryNotEmpty":
      return `${error.path} is not empty; choose a new directory`;
    case "notInitialised":
      return `${error.path} holds no deployment; run: sigil init --data ${error.path} …`;
    case "newerFormat":
      return `data directory has format ${error.found}, this program knows up to ${error.known}`;
    case "olderFormat":
      return error.interrupted
        ? `the migration of data directory ${error.path} from format ${error.found} to ${error.known} was interrupted; go on with: sigil migrate --data ${error.path}`
        : `data directory ${error.path} has format ${error.found}, this program needs ${error.known}; run: sigil migrate --data ${error.path} --dry-run, then the same without --dry-run`;
    case "invalidConfig":
      return `config ${error.key}: ${error.rule}`;
    case "backupRefused":
      return `${error.backup} is refused: ${error.rule}`;
    case "usage":
      return error.rule;

    case "malformedCbor":
    case "unencodableValue":
    case "malformedCose":
    case "malformedRecord":
    case "malformedKey":
    case "malformedCheckpoint":
    case "malformedModel":
    case "invalidField":
    case "leafOutOfRange":
    case "sizeOutOfRange":
    case "recordCorrupt":
    case "proposalEnded":
    case "attestationForged":
    case "attestationRepeated":
    case "attestationRefused":
      return describeCoreError(error);
  }
};

/** The exception that carries a `SigilError`. Also used for errors of the core, whose union is part of this one. */
export class SigilFault extends Fault<SigilError> {
  constructor(error: SigilError, options?: ErrorOptions) {
    super(error, describeError(error), options);
  }

  static override [Symbol.hasInstance](value: unknown): value is SigilFault {
    return value instanceof Fault;
  }
}

/** @throws SigilFault always. */
export const fail = (error: SigilError, options?: ErrorOptions): never => {
  throw new SigilFault(error, options);
};
