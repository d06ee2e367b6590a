/**
 * Proposals over the ledger: the rules plan, this writes. Everything that changes a proposal goes one after the other, so
 * two k-th approvals commit once; whatever one step does is one batch, so a crash loses no part of it.
 * Source: docs/spec/quorum.md.
 */
import { toHex, type Hash } from "@sigil/core/bytes";
import type { CborValue } from "@sigil/core/cbor";
import { fail } from "../../errors.ts";
import { openProposalsPerCallerMax } from "../../limits.ts";
import {
  formatAttestationRecord,
  formatProposalEnding,
  type ProposalOutcome,
  decodeBody,
  encodeBody,
  hashRecord,
  type RecordBody,
  type RecordLink,
} from "@sigil/core/record";
import type { CallContext, Caller } from "../../identity/caller.ts";
import type { Principals } from "../../identity/principals.ts";
import type { Appended } from "../../ledger/append/commit.ts";
import type { AppendOnce } from "../../ledger/append/once.ts";
import type { Ledger } from "../../ledger/ledger.ts";
import type { Authorise } from "../authority.ts";
import type { Proposal, Proposed, VersionedRecord } from "../domain.ts";
import { keepProposal, proposalName, stateOf, systemScope, type KeptProposal } from "./kept-proposal.ts";
import { proposalPrefixes } from "../kinds.ts";
import type { ProposalBook } from "./proposal-book.ts";
import { requireProposalPlace, type Proposer } from "./proposal-places.ts";
import { viewProposal } from "./proposal-view.ts";
import { requireProposerLeft } from "./proposers.ts";
import { proposalBody, type Draft } from "./proposing.ts";
import { decisionOf, readNewest, readVersion } from "../records/reading.ts";
import type { Registries } from "./registries.ts";
import { type Registry, canReachQuorum, dueEnding, tally, type Facts, type Given } from "@sigil/core/quorum";
import type { Schemas } from "../schemas/schemas.ts";

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

/** What is put beside an ending. */
type End = {
  readonly kept: KeptProposal;
  readonly outcome: ProposalOutcome;
  readonly reason: string;
  readonly links?: readonly RecordLink[];
};

const written = (
  kind: string,
  id: string,
  ts: number,
  payload: CborValue,
  links: readonly RecordLink[],
  prev: Hash | null,
): RecordBody => ({ kind, schemaVersion: 1, id, tenant: "system", ts, space: "user", payload, links, prev });

/** Everything a step writes together. */
export type Plan = {
  readonly bodies: readonly RecordBody[];
  readonly attestations: readonly (readonly Uint8Array[])[];
};

/** A proposal as it will be when it stands at `position`. */
const asCommitted = (body: RecordBody, position: bigint): KeptProposal =>
  keepProposal({ position, hash: hashRecord(encodeBody(body)), body });

export class Proposals {
  readonly deps: ProposalsDependencies;
  readonly book: ProposalBook;
  readonly #registries: Registries;
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: ProposalsDependencies, book: ProposalBook, registries: Registries) {
    this.deps = deps;
    this.book = book;
    this.#registries = registries;
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

  async registry(): Promise<Registry> {
    return (await this.#registries.current()).registry;
  }

  /** @throws notFound. */
  async find(id: string): Promise<KeptProposal> {
    return (await this.book.find(id)) ?? fail({ kind: "notFound", what: "proposal", id });
  }

  async facts(kept: KeptProposal): Promise<Facts> {
    const { ledger, principals, nowMs } = this.deps;
    const newest = await readNewest(ledger.reader, systemScope, kept.body.id);
    const proposer = await principals.find(kept.payload.proposer);
    return {
      registry: await this.registry(),
      origin: ledger.reader.origin,
      nowMs: nowMs(),
      head: newest?.record.hash ?? null,
      proposerKeys: proposer?.publicKeys ?? [],
    };
  }

  #requireServing(): void {
    const { kind } = this.deps.ledger.status;
    if (kind !== "serving") fail({ kind: "notServing", rule: `the ledger is ${kind}` });
  }

  /** As it stands now, whatever it was when `kept` was read. @throws notServing, as `inTurn`. */
  async view(kept: KeptProposal): Promise<Proposal> {
    const { ledger } = this.deps;
    const now = kept.ending === null ? await this.find(kept.id) : kept;
    const isHeld = this.book.held(now.id) === now;
    const record = now.ending?.record ?? null;
    const committedPosition =
      record === null ? null : ((await ledger.reader.readHash(record))?.position ?? null);
    const facts = await this.facts(now);
    // Its own commit, seen without its ending, would look like another's that superseded it.
    if (isHeld && this.book.held(now.id) !== now) return this.view(now);
    if (isHeld && ledger.status.kind === "recovering") this.#requireServing();
    return viewProposal(now, { ...facts, committedPosition });
  }

  /** The record a committed proposal made. */
  async committed({ ending, body }: KeptProposal): Promise<VersionedRecord> {
    const { ledger } = this.deps;
    const record = ending?.record ?? null;
    const position = record === null ? undefined : (await ledger.reader.readHash(record))?.position;
    if (position === undefined) return fail({ kind: "notFound", what: "system record", id: body.id });
    const head = await ledger.reader.versionBelow(
      systemScope.tenant,
      systemScope.space,
      body.id,
      position + 1n,
    );
    return readVersion(ledger.reader, systemScope, { id: body.id, position, version: head?.version ?? 1n });
  }

  /** Writes the endings that time and other commits have brought about. In turn. */
  async endLapsed(): Promise<void> {
    const lapsed: RecordBody[] = [];
    for (const kept of this.book.open) {
      const due = dueEnding(stateOf(kept, await this.registry()), await this.facts(kept));
      if (due === "expired") lapsed.push(this.ending({ kept, outcome: due, reason: "its time ran out" }));
      else if (due === "superseded") {
        lapsed.push(this.ending({ kept, outcome: due, reason: "the record has a newer version" }));
      }
    }
    if (lapsed.length > 0) await this.deps.ledger.append(lapsed);
  }

  ending({ kept, outcome, reason, links = [] }: End): RecordBody {
    const id = proposalPrefixes.ending + proposalName(kept.id);
    const payload = formatProposalEnding({ proposal: kept.id, outcome, reason });
    const all = [{ label: "proposal", target: kept.hash }, ...links];
    return written("proposal_ending", id, this.deps.nowMs(), payload, all, null);
  }

  /** A witness's later statement follows its earlier one, which was about another epoch. */
  async attestation(
    kept: KeptProposal,
    given: Given,
    statement: Uint8Array,
    decision: Hash,
  ): Promise<RecordBody> {
    const { ledger, nowMs } = this.deps;
    const { witness, role } = given;
    // A new key's proof of possession is no word of the witness whose key it is to be.
    const name = role === "possession" ? `${witness}/possession` : witness;
    const id = `${proposalPrefixes.attestation}${proposalName(kept.id)}/${name}`;
    const before = await readNewest(ledger.reader, { tenant: "system", space: "user" }, id);
    const links = [
      { label: "proposal", target: kept.hash },
      { label: "decision", target: decision },
    ];
    const payload = formatAttestationRecord({ proposal: kept.id, witness, role, statement });
    return written("attestation", id, nowMs(), payload, links, before?.record.hash ?? null);
  }

  /** The commit of a proposal, with its evidence and the endings of those it supersedes. */
  async commitPlan(kept: KeptProposal, statements: readonly Uint8Array[]): Promise<Plan> {
    const main = decodeBody(kept.payload.body);
    await requireProposerLeft(this.deps, main);
    const bodies = [main, ...kept.payload.with.map((bytes) => decodeBody(bytes))];
    const links = [{ label: "record", target: kept.recordHash }];
    const reason = "the quorum approved it";
    const endings = [this.ending({ kept, outcome: "committed", reason, links })];
    for (const other of this.book.open) {
      if (other.id === kept.id || other.body.id !== kept.body.id) continue;
      endings.push(this.ending({ kept: other, outcome: "superseded", reason: `${kept.id} was committed` }));
    }
    return { bodies: [...bodies, ...endings], attestations: [statements] };
  }

  /** The side of a batch that tells of its commit. */
  announcing(kept: KeptProposal) {
    return (): readonly [] => {
      this.deps.onCommit(kept.body.id);
      return [];
    };
  }

  /** The statements a committed record carries: the approvals that count, and the proof of possession. */
  evidence(
    kept: KeptProposal,
    facts: Facts,
    latest?: { readonly given: Given; readonly statement: Uint8Array },
  ) {
    const state = stateOf(kept, facts.registry);
    const given = latest === undefined ? state.given : [...state.given, latest.given];
    const { approvedBy } = tally({ ...state, given }, facts.registry, facts.proposerKeys);
    const statements = new Map(
      kept.received.map(({ parsed, statement }) => [toHex(parsed.digest), statement]),
    );
    if (latest !== undefined) statements.set(toHex(latest.given.digest), latest.statement);
    return given.flatMap(({ witness, role, epoch, digest }): readonly Uint8Array[] => {
      if (epoch !== facts.registry.epoch || role === "reject") return [];
      if (role === "approve" && !approvedBy.includes(witness)) return [];
      const statement = statements.get(toHex(digest));
      return statement === undefined ? [] : [statement];
    });
  }

  /** @throws denied, overQuota, idempotencyConflict, and what the draft throws. */
  async propose(
    caller: Caller,
    draft: Draft,
    put: Pick<Parameters<typeof proposalBody>[2], "lifetimeMs" | "reason" | "commit">,
    call: CallContext,
    append: AppendOnce,
  ): Promise<Proposed> {
    const { authorise, newId, nowMs } = this.deps;
    const target = `canon/system/${draft.id}`;
    // Refused before it is decided on: what is wrong by itself needs no decision, and neither does what finds no place.
    if (this.book.open.length >= openProposalsPerCallerMax) {
      await this.inTurn(() => this.endLapsed());
      await this.#requirePlace(caller);
    }
    const [drafted] = await draft.bodies(new Uint8Array(32) as Hash, nowMs());
    if (drafted !== undefined) await requireProposerLeft(this.deps, drafted);
    const question = { action: "canon.propose", target, session: "", input: new Uint8Array(0) } as const;
    const [allowed] = await authorise(caller, [question], call);
    if (allowed === undefined) return fail({ kind: "indeterminate", rule: "the trust model gave no answer" });
    await draft.checkAllowed?.(call);
    return this.inTurn(async () => {
      await this.endLapsed();
      await this.#requirePlace(caller);
      const ts = nowMs();
      const bodies = await draft.bodies(allowed.hash, ts);
      const { epoch } = await this.registry();
      const proposer = caller.principal;
      const body = proposalBody(newId(ts), bodies, { ...put, epoch, ts, proposer, decision: allowed.hash });
      const outcome = ([appended]: readonly Appended[]): CborValue => appended?.position ?? null;
      await this.#requireReachable(body);
      await draft.beforeWrite?.();
      await append([body], { outcome, signal: call.signal });
      return { proposal: await this.view(await this.find(body.id)), auditId: allowed.auditId };
    });
  }

  async #requirePlace(caller: Caller): Promise<void> {
    const open: Proposer[] = [];
    for (const { payload } of this.book.open) {
      const { proposer: principal } = payload;
      open.push({ principal, tenant: (await this.deps.principals.find(principal))?.tenant ?? "" });
    }
    requireProposalPlace(caller, open);
  }

  /** A proposal that can never commit is none: k of k witnesses, and one of them its proposer. */
  async #requireReachable(body: RecordBody): Promise<void> {
    const kept = asCommitted(body, this.deps.ledger.reader.size);
    const { registry, proposerKeys } = await this.facts(kept);
    if (canReachQuorum(stateOf(kept, registry), registry, proposerKeys)) return;
    const rule = `the proposal could never commit: ${registry.k} must approve, and its proposer's own witness may not`;
    fail({ kind: "attestationRefused", reason: "QUORUM_UNREACHABLE", rule });
  }

  /** The first answer to a repeated proposal, as the proposal is now. */
  async replay(outcome: CborValue): Promise<Proposed> {
    const { ledger } = this.deps;
    const { body } = await ledger.reader.readAt(BigInt(outcome as number | bigint));
    const auditId = await decisionOf(ledger.reader, body);
    return { proposal: await this.view(await this.find(body.id)), auditId };
  }
}
