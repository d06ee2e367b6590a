/** The system space: what `rpc/` calls. Proposals are made in proposing.ts, judged in rules.ts, written by proposals.ts. */
import { principalRecordId } from "@sigil/core/record";
import { fail, SigilFault } from "../../errors.ts";
import { attestationBytesMax } from "../../limits.ts";
import { idempotencyScope, readsAcross, type Caller } from "../../identity/caller.ts";
import { suspensionPrefix } from "../../identity/suspension.ts";
import { checkPublicKey, verifyForeign } from "@sigil/core/keys";
import type { Hash, PublicKey } from "@sigil/core/bytes";
import type { Attested, Proposal, VersionedRecord } from "../domain.ts";
import { proposableKind } from "../kinds.ts";
import { stateOf, systemScope, type KeptProposal } from "./kept-proposal.ts";
import { ProposalBook } from "./proposal-book.ts";
import { listProposals } from "./proposal-list.ts";
import { Proposals, type Plan, type ProposalsDependencies } from "./proposals.ts";
import { changeBytes, draftChange, draftRecord, proposalBytes, type Draft } from "./proposing.ts";
import { requireProposerLeft } from "./proposers.ts";
import { readNewest } from "../records/reading.ts";
import {
  errorOf,
  isForgery,
  canReachQuorum,
  findAttestingKey,
  planAttest,
  planCommit,
  planWithdraw,
  type AttestPlan,
  type Facts,
  type Given,
  type ProposalState,
  type SignatureCheck,
  parseAttestationStatement,
  type AttestationStatement,
} from "@sigil/core/quorum";
import { createRegistries } from "./registries.ts";
import type { GovernedTurns, QuorumService } from "../service.ts";
import { readSystemRecord } from "./system-record.ts";

/** Who gave the statement; undefined when nobody that may. */
const checkSignature = async (
  kept: KeptProposal,
  { registry }: Facts,
  statement: AttestationStatement,
): Promise<SignatureCheck> => {
  const key = findAttestingKey(stateOf(kept, registry), registry, statement.kid);
  if (key.kind === "unknown") return "fails";
  const publicKey: PublicKey = key.kind === "witness" ? key.witness.publicKey : key.publicKey;
  try {
    checkPublicKey(publicKey);
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "malformedKey") return "weakKey";
    throw error;
  }
  return (await verifyForeign(publicKey, statement.message, statement.signature)) ? "holds" : "fails";
};

/** A witness acts by its signature, whoever brings it: it is what the registry makes it, an Observer of tenant "system". */
const callerOfWitness = (witness: string): Caller => ({
  principal: `witness/${witness}`,
  tenant: "system",
  level: "observer",
  credential: "attestation",
  peer: "",
});

const nothing = new Uint8Array(0);

/**
 * Root of tenant system withdraws what others proposed, but neither what would change Root itself nor what would lift a
 * suspension: a stolen Root could keep the deployment from ever getting rid of it.
 */
const mayWithdrawForOthers = (caller: Caller, { body: { id } }: KeptProposal): boolean =>
  readsAcross(caller) && id !== principalRecordId(caller.principal) && !id.startsWith(suspensionPrefix);

/** One target for all: which proposal it is must not change who may attest. */
const proposalTarget = "canon/proposal";

/** Any proposal that somebody might make now, about nobody's key. */
const proposedNow = (proposer: string, position: bigint): ProposalState => ({
  id: "",
  position,
  record: nothing as Hash,
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
  readonly #registries: ReturnType<typeof createRegistries>;

  constructor(
    deps: ProposalsDependencies,
    proposals: Proposals,
    registries: ReturnType<typeof createRegistries>,
  ) {
    this.#deps = deps;
    this.#proposals = proposals;
    this.#registries = registries;
  }

  readonly propose: QuorumService["propose"] = async (caller, proposal, call) => {
    if (proposableKind(proposal.id) === "erasure" && !readsAcross(caller)) {
      const rule = "only Root of tenant system may propose to erase a tenant";
      fail({ kind: "tenantForbidden", tenant: caller.tenant, rule });
    }
    const draft = draftRecord(
      this.#deps.ledger.reader,
      proposal,
      this.#deps.spellModel,
      (schema, { signal }) => this.#deps.compileSchema(schema, { tenant: caller.tenant, signal }),
    );
    const { method = "ProposeRecord" } = proposal;
    return this.#put(caller, draft, proposal, () => proposalBytes(proposal), method, call);
  };

  readonly proposeWitnessChange: QuorumService["proposeWitnessChange"] = (caller, proposal, call) => {
    const draft = draftChange(this.#deps.ledger.reader, proposal, () => this.#proposals.registry());
    return this.#put(caller, draft, proposal, () => changeBytes(proposal), "ProposeWitnessChange", call);
  };

  async #put(
    caller: Caller,
    draft: Draft,
    put: Parameters<QuorumService["propose"]>[1] | Parameters<QuorumService["proposeWitnessChange"]>[1],
    body: () => Uint8Array,
    rpc: string,
    call: Parameters<QuorumService["propose"]>[2],
  ) {
    const { idempotencyKey: key, reason, lifetimeMs, commit } = put;
    const given = { reason, lifetimeMs, commit };
    return this.#deps.ledger.once(
      idempotencyScope(caller, rpc, key),
      body,
      (append) => this.#proposals.propose(caller, draft, given, call, append),
      (outcome) => this.#proposals.replay(outcome),
    );
  }

  readonly get: QuorumService["get"] = async (id) => {
    const kept = await this.#proposals.find(id);
    const current = await readNewest(this.#deps.ledger.reader, systemScope, kept.body.id);
    return { proposal: await this.#proposals.view(kept), current: current ?? null };
  };

  readonly list: QuorumService["list"] = (caller, query, signal) =>
    listProposals(this.#proposals, caller, query, signal);

  readonly attest: QuorumService["attest"] = async (id, statement, call) => {
    if (statement.length > attestationBytesMax) {
      const rule = `must be at most ${attestationBytesMax} bytes`;
      return fail({ kind: "invalidField", field: "statement", rule });
    }
    const parsed = parseAttestationStatement(statement);
    await this.#refuseForged(id, parsed);
    return this.#proposals.inTurn(async (): Promise<Attested> => {
      const { ledger, authorise } = this.#deps;
      const before = await this.#proposals.find(id);
      const facts = await this.#proposals.facts(before);
      const signature = await checkSignature(before, facts, parsed);
      const judge = async () =>
        this.#judge(before, { ...facts, nowMs: this.#deps.nowMs() }, parsed, signature);
      const { given } = await judge();
      const question = {
        action: "canon.attest",
        target: proposalTarget,
        session: id,
        input: nothing,
      } as const;
      const [allowed] = await authorise(callerOfWitness(given.witness), [question], call);
      if (allowed === undefined)
        return fail({ kind: "indeterminate", rule: "the trust model gave no answer" });
      // Deciding took time, in which the proposal may have expired.
      const plan = await judge();
      const attestation = await this.#proposals.attestation(before, given, statement, allowed.hash);
      const after = await this.#consequence(plan.next, before, facts, { given, statement });
      // One batch: the last approval and what it brings about are on disk together, or neither is.
      await ledger.append([attestation, ...after.bodies], {
        signal: call.signal,
        attestations: [[], ...after.attestations],
        ...(plan.next === "commit" ? { extraOps: this.#proposals.announcing(before) } : {}),
      });
      const kept = await this.#proposals.find(id);
      const proposal = await this.#proposals.view(kept);
      const received = proposal.attestations.at(-1);
      if (received === undefined) return fail({ kind: "notFound", what: "attestation", id });
      const committed = plan.next === "commit" ? await this.#proposals.committed(kept) : null;
      return { proposal, attestation: received, committed, auditId: allowed.auditId };
    });
  };

  /** Out of turn: what anybody may make up and send must not hold up what is genuine. */
  async #refuseForged(id: string, parsed: AttestationStatement): Promise<void> {
    const kept = await this.#proposals.find(id);
    const facts = await this.#proposals.facts(kept);
    const signature = await checkSignature(kept, facts, parsed);
    if (signature === "holds") return;
    const plan = planAttest(stateOf(kept, facts.registry), facts, parsed, signature);
    if (plan.kind === "refused" && isForgery(plan.reason)) fail(errorOf(id, plan));
  }

  /** What cannot be taken is refused before anything is decided on it: whoever repeats it leaves nothing behind. */
  async #judge(
    kept: KeptProposal,
    facts: Facts,
    parsed: AttestationStatement,
    signature: SignatureCheck,
  ): Promise<Extract<AttestPlan, { readonly kind: "accepted" }>> {
    const plan = planAttest(stateOf(kept, facts.registry), facts, parsed, signature);
    if (plan.kind === "refused") {
      await this.#proposals.endLapsed();
      return fail(errorOf(kept.id, plan));
    }
    if (plan.next === "commit") await requireProposerLeft(this.#deps, kept.body);
    return plan;
  }

  /** What else stands in the batch of a statement. */
  async #consequence(
    next: "wait" | "commit" | "reject",
    kept: KeptProposal,
    facts: Facts,
    latest: { readonly given: Given; readonly statement: Uint8Array },
  ): Promise<Plan> {
    switch (next) {
      case "wait":
        return { bodies: [], attestations: [] };
      case "reject": {
        const ending = this.#proposals.ending({ kept, outcome: "rejected", reason: "k cannot be reached" });
        return { bodies: [ending], attestations: [] };
      }
      case "commit":
        return this.#proposals.commitPlan(kept, this.#proposals.evidence(kept, facts, latest));
    }
  }

  readonly commit: QuorumService["commit"] = async (caller, id, call) => {
    const known = await this.#proposals.find(id);
    const answer = async (kept: KeptProposal): Promise<{ proposal: Proposal; record: VersionedRecord }> => ({
      proposal: await this.#proposals.view(kept),
      record: await this.#proposals.committed(kept),
    });
    if (known.ending?.outcome === "committed") return answer(known);
    await this.#authorise(caller, "canon.commit", id, call);
    return this.#proposals.inTurn(async () => {
      const kept = await this.#proposals.find(id);
      const facts = await this.#proposals.facts(kept);
      const plan = planCommit(stateOf(kept, facts.registry), facts);
      if (plan.kind === "already") return answer(kept);
      if (plan.kind === "refused") {
        await this.#proposals.endLapsed();
        if (plan.reason === "quorumShort")
          return fail({ kind: "quorumShort", proposal: id, needed: plan.needed });
        return fail(errorOf(id, plan));
      }
      const { bodies, attestations } = await this.#proposals.commitPlan(
        kept,
        this.#proposals.evidence(kept, facts),
      );
      const extraOps = this.#proposals.announcing(kept);
      await this.#deps.ledger.append(bodies, { signal: call.signal, attestations, extraOps });
      return answer(await this.#proposals.find(id));
    });
  };

  readonly withdraw: QuorumService["withdraw"] = async (caller, id, reason, call) => {
    await this.#proposals.find(id);
    await this.#authorise(caller, "canon.withdraw", id, call);
    return this.#proposals.inTurn(async () => {
      const kept = await this.#proposals.find(id);
      const facts = await this.#proposals.facts(kept);
      const by = { principal: caller.principal, mayForOthers: mayWithdrawForOthers(caller, kept) };
      const plan = planWithdraw(stateOf(kept, facts.registry), facts, by);
      if (plan.kind === "refused") return fail(errorOf(id, plan));
      if (plan.kind === "withdraw") {
        const ending = this.#proposals.ending({ kept, outcome: "withdrawn", reason });
        await this.#deps.ledger.append([ending], { signal: call.signal });
      }
      return this.#proposals.view(await this.#proposals.find(id));
    });
  };

  readonly systemRecord: QuorumService["systemRecord"] = (id, version) =>
    readSystemRecord(this.#deps.ledger.reader, id, version);

  readonly registry: QuorumService["registry"] = () => this.#registries.current();

  readonly inTurn: GovernedTurns["inTurn"] = (step) => this.#proposals.inTurn(step);

  readonly reaches: GovernedTurns["reaches"] = async (proposer, proposerKeys) => {
    const registry = await this.#proposals.registry();
    return canReachQuorum(proposedNow(proposer, this.#deps.ledger.reader.size), registry, proposerKeys);
  };

  async #authorise(
    caller: Caller,
    action: "canon.commit" | "canon.withdraw",
    id: string,
    call: Parameters<QuorumService["commit"]>[2],
  ): Promise<void> {
    await this.#deps.authorise(
      caller,
      [{ action, target: proposalTarget, session: id, input: nothing }],
      call,
    );
  }
}

/** Reads the open proposals from the ledger, then serves. @throws recordCorrupt. */
export const createQuorumService = async (
  deps: ProposalsDependencies,
): Promise<QuorumService & GovernedTurns> => {
  const book = await ProposalBook.open(deps.ledger, deps.nowMs());
  const registries = createRegistries(deps.ledger);
  // A deployment that cannot say who must agree does not start.
  await registries.current();
  return new Quorum(deps, new Proposals(deps, book, registries), registries);
};
