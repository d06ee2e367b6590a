/**
 * Suspends a principal, or one of its keys, with immediate effect. An authorized principal suspends alone, after a
 * trust decision; lifting a suspension is a proposal. A suspension is refused if it could not be lifted: an eligible
 * proposer other than its author must remain, so that one stolen Root key cannot lock out the deployment. Source:
 * docs/spec/suspension.md.
 */
import { toBase64Url, type Hash, type PublicKey, type Thumbprint } from "@sigil/core/bytes";
import { coseKeyThumbprint } from "@sigil/core/cose";
import {
  principalRecordId,
  formatSuspension,
  systemTenant,
  type RecordBody,
  systemBody,
} from "@sigil/core/record";
import { fail } from "../../errors.ts";
import type { CallContext, Caller } from "../caller.ts";
import { currentRank } from "./author.ts";
import type { EnrolledPrincipal, Principals } from "../principals.ts";
import { loweringFault } from "../proposers.ts";
import {
  isSystemRoot,
  keySuspensionId,
  maySuspend,
  principalSuspensionId,
  rankOf,
  type Rank,
  type StandingPrincipal,
  type Suspension,
} from "../suspension.ts";
import type { Ledger } from "../../ledger/ledger.ts";
import type { LedgerReader } from "../../ledger/read/reading.ts";
import { isInSight } from "./directory.ts";

/** What to suspend, and why. */
export type SuspendQuestion = {
  readonly principal: string;
  /** One of its keys; undefined for the principal. */
  readonly key: Thumbprint | undefined;
  readonly reason: string;
};

export type Suspended = {
  readonly principal: EnrolledPrincipal;
  readonly suspension: Suspension;
  /** True if it was already suspended and nothing was written. */
  readonly already: boolean;
  /** Audit id of the decision that allowed it; empty if nothing was written. */
  readonly auditId: string;
};

export type SuspensionMade = {
  readonly what: "principal" | "key";
  readonly record: string;
  readonly principal: string;
  readonly by: string;
};

export type SuspendingDependencies = {
  readonly ledger: Pick<Ledger, "append"> & {
    readonly reader: Pick<LedgerReader, "readId" | "heads" | "readAt" | "isErased">;
  };
  readonly principals: Principals;
  /** Records the decision that allows it. @throws denied, and whatever a check throws. */
  readonly authorise: (
    caller: Caller,
    recordId: string,
    call: CallContext,
  ) => Promise<{ readonly auditId: string; readonly hash: Hash }>;
  /** Runs a step under the mutex of governed changes. */
  readonly inTurn: <Result>(step: () => Promise<Result>) => Promise<Result>;
  /** Whether enough witnesses may approve a proposal by this principal. */
  readonly reaches: (proposer: string, proposerKeys: readonly PublicKey[]) => Promise<boolean>;
  /** Whether a principal without a key can call, by a client certificate. */
  readonly countsWithoutKey: boolean;
  readonly nowMs: () => number;
  /** For log and metrics. */
  readonly onSuspended: (made: SuspensionMade) => void;
};

/** The planned suspension: already in place, or to be written. */
type Plan =
  | { readonly kind: "stands"; readonly subject: EnrolledPrincipal; readonly suspension: Suspension }
  | { readonly kind: "suspend"; readonly recordId: string; readonly prev: Hash | null };

const refuse = (reason: string, rule: string): never => fail({ kind: "suspensionRefused", reason, rule });

const thumbprintOf = (publicKey: PublicKey): string => toBase64Url(coseKeyThumbprint(publicKey));

const holds = ({ publicKeys }: StandingPrincipal, key: Thumbprint): boolean =>
  publicKeys.some((publicKey) => thumbprintOf(publicKey) === toBase64Url(key));

const standingIn = ({ principal }: EnrolledPrincipal, key: Thumbprint | undefined): Suspension | undefined =>
  key === undefined ? principal.suspension : principal.suspendedKeys?.get(toBase64Url(key));

/** The principal's state after the suspension. */
const after = (
  { id, principal }: EnrolledPrincipal,
  { principal: named, key }: SuspendQuestion,
  author: Rank & { readonly id: string },
): StandingPrincipal => {
  const suspension: Suspension = { recordId: "", reason: "", by: author.id, position: 0n, timeMs: 0 };
  if (key === undefined) return id === named ? { ...principal, suspension } : principal;
  if (!holds(principal, key) || !maySuspend(author, rankOf(principal))) return principal;
  const suspendedKeys = new Map(principal.suspendedKeys).set(toBase64Url(key), suspension);
  return { ...principal, suspendedKeys };
};

export class Suspending {
  readonly #deps: SuspendingDependencies;

  constructor(deps: SuspendingDependencies) {
    this.#deps = deps;
  }

  /** @throws notFound, levelTooLow, denied, suspensionRefused, unauthenticated, notServing, indeterminate. */
  async suspend(caller: Caller, question: SuspendQuestion, call: CallContext): Promise<Suspended> {
    // Invalid requests and existing suspensions need no decision.
    const before = await this.#plan(caller, question);
    if (before.kind === "stands") return this.#standing(before);
    const { auditId, hash } = await this.#deps.authorise(caller, before.recordId, call);
    return this.#deps.inTurn(async () => {
      // Plan again: the caller may have been suspended during the decision.
      const plan = await this.#plan(caller, question);
      if (plan.kind === "stands") return this.#standing(plan);
      await this.#deps.ledger.append([this.#body(caller, question, plan, hash)], { signal: call.signal });
      const { principal, key } = question;
      const what = key === undefined ? "principal" : "key";
      this.#deps.onSuspended({ what, record: plan.recordId, principal, by: caller.principal });
      const subject = await this.#find(caller, principal);
      const suspension = standingIn(subject, key);
      if (suspension === undefined) return fail({ kind: "notFound", what: "suspension", id: plan.recordId });
      return { principal: subject, suspension, already: false, auditId };
    });
  }

  #standing({ subject, suspension }: Extract<Plan, { readonly kind: "stands" }>): Suspended {
    return { principal: subject, suspension, already: true, auditId: "" };
  }

  async #plan(caller: Caller, question: SuspendQuestion): Promise<Plan> {
    const { key } = question;
    const author = await currentRank(this.#deps.principals, caller);
    const subject = await this.#find(caller, question.principal);
    if (subject.enrolment === "witness") {
      const rule =
        "a witness is not suspended: it could keep a quorum from lifting anything; propose its removal";
      refuse("WITNESS", rule);
    }
    const rank = rankOf(subject.principal);
    if (!maySuspend(author, rank)) {
      const rpc = `suspending a principal of level ${rank.level}`;
      fail({ kind: "levelTooLow", rpc, needed: "root of tenant system", actual: author.level });
    }
    if (key !== undefined && !holds(subject.principal, key)) {
      fail({ kind: "notFound", what: `key of "${subject.id}"`, id: toBase64Url(key) });
    }
    const suspension = standingIn(subject, key);
    if (suspension !== undefined) return { kind: "stands", subject, suspension };
    const recordId =
      key === undefined ? principalSuspensionId(principalRecordId(subject.id)) : keySuspensionId(key);
    const head = await this.#deps.ledger.reader.readId(systemTenant, "system", recordId);
    // The key has a suspension that affects other holders but not this one. Only one that affects all may replace it.
    if (head?.body.kind === "suspension" && !isSystemRoot(author)) {
      const rule = "another caller suspended the key, for other holders: suspend the principal itself";
      refuse("OTHERS_SUSPENSION", rule);
    }
    await this.#requireLeft(caller, question, author);
    return { kind: "suspend", recordId, prev: head?.hash ?? null };
  }

  async #find(caller: Caller, id: string): Promise<EnrolledPrincipal> {
    const subject = await this.#deps.principals.read(id);
    if (subject !== undefined && isInSight(caller, subject)) return subject;
    return fail({ kind: "notFound", what: "principal", id });
  }

  /** @throws suspensionRefused. */
  async #requireLeft(caller: Caller, question: SuspendQuestion, author: Rank): Promise<void> {
    const { countsWithoutKey, reaches } = this.#deps;
    const fault = await loweringFault(this.#deps, {
      after: (enrolled) => after(enrolled, question, { ...author, id: caller.principal }),
      counts: (id, { publicKeys }) => (publicKeys.length > 0 || countsWithoutKey) && reaches(id, publicKeys),
    });
    if (fault === "lastRoot") {
      refuse("LAST_ROOT", "no active Root of tenant system would be left: enrol another first");
    }
    if (fault === "lastProposer") {
      const rule =
        "only the author of the suspension could then propose to lift it: enrol another active Mentor or Root first";
      refuse("LAST_PROPOSER", rule);
    }
  }

  #body(
    { principal: by }: Caller,
    { reason }: SuspendQuestion,
    { recordId: id, prev }: Extract<Plan, { readonly kind: "suspend" }>,
    decision: Hash,
  ): RecordBody {
    return systemBody({
      kind: "suspension",
      id,
      ts: this.#deps.nowMs(),
      payload: formatSuspension({ reason, by }),
      links: [{ label: "decision", target: decision }],
      prev,
    });
  }
}
