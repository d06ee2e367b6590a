/**
 * Proposals in the ledger: their state, and the mutex for changing them. All changes are serialized, so that two k-th
 * approvals commit once; each step is one atomic batch. Plans come from `@sigil/core/quorum`, records from steps.ts.
 * Source: docs/spec/quorum.md.
 */
import type { CborValue } from "@sigil/core/cbor";
import type { Rescoring } from "@sigil/core/record";
import type { Facts } from "@sigil/core/quorum";
import { fail } from "../../errors.ts";
import type { CallContext } from "../../identity/caller.ts";
import type { Principals } from "../../identity/principals.ts";
import type { Ledger } from "../../ledger/ledger.ts";
import type { Authorise, Question } from "../authority.ts";
import type { Proposal, VersionedRecord } from "../domain.ts";
import { versionOf } from "../records/reading.ts";
import type { Schemas } from "../schemas/schemas.ts";
import type { KeptProposal } from "./kept-proposal.ts";
import { viewProposal } from "./proposal-view.ts";
import type { Moment, QuorumState } from "./state.ts";
import { lapsedIn } from "./steps.ts";

export type ProposalsDependencies = {
  readonly ledger: Ledger;
  readonly authorise: Authorise;
  readonly principals: Pick<Principals, "find" | "inRecord" | "standing">;
  /** Canonicalizes the globs of a model's payload. @throws malformedModel. */
  readonly spellModel: (payload: CborValue) => CborValue;
  /** @throws malformedRecord with field "payload.schema". */
  readonly compileSchema: Schemas["compile"];
  /** What a proposed model would change of recorded decisions. @throws recordCorrupt, cancelled. */
  readonly rescore: (model: CborValue, call: CallContext) => Promise<Rescoring>;
  /** A UUIDv7. */
  readonly newId: (nowMs: number) => string;
  readonly nowMs: () => number;
  /** Called when a record's position is assigned, before it is written. */
  readonly onCommit: (id: string) => void;
};

const nothing = new Uint8Array(0);

/** One target for all proposals, so that who may attest does not depend on the proposal. */
export const proposalQuestion = (
  action: "canon.attest" | "canon.commit" | "canon.withdraw",
  id: string,
): Question => ({ action, target: "canon/proposal", session: id, input: nothing });

/** Batch operations that announce a commit. */
export const announcing =
  ({ onCommit }: Pick<ProposalsDependencies, "onCommit">, { body }: KeptProposal) =>
  (): readonly [] => {
    onCommit(body.id);
    return [];
  };

export class Proposals {
  readonly deps: ProposalsDependencies;
  readonly state: QuorumState;
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: ProposalsDependencies, state: QuorumState) {
    this.deps = deps;
    this.state = state;
  }

  /** Runs a step under the mutex. @throws notServing while an indeterminate write may turn out to be durable. */
  inTurn<Result>(step: () => Promise<Result>): Promise<Result> {
    const begin = (): Promise<Result> => {
      this.#requireServing();
      return step();
    };
    const turn = this.#last.then(begin);
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** @throws notFound. */
  async find(id: string): Promise<KeptProposal> {
    return (await this.state.find(id)) ?? fail({ kind: "notFound", what: "proposal", id });
  }

  /**
   * The facts for judging a proposal; without the newest version if it has ended. @param moment in which it was found.
   */
  async facts({ body, payload, ending }: KeptProposal, moment: Moment): Promise<Facts> {
    const { ledger, principals, nowMs } = this.deps;
    const head = ending === null ? await this.state.headIn(moment, body.id) : null;
    const proposer = await principals.find(payload.proposer);
    return {
      registry: moment.registry.registry,
      origin: ledger.reader.origin,
      nowMs: nowMs(),
      head,
      proposerKeys: proposer?.publicKeys ?? [],
    };
  }

  /**
   * The current state, which may be newer than `kept`.
   * @param committed position of the record that it committed, if known. @throws notServing, as `inTurn`.
   */
  async view(kept: KeptProposal, committed?: bigint): Promise<Proposal> {
    const moment = await this.state.now();
    const held = kept.ending === null ? moment.open.get(kept.id) : undefined;
    const now = held ?? (kept.ending === null ? await this.find(kept.id) : kept);
    const facts = await this.facts(now, moment);
    // An indeterminate write may have ended it.
    if (held !== undefined && this.deps.ledger.status.kind === "recovering") this.#requireServing();
    const committedPosition = committed ?? (await this.#committedPosition(now));
    return viewProposal(now, { ...facts, committedPosition });
  }

  /** The record that a proposal committed. */
  async committed({ ending, body }: KeptProposal): Promise<VersionedRecord> {
    const { reader } = this.deps.ledger;
    const hash = ending?.record ?? null;
    const record = hash === null ? undefined : await reader.readHash(hash);
    return record === undefined
      ? fail({ kind: "notFound", what: "system record", id: body.id })
      : versionOf(reader, record);
  }

  /** Writes the endings of expired and superseded proposals. Call under the mutex. */
  async endLapsed(): Promise<void> {
    const lapsed = lapsedIn(await this.state.now(), this.deps.nowMs());
    if (lapsed.length > 0) await this.deps.ledger.append(lapsed);
  }

  async #committedPosition({ ending }: KeptProposal): Promise<bigint | null> {
    const hash = ending?.record ?? null;
    return hash === null ? null : ((await this.deps.ledger.reader.readHash(hash))?.position ?? null);
  }

  #requireServing(): void {
    const { kind } = this.deps.ledger.status;
    if (kind !== "serving") fail({ kind: "notServing", rule: `the ledger is ${kind}` });
  }
}
