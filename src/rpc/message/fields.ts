/** Validates request fields by the rules in the proto comments. Errors use the proto's field names. */
import type { CheckRequest } from "@sigil/proto/sigil/trust/v1/trust";
import { LevelOfAccess, Verdict } from "@sigil/proto/sigil/type/v1/type";
import { parseHash, type Hash } from "@sigil/core/bytes";
import { invalidField } from "../../errors.ts";
import { idempotencyKeyBytesMax, inputBytesMax, pageSizeMax } from "../../limits.ts";
import {
  type FrozenVerdict,
  levelNames,
  recordIdFault,
  tenantFault,
  type LevelName,
  canonicalAction,
  canonicalSession,
  canonicalSubject,
  canonicalTarget,
  canonicalTargetGlob,
  requireSpelling,
} from "@sigil/core/record";
import type { CheckQuestion } from "../../trust/decision.ts";

const hashBytes = 32;

/** Text of at most `bytesMax` bytes of UTF-8. */
export const readText = (text: string, field: string, bytesMax: number): string => {
  // UTF-8 takes at most three bytes per UTF-16 unit, so most texts need no counting.
  if (text.length * 3 <= bytesMax || Buffer.byteLength(text) <= bytesMax) return text;
  return invalidField(field, `must be at most ${bytesMax} bytes`);
};

/** A principal id in canonical form, or "" if none is given. */
export const readPrincipal = (id: string, field: string, trustDomain: string): string =>
  id === "" ? id : requireSpelling(canonicalSubject(id, trustDomain), field);

/** A tenant's name, or "" for the caller's own. */
export const readTenant = (tenant: string, field = "tenant"): string => {
  const fault = tenant === "" ? null : tenantFault(tenant);
  return fault === null ? tenant : invalidField(field, fault);
};

export const readRecordId = (id: string, field: string): string => {
  const fault = recordIdFault(id);
  return fault === null ? id : invalidField(field, fault);
};

export const readAuditId = (id: string): string => readRecordId(id, "audit_id");

/** 0 for the default. */
export const readPageSize = (pageSize: number): number =>
  pageSize <= pageSizeMax ? pageSize : invalidField("page_size", `must be at most ${pageSizeMax}`);

export const readIdempotencyKey = (key: string, field = "idempotency_key"): string =>
  readText(key, field, idempotencyKeyBytesMax);

export const readHash = (hash: Uint8Array, field: string): Hash =>
  hash.length === hashBytes ? parseHash(hash) : invalidField(field, `must be ${hashBytes} bytes`);

export const readAction = (action: string, field: string): string =>
  requireSpelling(canonicalAction(action), field);

export const readTarget = (target: string, field: string): string =>
  requireSpelling(canonicalTarget(target), field);

/** A glob over targets, or "" for all. */
export const readTargetGlob = (glob: string, field: string): string =>
  glob === "" ? glob : requireSpelling(canonicalTargetGlob(glob), field);

export const readSession = (session: string, field: string): string =>
  requireSpelling(canonicalSession(session), field);

/**
 * The check in canonical form.
 * @param path prefix of field names, for example "checks[3]."; empty at the top. @throws invalidField.
 */
export const readQuestion = (request: CheckRequest, trustDomain: string, path = ""): CheckQuestion => {
  if (request.input.length > inputBytesMax)
    invalidField(`${path}input`, `must be at most ${inputBytesMax} bytes`);
  return {
    action: readAction(request.action, `${path}action`),
    target: readTarget(request.target, `${path}target`),
    subject: readPrincipal(request.subject, `${path}subject`, trustDomain),
    session: readSession(request.session, `${path}session`),
    input: request.input,
    keepInput: request.keepInput,
    idempotencyKey: readIdempotencyKey(request.idempotencyKey, `${path}idempotency_key`),
  };
};

const VERDICTS: ReadonlyMap<number, FrozenVerdict | undefined> = new Map([
  [Verdict.VERDICT_UNSPECIFIED, undefined],
  [Verdict.VERDICT_ALLOW, "allow"],
  [Verdict.VERDICT_DENY, "deny"],
  [Verdict.VERDICT_REVIEW, "review"],
]);

/** Undefined for VERDICT_UNSPECIFIED, which means no filter. Proto enums are open: any number may arrive. */
export const readVerdict = (verdict: Verdict, field: string): FrozenVerdict | undefined =>
  VERDICTS.has(verdict) ? VERDICTS.get(verdict) : invalidField(field, "must be a verdict this server knows");

export const readLevel = (level: LevelOfAccess, field: string): LevelName =>
  levelNames[level - LevelOfAccess.LEVEL_OF_ACCESS_GUEST] ?? invalidField(field, "must be a level of access");

const yearTenThousandMs = Date.UTC(10_000, 0, 1);

/** Unix milliseconds, or undefined for an absent time. */
export const readTimeMs = (time: Date | undefined, field: string): number | undefined => {
  if (time === undefined) return undefined;
  const timeMs = time.getTime();
  // NaN fails both comparisons.
  return timeMs >= 0 && timeMs < yearTenThousandMs
    ? timeMs
    : invalidField(field, "must be a time from 1970 to 9999");
};
