/** Opens a proposal: after a trust decision, under the mutex, within the quotas, and only if it can ever commit. */
import type { CborValue } from "@sigil/core/cbor";
import type { Hash } from "@sigil/core/bytes";
import { canReachQuorum } from "@sigil/core/quorum";
import { encodeBody, hashRecord, proposalPrefix, type RecordBody } from "@sigil/core/record";
import { fail } from "../../errors.ts";
import type { CallContext, Caller } from "../../identity/caller.ts";
import type { Appended } from "../../ledger/append/commit.ts";
import type { AppendOnce } from "../../ledger/append/once.ts";
import { openProposalsPerCallerMax } from "../../limits.ts";
import type { Proposed, RecordProposal } from "../domain.ts";
import { decisionOf } from "../records/reading.ts";
import { flipReportBody, linkToReport } from "./flip-report.ts";
import { keepProposal, stateOf, type KeptProposal } from "./kept-proposal.ts";
import { requireProposalPlace, type Proposer } from "./proposal-places.ts";
import type { Proposals } from "./proposals.ts";
import { requireProposerLeft } from "./proposers.ts";
import { decisionLink, proposalBody, type Draft } from "./proposing.ts";

/** Options independent of the content. */
type Put = Pick<RecordProposal, "lifetimeMs" | "reason" | "commit">;

const noDecision = new Uint8Array(32) as Hash;

/** Checks the quotas, looking each proposer up once. @throws overQuota. */
const requirePlace = async ({ deps, state }: Proposals, caller: Caller): Promise<void> => {
  const { open } = await state.now();
  const tenants = new Map<string, string>();
  const proposers: Proposer[] = [];
  for (const { payload } of open.values()) {
    const { proposer: principal } = payload;
    const tenant = tenants.get(principal) ?? (await deps.principals.find(principal))?.tenant ?? "";
    tenants.set(principal, tenant);
    proposers.push({ principal, tenant });
  }
  requireProposalPlace(caller, proposers);
};

/** The proposal as it will be once committed at `position`. */
const asCommitted = (body: RecordBody, position: bigint): KeptProposal =>
  keepProposal({ position, hash: hashRecord(encodeBody(body)), body });

/** Refuses a proposal that can never commit, for example with k of k witnesses, one of them the proposer. */
const requireReachable = async ({ deps, state }: Proposals, body: RecordBody): Promise<void> => {
  const kept = asCommitted(body, deps.ledger.reader.size);
  const { registry } = (await state.now()).registry;
  const proposer = await deps.principals.find(kept.payload.proposer);
  if (canReachQuorum(stateOf(kept, registry), registry, proposer?.publicKeys ?? [])) return;
  const rule = `the proposal could never commit: ${registry.k} must approve, and its proposer's own witness may not`;
  fail({ kind: "attestationRefused", reason: "QUORUM_UNREACHABLE", rule });
};

/** @throws denied, overQuota, idempotencyConflict, and what the draft throws. */
export const openProposal = async (
  proposals: Proposals,
  caller: Caller,
  draft: Draft,
  put: Put,
  call: CallContext,
  append: AppendOnce,
): Promise<Proposed> => {
  const { deps, state } = proposals;
  const { authorise, newId, nowMs } = deps;
  // Invalid proposals and those over quota are refused without a decision.
  if ((await state.now()).open.size >= openProposalsPerCallerMax) {
    await proposals.inTurn(() => proposals.endLapsed());
    await requirePlace(proposals, caller);
  }
  const [drafted] = await draft.bodies([decisionLink(noDecision)], nowMs());
  if (drafted !== undefined) await requireProposerLeft(deps, drafted);
  const target = `canon/system/${draft.id}`;
  const question = { action: "canon.propose", target, session: "", input: new Uint8Array(0) } as const;
  const [allowed] = await authorise(caller, [question], call);
  if (allowed === undefined) return fail({ kind: "indeterminate", rule: "the trust model gave no answer" });
  await draft.checkAllowed?.(call);
  const rescored = await draft.rescore?.(call);
  return proposals.inTurn(async () => {
    await proposals.endLapsed();
    await requirePlace(proposals, caller);
    const ts = nowMs();
    const id = proposalPrefix + newId(ts);
    const links = [decisionLink(allowed.hash)];
    const reports = rescored === undefined ? [] : [flipReportBody({ ...rescored, proposal: id }, links, ts)];
    const bodies = await draft.bodies([...links, ...reports.map(linkToReport)], ts);
    const { epoch } = (await state.now()).registry.registry;
    const proposer = caller.principal;
    const body = proposalBody(id, bodies, { ...put, epoch, ts, proposer, links });
    const outcome = (appended: readonly Appended[]): CborValue => appended.at(-1)?.position ?? null;
    await requireReachable(proposals, body);
    await draft.beforeWrite?.();
    // One atomic batch: no proposal is without the report that its body names.
    await append([...reports, body], { outcome, signal: call.signal });
    const proposal = await proposals.view(await proposals.find(body.id));
    return { proposal, auditId: allowed.auditId };
  });
};

/** Answers a repeated proposal with its current state. */
export const replayOpening = async (proposals: Proposals, outcome: CborValue): Promise<Proposed> => {
  const { reader } = proposals.deps.ledger;
  const { body } = await reader.readAt(BigInt(outcome as number | bigint));
  const auditId = await decisionOf(reader, body);
  return { proposal: await proposals.view(await proposals.find(body.id)), auditId };
};
