/**
 * Proposals over the ledger: what they stand at, and whose turn it is to change them. Everything that changes one goes
 * one after the other, so two k-th approvals commit once; whatever one step does is one batch, so a crash loses no part
 * of it. The rules plan (`@sigil/core/quorum`), steps.ts makes the records. Source: docs/spec/quorum.md.
 */
import type { CborValue } from "@sigil/core/cbor";
import type { Facts } from "@sigil/core/quorum";
import { fail } from "../../errors.ts";
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
  /** The payload to commit for a model: its globs in their one spelling. @throws malformedModel. */
  readonly spellModel: (payload: CborValue) => CborValue;
  /** @throws malformedRecord with field "payload.schema". */
  readonly compileSchema: Schemas["compile"];
  /** A UUIDv7. */
  readonly newId: (nowMs: number) => string;
  readonly nowMs: () => number;
  /** Called when a record's commit gets its place, before it is written. */
  readonly onCommit: (id: string) => void;
};

const nothing = new Uint8Array(0);

/** One target for all: which proposal it is must not change who may attest. */
export const proposalQuestion = (
  action: "canon.attest" | "canon.commit" | "canon.withdraw",
  id: string,
): Question => ({ action, target: "canon/proposal", session: id, input: nothing });

/** The side of a batch that tells of its commit. */
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

  /** One after the other. @throws notServing while what was written last may yet be found again. */
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
   * What a proposal is judged by; one that has ended by no newest version. @param moment the one that it was found in.
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
   * As it stands now, whatever it was when `kept` was read.
   * @param committed where the record stands that it committed, for who knows. @throws notServing, as `inTurn`.
   */
  async view(kept: KeptProposal, committed?: bigint): Promise<Proposal> {
    const moment = await this.state.now();
    const held = kept.ending === null ? moment.open.get(kept.id) : undefined;
    const now = held ?? (kept.ending === null ? await this.find(kept.id) : kept);
    const facts = await this.facts(now, moment);
    // What was written last may have ended it.
    if (held !== undefined && this.deps.ledger.status.kind === "recovering") this.#requireServing();
    const committedPosition = committed ?? (await this.#committedPosition(now));
    return viewProposal(now, { ...facts, committedPosition });
  }

  /** The record a committed proposal made. */
  async committed({ ending, body }: KeptProposal): Promise<VersionedRecord> {
    const { reader } = this.deps.ledger;
    const hash = ending?.record ?? null;
    const record = hash === null ? undefined : await reader.readHash(hash);
    return record === undefined
      ? fail({ kind: "notFound", what: "system record", id: body.id })
      : versionOf(reader, record);
  }

  /** Writes the endings that time and other commits have brought about. In turn. */
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
