/**
 * A registry, two records and proposals about them, run by `src/canon`, with a log of all events for the oracle. After
 * every step both are compared. Signatures are simulated: their validity is an input.
 */
import { parseHash, parsePublicKey, toHex, u64be, type Hash, type PublicKey } from "../../src/core/bytes.ts";
import { coseKeyThumbprint } from "../../src/core/cose/cose.ts";
import { wireReason } from "../../src/core/quorum/refusals.ts";
import { looksLike } from "../../src/canon/proposals/look-alikes.ts";
import { planRegistryChange, type Registry, type RegistryChange } from "../../src/core/quorum/registry.ts";
import {
  planAttest,
  planCommit,
  planWithdraw,
  type Facts,
  type ProposalState,
  type SignatureCheck,
} from "../../src/core/quorum/plan.ts";
import { canReachItsK, recount, type LogEntry, type Member } from "./quorum-oracle.ts";

export const origin = "ledger.example/main";

const nameBytes = (name: number): Uint8Array => {
  const bytes = new Uint8Array(32);
  bytes.set(u64be(BigInt(name)));
  return bytes;
};

/** All keys of schedules, with thumbprints computed once. */
const keysMax = 64;
const keys = Array.from({ length: keysMax }, (_, name) => {
  const publicKey = parsePublicKey(nameBytes(name + 1));
  return { publicKey, thumbprint: coseKeyThumbprint(publicKey) };
});
const keyNamed = (name: number) => {
  const key = keys[name];
  if (key === undefined) throw new Error(`a schedule may use ${keysMax} keys`);
  return key;
};
const hexOfKey = (name: number): string => toHex(keyNamed(name).publicKey);
const hashNamed = (name: number): Hash => parseHash(nameBytes(name));

export type Seat = {
  readonly id: string;
  readonly key: number;
  readonly owner: string;
  readonly enrolledAt: number;
};

/** A requested change of the registry, with keys by name. */
export type Change =
  | {
      readonly kind: "add";
      readonly id: string;
      readonly key: number;
      readonly owner: string;
      readonly k?: number;
    }
  | { readonly kind: "remove"; readonly id: string; readonly k?: number }
  | { readonly kind: "replace"; readonly id: string; readonly key: number }
  | { readonly kind: "quorum"; readonly k?: number; readonly proposerMayAttest?: boolean };

type Applied = {
  readonly seats: readonly Seat[];
  readonly k: number;
  readonly epoch: number;
  readonly proposerMayAttest: boolean;
};

/** A change as planned when it was proposed; its position is set by the commit. */
type Decided = Omit<Applied, "seats"> & {
  readonly seats: readonly (Omit<Seat, "enrolledAt"> & { readonly enrolledAt: number | null })[];
  readonly enrols: { readonly witness: string; readonly key: number } | null;
};

type Target = "model" | "registry";

type Proposal = {
  readonly target: Target;
  readonly body: number;
  readonly decided: Decided | null;
  readonly proposerKeys: readonly number[];
  state: ProposalState;
};

export type Submission = {
  readonly key: number;
  readonly verdict: "approve" | "reject";
  readonly signature: SignatureCheck;
  readonly origin?: string;
  readonly about?: string;
  readonly otherBody?: boolean;
  /** Added to the current epoch. */
  readonly epochOffset?: number;
  /** Equal numbers mean equal statements. */
  readonly statement: number;
};

export class World {
  readonly log: LogEntry[] = [];
  readonly wrongs: string[] = [];
  readonly reasons = new Map<string, number>();
  commits = 0;
  nowMs = 0;
  #position = 99;
  #names = 1000;
  #registry: Registry;
  #applied: Applied;
  readonly #heads = new Map<Target, number>();
  readonly #proposals = new Map<string, Proposal>();

  constructor(applied: Applied) {
    this.#applied = applied;
    this.#registry = this.#enforce(applied);
    this.moveHead("model");
  }

  get seats(): readonly Seat[] {
    return this.#applied.seats;
  }

  get k(): number {
    return this.#applied.k;
  }

  isProposed(id: string): boolean {
    return this.#proposals.has(id);
  }

  /** The key that the proposal would enrol. */
  enrolledBy(id: string): number | null {
    return this.#proposals.get(id)?.decided?.enrols?.key ?? null;
  }

  #enforce(applied: Applied): Registry {
    const { seats, k, epoch, proposerMayAttest } = applied;
    this.#applied = applied;
    const members: Member[] = seats.map(({ id, key, owner, enrolledAt }) => ({
      id,
      key: hexOfKey(key),
      owner,
      enrolledAt,
    }));
    this.log.push({ kind: "registry", k, epoch, proposerMayAttest, members });
    const hash = this.moveHead("registry");
    const witnesses = seats.map(
      ({ id, key, owner, enrolledAt }) =>
        [
          id,
          { id, ...keyNamed(key), owner, authority: "", description: "", enrolledAt: BigInt(enrolledAt) },
        ] as const,
    );
    const position = BigInt(this.#position);
    this.#registry = { k, epoch, proposerMayAttest, witnesses: new Map(witnesses), position, hash };
    return this.#registry;
  }

  moveHead(target: Target, name = (this.#names += 1)): Hash {
    this.#heads.set(target, name);
    this.log.push({ kind: "head", target, hash: String(name) });
    return hashNamed(name);
  }

  /** Null if the rules refuse the change. */
  #decide(change: Change): Decided | null {
    const toWitness = (key: number, owner: string) => ({
      publicKey: keyNamed(key).publicKey,
      owner,
      authority: "",
      description: "",
    });
    const asked: RegistryChange =
      change.kind === "add"
        ? {
            kind: "add",
            id: change.id,
            witness: toWitness(change.key, change.owner),
            ...(change.k === undefined ? {} : { k: change.k }),
          }
        : change.kind === "replace"
          ? { kind: "replace", id: change.id, publicKey: keyNamed(change.key).publicKey }
          : change;
    const plan = planRegistryChange(this.#registry, asked, looksLike);
    if (plan.kind === "refused") return null;
    const { quorum, enrols } = plan;
    const enrolledKey = change.kind === "add" || change.kind === "replace" ? change.key : null;
    const seats = quorum.witnesses.map((id) => {
      const before = this.seats.find((seat) => seat.id === id);
      if (enrols?.id === id && enrolledKey !== null) {
        return { id, key: enrolledKey, owner: enrols.witness.owner, enrolledAt: null };
      }
      if (before === undefined) throw new Error(`a plan names "${id}", who is not enrolled`);
      return before;
    });
    const { k, epoch, proposerMayAttest } = quorum;
    return {
      seats,
      k,
      epoch,
      proposerMayAttest,
      enrols: enrols === null || enrolledKey === null ? null : { witness: enrols.id, key: enrolledKey },
    };
  }

  #apply(decided: Decided): void {
    this.#position += 1;
    const at = this.#position;
    const seats = decided.seats.map((seat) => ({ ...seat, enrolledAt: seat.enrolledAt ?? at }));
    const { k, epoch, proposerMayAttest } = decided;
    this.#enforce({ seats, k, epoch, proposerMayAttest });
    const last = this.log.findLast((entry) => entry.kind === "registry");
    if (last?.kind === "registry" && !canReachItsK(k, last.members)) {
      this.wrongs.push(`a change led to a registry that cannot reach its k of ${k}`);
    }
  }

  /** Applies a change committed by an unrelated proposal. */
  changeRegistry(change: Change): void {
    const decided = this.#decide(change);
    if (decided !== null) this.#apply(decided);
  }

  propose(
    id: string,
    options: {
      readonly commit: "auto" | "separate";
      readonly expiresMs: number;
      readonly proposer: string;
      readonly proposerKeys: readonly number[];
      readonly change: Change | null;
    },
  ): void {
    const { commit, expiresMs, proposer, proposerKeys, change } = options;
    const decided = change === null ? null : this.#decide(change);
    const target = decided === null ? "model" : "registry";
    const base = this.#heads.get(target) ?? 0;
    const body = (this.#names += 1);
    const position = (this.#position += 1);
    const enrols = decided?.enrols ?? null;
    this.#proposals.set(id, {
      target,
      body,
      decided,
      proposerKeys,
      state: {
        id,
        position: BigInt(position),
        record: hashNamed(body),
        base: hashNamed(base),
        expiresMs,
        proposer,
        commit,
        enrols:
          enrols === null ? null : { witness: enrols.witness, publicKey: keyNamed(enrols.key).publicKey },
        status: "open",
        given: [],
      },
    });
    this.log.push({
      kind: "proposed",
      proposal: id,
      position,
      target,
      base: String(base),
      body: String(body),
      expiresMs,
      proposer,
      proposerKeys: proposerKeys.map(hexOfKey),
      enrols: enrols === null ? null : hexOfKey(enrols.key),
    });
  }

  #facts({ target, proposerKeys }: Proposal): Facts {
    return {
      registry: this.#registry,
      origin,
      nowMs: this.nowMs,
      head: hashNamed(this.#heads.get(target) ?? 0),
      proposerKeys: proposerKeys.map((name): PublicKey => keyNamed(name).publicKey),
    };
  }

  #recount(id: string) {
    return recount(this.log, id, this.nowMs, origin);
  }

  #end(id: string, proposal: Proposal, status: "committed" | "rejected" | "withdrawn"): void {
    if (proposal.state.status !== "open") this.wrongs.push(`${id} ended twice`);
    if (status === "committed") {
      const { ready, votes, k } = this.#recount(id);
      if (!ready) this.wrongs.push(`${id} committed with ${votes.length} votes, k = ${k}`);
      this.commits += 1;
    }
    proposal.state = { ...proposal.state, status };
    this.log.push({ kind: "ended", proposal: id });
    if (status !== "committed") return;
    if (proposal.decided === null) this.moveHead(proposal.target, proposal.body);
    else this.#apply(proposal.decided);
  }

  #note(reason: string): void {
    this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
  }

  attest(id: string, said: Submission): void {
    const proposal = this.#proposals.get(id);
    if (proposal === undefined) return;
    const { key, verdict, signature, about = id, statement } = said;
    const epoch = this.#applied.epoch + (said.epochOffset ?? 0);
    const body = said.otherBody === true ? proposal.body + 500_000 : proposal.body;
    const before = this.#recount(id);
    this.log.push({
      kind: "submitted",
      to: id,
      key: hexOfKey(key),
      genuine: signature === "holds",
      origin: said.origin ?? origin,
      about,
      body: String(body),
      epoch,
      verdict,
      nowMs: this.nowMs,
    });
    const after = this.#recount(id);
    const digest = nameBytes(key);
    digest.set(u64be(BigInt(statement)), 8);
    digest.set(u64be(BigInt(epoch)), 16);
    const plan = planAttest(
      proposal.state,
      this.#facts(proposal),
      {
        origin: said.origin ?? origin,
        subject: about,
        kid: keyNamed(key).thumbprint,
        attestation: { proposal: about, record: hashNamed(body), epoch, verdict },
        digest: parseHash(digest),
      },
      signature,
    );
    const counts = after.votes.length > before.votes.length || (after.possessed && !before.possessed);
    if ((plan.kind === "accepted") !== counts) {
      const answer = plan.kind === "accepted" ? "accepted" : wireReason(plan);
      this.wrongs.push(`${id}: an attestation was ${answer}, the recount says ${counts}`);
    }
    if (plan.kind === "refused") return this.#note(wireReason(plan));
    proposal.state = plan.state;
    const mustCommit = after.ready && plan.given.role !== "reject" && proposal.state.commit === "auto";
    if ((plan.next === "commit") !== mustCommit) {
      this.wrongs.push(`${id}: ${plan.next} after an attestation, the recount says commit: ${mustCommit}`);
    }
    if (plan.given.role === "reject") this.#checkRejection(id, plan.next === "reject");
    if (plan.next === "commit") this.#end(id, proposal, "committed");
    if (plan.next === "reject") this.#end(id, proposal, "rejected");
  }

  #checkRejection(id: string, rejected: boolean): void {
    const { k, hasClash, mostApprovals } = this.#recount(id);
    const isLost = mostApprovals() < k;
    // If witnesses share a key or an owner, the rules may keep a lost proposal open, but never reject one early.
    if (rejected !== isLost && (rejected || !hasClash)) {
      this.wrongs.push(`${id}: rejected: ${rejected}, though up to ${mostApprovals()} may approve, k = ${k}`);
    }
  }

  commit(id: string): void {
    const proposal = this.#proposals.get(id);
    if (proposal === undefined) return;
    const plan = planCommit(proposal.state, this.#facts(proposal));
    if (plan.kind === "refused") this.#note(`commit ${wireReason(plan)}`);
    if (plan.kind === "commit") this.#end(id, proposal, "committed");
  }

  withdraw(id: string): void {
    const proposal = this.#proposals.get(id);
    if (proposal === undefined) return;
    const by = { principal: proposal.state.proposer, mayForOthers: false };
    if (planWithdraw(proposal.state, this.#facts(proposal), by).kind === "withdraw") {
      this.#end(id, proposal, "withdrawn");
    }
  }

  /** Checks that rules and recount agree on whether each proposal may be committed. */
  compare(): void {
    for (const [id, proposal] of this.#proposals) {
      if (proposal.state.status !== "open") continue;
      const may = planCommit(proposal.state, this.#facts(proposal)).kind === "commit";
      const { ready } = this.#recount(id);
      if (may !== ready) this.wrongs.push(`${id}: may be committed: ${may}, the recount says ${ready}`);
    }
  }
}
