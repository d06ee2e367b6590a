/**
 * The service of the system space, called by `rpc/`. Proposals are drafted in proposing.ts, opened in opening.ts,
 * attested in attesting.ts; the rules are in `@sigil/core/quorum`, their input in state.ts.
 */
import { encodeBody, principalRecordId, systemTenant, suspensionPrefix } from "@sigil/core/record";
import { fail } from "../../errors.ts";
import { idempotencyScope, readsAcross, type CallContext, type Caller } from "../../identity/caller.ts";
import type { Hash } from "@sigil/core/bytes";
import { PageTokens, takeFew } from "../../ledger/layout/paging.ts";
import type { Proposal, Proposed, RecordProposal, VersionedRecord, WitnessProposal } from "../domain.ts";
import { proposableKind } from "../kinds.ts";
import { attestProposal } from "./attesting.ts";
import { flipReportIn } from "./flip-report.ts";
import { stateOf, systemScope, type KeptProposal } from "./kept-proposal.ts";
import { openProposal, replayOpening } from "./opening.ts";
import { listProposals } from "./proposal-list.ts";
import { announcing, proposalQuestion, Proposals, type ProposalsDependencies } from "./proposals.ts";
import { changeBytes, draftChange, draftRecord, proposalBytes, type Draft } from "./proposing.ts";
import { requireProposerLeft } from "./proposers.ts";
import { readNewest } from "../records/reading.ts";
import { canReachQuorum, errorOf, planCommit, planWithdraw, type ProposalState } from "@sigil/core/quorum";
import type { GovernedTurns, QuorumService } from "../service.ts";
import { QuorumState } from "./state.ts";
import { commitOf, endingOf, evidenceOf } from "./steps.ts";
import { readSystemRecord } from "./system-record.ts";

/**
 * Root of tenant system may withdraw others' proposals, except those that change that Root itself or lift a suspension:
 * otherwise a stolen Root key could block its own removal.
 */
const mayWithdrawForOthers = (caller: Caller, { body: { id } }: KeptProposal): boolean =>
  readsAcross(caller) && id !== principalRecordId(caller.principal) && !id.startsWith(suspensionPrefix);

/** A hypothetical proposal made now that enrols no key. */
const proposedNow = (proposer: string, position: bigint): ProposalState => ({
  id: "",
  position,
  record: new Uint8Array(0) as Hash,
  base: null,
  expiresMs: Infinity,
  proposer,
  commit: "auto",
  enrols: null,
  status: "open",
  given: [],
});

class Quorum implements QuorumService, GovernedTurns {
  readonly #deps: ProposalsDependencies;
  readonly #proposals: Proposals;

  constructor(deps: ProposalsDependencies, proposals: Proposals) {
    this.#deps = deps;
    this.#proposals = proposals;
  }

  readonly propose: QuorumService["propose"] = async (caller, proposal, call) => {
    if (proposableKind(proposal.id) === "erasure" && !readsAcross(caller)) {
      const rule = "only Root of tenant system may propose to erase a tenant";
      fail({ kind: "tenantForbidden", tenant: caller.tenant, rule });
    }
    const { ledger, spellModel, compileSchema, rescore } = this.#deps;
    const draft = draftRecord(ledger.reader, proposal, {
      spellModel,
      compileSchema: (schema, { signal }) => compileSchema(schema, { tenant: caller.tenant, signal }),
      rescore,
    });
    const { method = "ProposeRecord" } = proposal;
    return this.#put(caller, draft, proposal, () => proposalBytes(proposal), method, call);
  };

  readonly proposeWitnessChange: QuorumService["proposeWitnessChange"] = (caller, proposal, call) => {
    const draft = draftChange(
      this.#deps.ledger.reader,
      proposal,
      async () => (await this.registry()).registry,
    );
    return this.#put(caller, draft, proposal, () => changeBytes(proposal), "ProposeWitnessChange", call);
  };

  async #put(
    caller: Caller,
    draft: Draft,
    put: RecordProposal | WitnessProposal,
    body: () => Uint8Array,
    rpc: string,
    call: CallContext,
  ): Promise<Proposed> {
    const { idempotencyKey: key, reason, lifetimeMs, commit } = put;
    const given = { reason, lifetimeMs, commit };
    return this.#deps.ledger.once(
      idempotencyScope(caller, rpc, key),
      body,
      (append) => openProposal(this.#proposals, caller, draft, given, call, append),
      (outcome) => replayOpening(this.#proposals, outcome),
    );
  }

  readonly get: QuorumService["get"] = async (caller, id) => {
    const kept = await this.#proposals.find(id);
    const current = await readNewest(this.#deps.ledger.reader, systemScope, kept.body.id);
    // It names decisions of every tenant: whoever may read its record gets it.
    const isReader = caller.tenant === systemTenant;
    const report = isReader ? await flipReportIn(this.#deps.ledger.reader, kept) : undefined;
    return {
      proposal: await this.#proposals.view(kept),
      current: current ?? null,
      flipReport: report === undefined ? null : encodeBody(report.body),
    };
  };

  readonly list: QuorumService["list"] = (caller, query, signal) =>
    listProposals(this.#proposals, caller, query, signal);

  readonly attest: QuorumService["attest"] = (id, statement, call) =>
    attestProposal(this.#proposals, id, statement, call);

  readonly commit: QuorumService["commit"] = async (caller, id, call) => {
    const known = await this.#proposals.find(id);
    const answer = async (kept: KeptProposal): Promise<{ proposal: Proposal; record: VersionedRecord }> => ({
      proposal: await this.#proposals.view(kept),
      record: await this.#proposals.committed(kept),
    });
    if (known.ending?.outcome === "committed") return answer(known);
    await this.#deps.authorise(caller, [proposalQuestion("canon.commit", id)], call);
    return this.#proposals.inTurn(async () => {
      const kept = await this.#proposals.find(id);
      const moment = await this.#proposals.state.now();
      const facts = await this.#proposals.facts(kept, moment);
      const plan = planCommit(stateOf(kept, facts.registry), facts);
      if (plan.kind === "already") return answer(kept);
      if (plan.kind === "refused") {
        await this.#proposals.endLapsed();
        if (plan.reason === "quorumShort")
          return fail({ kind: "quorumShort", proposal: id, needed: plan.needed });
        return fail(errorOf(id, plan));
      }
      await requireProposerLeft(this.#deps, kept.body);
      await flipReportIn(this.#deps.ledger.reader, kept);
      const batch = commitOf(kept, evidenceOf(kept, facts), moment, this.#deps.nowMs());
      const { bodies, attestations } = batch;
      const extraOps = announcing(this.#deps, kept);
      await this.#deps.ledger.append(bodies, { signal: call.signal, attestations, extraOps });
      return answer(await this.#proposals.find(id));
    });
  };

  readonly withdraw: QuorumService["withdraw"] = async (caller, id, reason, call) => {
    await this.#proposals.find(id);
    await this.#deps.authorise(caller, [proposalQuestion("canon.withdraw", id)], call);
    return this.#proposals.inTurn(async () => {
      const kept = await this.#proposals.find(id);
      const { registry } = await this.registry();
      const by = { principal: caller.principal, mayForOthers: mayWithdrawForOthers(caller, kept) };
      const nowMs = this.#deps.nowMs();
      const plan = planWithdraw(stateOf(kept, registry), { nowMs }, by);
      if (plan.kind === "refused") return fail(errorOf(id, plan));
      if (plan.kind === "withdraw") {
        const ending = endingOf(kept, { outcome: "withdrawn", reason }, nowMs);
        await this.#deps.ledger.append([ending], { signal: call.signal });
      }
      return this.#proposals.view(await this.#proposals.find(id));
    });
  };

  readonly systemRecord: QuorumService["systemRecord"] = (id, version) =>
    readSystemRecord(this.#deps.ledger.reader, id, version);

  readonly registry: QuorumService["registry"] = async () => (await this.#proposals.state.now()).registry;

  readonly witnesses: QuorumService["witnesses"] = async (caller, query) => {
    const { registry } = await this.registry();
    const byId = [...registry.witnesses.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    const tokens = new PageTokens(this.#deps.ledger.reader, systemTenant, [caller.principal, "witnesses"]);
    // Compares ids, so that a witness removed between two pages leaves no gap.
    const { items, nextPageToken } = await takeFew(byId, query, tokens, {
      placeOf: ({ id }) => id,
      isFrom: ({ id }, place) => id >= place,
    });
    return { registry, witnesses: items, nextPageToken };
  };

  readonly inTurn: GovernedTurns["inTurn"] = (step) => this.#proposals.inTurn(step);

  readonly reaches: GovernedTurns["reaches"] = async (proposer, proposerKeys) => {
    const { registry } = await this.registry();
    return canReachQuorum(proposedNow(proposer, this.#deps.ledger.reader.size), registry, proposerKeys);
  };
}

/** Reads the open proposals and the registry from the ledger before serving. @throws recordCorrupt. */
export const createQuorumService = async (
  deps: ProposalsDependencies,
): Promise<QuorumService & GovernedTurns> => {
  const state = new QuorumState(deps.ledger, deps.nowMs);
  await state.now();
  return new Quorum(deps, new Proposals(deps, state));
};
