/**
 * A second, deliberately simple implementation of the proposal rules: all events are a log, and each query walks all of
 * it. Shares no code with `src/canon`; names represent keys and hashes.
 */

export type Member = {
  readonly id: string;
  readonly key: string;
  readonly owner: string;
  readonly enrolledAt: number;
};

export type LogEntry =
  | {
      readonly kind: "registry";
      readonly k: number;
      readonly epoch: number;
      readonly proposerMayAttest: boolean;
      readonly members: readonly Member[];
    }
  | { readonly kind: "head"; readonly target: string; readonly hash: string }
  | {
      readonly kind: "proposed";
      readonly proposal: string;
      readonly position: number;
      readonly target: string;
      readonly base: string;
      readonly body: string;
      readonly expiresMs: number;
      readonly proposer: string;
      readonly proposerKeys: readonly string[];
      readonly enrols: string | null;
    }
  | {
      readonly kind: "submitted";
      /** The proposal it was submitted for. */
      readonly to: string;
      readonly key: string;
      readonly genuine: boolean;
      readonly origin: string;
      readonly about: string;
      readonly body: string;
      readonly epoch: number;
      readonly verdict: "approve" | "reject";
      readonly nowMs: number;
    }
  | { readonly kind: "ended"; readonly proposal: string };

type Entry<Kind extends LogEntry["kind"]> = Extract<LogEntry, { readonly kind: Kind }>;

export type Vote = { readonly member: Member; readonly verdict: "approve" | "reject" };

export type Recount = {
  readonly votes: readonly Vote[];
  readonly possessed: boolean;
  /** Whether it may be committed. */
  readonly ready: boolean;
  /** Maximum possible approvals if all remaining witnesses approve. */
  readonly mostApprovals: () => number;
  readonly k: number;
  /** Whether two members of the registry share a key or owner; never so in a planned registry. */
  readonly hasClash: boolean;
};

const fold = (name: string): string => name.trim().toLowerCase();

const isOwn = (member: Member, { proposer, proposerKeys }: Entry<"proposed">): boolean =>
  proposerKeys.includes(member.key) ||
  fold(proposer) === fold(member.id) ||
  fold(proposer) === fold(member.owner) ||
  fold(proposer) === fold(`witness/${member.id}`);

const clash = (a: Member, b: Member): boolean =>
  a.id === b.id || a.key === b.key || fold(a.owner) === fold(b.owner);

const mayVote = (member: Member, proposal: Entry<"proposed">, registry: Entry<"registry">): boolean =>
  member.enrolledAt < proposal.position && (registry.proposerMayAttest || !isOwn(member, proposal));

const hasClash = (members: readonly Member[]): boolean =>
  members.some((a, index) => members.slice(index + 1).some((b) => clash(a, b)));

/** Size of the largest set of members without a clash, by trying every subset. */
const largestWithoutClash = (members: readonly Member[]): number => {
  let largest = 0;
  for (let subset = 0; subset < 1 << members.length; subset += 1) {
    const chosen = members.filter((_, index) => (subset >> index) & 1);
    if (!hasClash(chosen)) largest = Math.max(largest, chosen.length);
  }
  return largest;
};

/** Whether a registry can reach its k. */
export const canReachItsK = (k: number, members: readonly Member[]): boolean =>
  Number.isInteger(k) && k >= 1 && k <= largestWithoutClash(members);

/** A proposal's state after the whole log, at `nowMs`. */
export const recount = (log: readonly LogEntry[], id: string, nowMs: number, origin: string): Recount => {
  let registry: Entry<"registry"> | undefined;
  let proposal: Entry<"proposed"> | undefined;
  let ended = false;
  let votes: Vote[] = [];
  let possessed = false;
  const heads = new Map<string, string>();
  const isQuorum = () =>
    registry !== undefined &&
    Number.isInteger(registry.k) &&
    registry.k > 0 &&
    registry.k <= registry.members.length;
  const isLive = (atMs: number) =>
    proposal !== undefined &&
    !ended &&
    isQuorum() &&
    atMs < proposal.expiresMs &&
    heads.get(proposal.target) === proposal.base;

  const hear = (said: Entry<"submitted">) => {
    if (registry === undefined || proposal === undefined || !isLive(said.nowMs)) return;
    if (!said.genuine || said.origin !== origin || said.about !== id) return;
    if (said.body !== proposal.body || said.epoch !== registry.epoch) return;
    const member = registry.members.find(({ key }) => key === said.key);
    if (member === undefined) {
      if (said.key === proposal.enrols && said.verdict === "approve") possessed = true;
      return;
    }
    if (!mayVote(member, proposal, registry)) return;
    if (votes.some((vote) => clash(vote.member, member))) return;
    votes.push({ member, verdict: said.verdict });
  };

  for (const entry of log) {
    switch (entry.kind) {
      case "registry":
        // A new epoch resets all votes.
        registry = entry;
        votes = [];
        possessed = false;
        break;
      case "head":
        heads.set(entry.target, entry.hash);
        break;
      case "proposed":
        if (entry.proposal === id) proposal = entry;
        break;
      case "submitted":
        if (entry.to === id) hear(entry);
        break;
      case "ended":
        if (entry.proposal === id) ended = true;
        break;
    }
  }
  const approvals = votes.filter(({ verdict }) => verdict === "approve").length;
  const k = registry?.k ?? 0;
  return {
    votes,
    possessed,
    k,
    hasClash: registry !== undefined && hasClash(registry.members),
    ready: isLive(nowMs) && approvals >= k && (proposal?.enrols === null || possessed),
    mostApprovals: () => {
      const left = (registry?.members ?? []).filter(
        (member) =>
          registry !== undefined &&
          proposal !== undefined &&
          mayVote(member, proposal, registry) &&
          !votes.some((vote) => clash(vote.member, member)),
      );
      return approvals + largestWithoutClash(left);
    },
  };
};
