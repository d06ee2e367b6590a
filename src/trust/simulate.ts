/**
 * Evaluates a candidate model. Records nothing. Recorded decisions are scored with their recorded rate and entropy, and
 * with the candidate's tables and weights.
 */
import type { Hash } from "@sigil/core/bytes";
import type { CborValue } from "@sigil/core/cbor";
import { flipDecisionsMax } from "@sigil/core/limits";
import { fail, SigilFault } from "../errors.ts";
import { simulateDecisionsMax } from "../limits.ts";
import {
  readDecision,
  type Flip,
  type FrozenChainPayload,
  type Rescoring,
  systemTenant,
  canonicalAction,
  canonicalTarget,
  spellingOr,
  witnessPrefix,
} from "@sigil/core/record";
import { readsAcross, runPaced, type CallContext, type Caller } from "../identity/caller.ts";
import type { LedgerReader } from "../ledger/read/reading.ts";
import type { LoadedModel } from "./active-model.ts";
import type { SimulateQuestion, SimulatedDecision, Simulation } from "./decision.ts";
import {
  gatherFeatures,
  lookUpFeatures,
  type Observation,
  withCanonicalGlobs,
  evaluate,
  parseModel,
  type TrustModel,
} from "@sigil/core/model";
import { describeFinding, lintModel } from "./lint.ts";

/** Records examined per requested decision, plus a constant: with few decisions in the ledger the walk stops early. */
const scannedPerDecision = 4;
const scannedBesides = 1000;
/** Decisions scored between two yields: less than a millisecond. */
const decisionsPerTurn = 8;

const summarise = (
  decisions: readonly SimulatedDecision[],
  { candidate, includeUnchanged }: Asked,
  erased = 0,
): Simulation => {
  const flips = decisions.filter(({ current, candidate }) => current !== candidate);
  return {
    warnings: lintModel(candidate).findings.map(describeFinding),
    scored: decisions.length,
    flipped: flips.length,
    erased,
    decisions: includeUnchanged ? decisions : flips,
  };
};

/** Inputs common to all simulations. */
type Asked = {
  /** An unchecked trust_model payload. */
  readonly candidate: CborValue;
  readonly includeUnchanged: boolean;
};

/** Parses the candidate as it would decide: a proposed model may predate canonical globs. @throws malformedModel. */
const parseCandidate = (payload: CborValue): TrustModel => {
  parseModel(payload);
  return parseModel(withCanonicalGlobs(payload));
};

/** One check under the active model and the candidate. @throws malformedModel. */
export const simulateCheck = (
  active: LoadedModel,
  asked: Asked & { readonly observation: Observation; readonly subject: string },
): Simulation => {
  const { observation, subject } = asked;
  const candidateModel = parseCandidate(asked.candidate);
  const current = evaluate(active.compiled, gatherFeatures(active.compiled, observation));
  const candidate = evaluate(candidateModel, gatherFeatures(candidateModel, observation));
  const decision: SimulatedDecision = {
    auditId: "",
    action: observation.action,
    target: observation.target,
    subject,
    current: current.verdict.kind,
    candidate: candidate.verdict.kind,
    currentScore: current.score,
    candidateScore: candidate.score,
    candidateReason: candidate.verdict.reason,
  };
  return summarise([decision], asked);
};

const rescore = (model: TrustModel, auditId: string, chain: FrozenChainPayload): SimulatedDecision => {
  const { subject, loa, minLoa } = chain.request;
  // The canonical form that it would have today.
  const action = spellingOr(canonicalAction(chain.request.action), chain.request.action);
  const target = spellingOr(canonicalTarget(chain.request.target), chain.request.target);
  const measured = { rate: chain.features["rate"] ?? 1, entropy: chain.features["entropy"] ?? 1 };
  const asked = { action, target, level: loa, minLevel: minLoa };
  const candidate = evaluate(model, lookUpFeatures(model, asked, measured));
  return {
    auditId,
    action,
    target,
    subject,
    current: chain.verdict,
    candidate: candidate.verdict.kind,
    currentScore: chain.score,
    candidateScore: candidate.score,
    candidateReason: candidate.verdict.reason,
  };
};

/** The tenants whose decisions are scored. */
export type Reach = { readonly kind: "tenant"; readonly tenant: string } | { readonly kind: "all" };

/** Whether the caller is a witness with its own key. */
const isWitness = ({ principal, tenant }: Caller): boolean =>
  tenant === systemTenant && principal.startsWith(witnessPrefix);

/** Models apply to every tenant, so those who vote on a proposed one see its effect on every tenant. */
export const reachOf = (caller: Caller, { candidate }: Pick<SimulateQuestion, "candidate">): Reach =>
  candidate.kind === "proposed" && (isWitness(caller) || readsAcross(caller))
    ? { kind: "all" }
    : { kind: "tenant", tenant: caller.tenant };

/** The ledger reads needed for decisions. */
export type DecisionLedger = Pick<LedgerReader, "size" | "peekAt" | "readAt" | "decisions">;

/** Positions of decisions of every tenant, newest first. Examines at most `scanMax` records. */
async function* everyDecision(
  ledger: DecisionLedger,
  size: bigint,
  scanMax: number,
  signal: AbortSignal,
  onErased: () => void,
): AsyncGenerator<bigint, void, undefined> {
  const end = size > BigInt(scanMax) ? size - BigInt(scanMax) : 0n;
  for (let position = size - 1n; position >= end; position -= 1n) {
    if (signal.aborted) fail({ kind: "cancelled" });
    const isDecision = await ledger.peekAt(position).then(
      ({ kind }) => kind === "frozen_chain",
      // An unreadable record is yielded, so that reading it reports the damage; an erased tenant's is skipped.
      (error: unknown) => {
        const isErased = error instanceof SigilFault && error.error.kind === "erased";
        if (isErased) onErased();
        return !isErased;
      },
    );
    if (isDecision) yield position;
  }
}

async function* decisionsOf(
  ledger: DecisionLedger,
  reach: Reach,
  size: bigint,
  wanted: number,
  signal: AbortSignal,
  onErased: () => void,
): AsyncGenerator<bigint, void, undefined> {
  if (reach.kind === "all") {
    yield* everyDecision(ledger, size, wanted * scannedPerDecision + scannedBesides, signal, onErased);
    return;
  }
  const { tenant } = reach;
  const walk = { tenant, filter: {}, order: "newestFirst", size } as const;
  let left = wanted;
  for await (const { positions } of ledger.decisions(walk)) {
    for (const position of positions.slice(0, left)) {
      if (signal.aborted) fail({ kind: "cancelled" });
      yield position;
    }
    left -= positions.length;
    if (left <= 0) return;
  }
}

/** A recorded decision under the candidate. */
type Rescored = { readonly position: bigint; readonly hash: Hash; readonly decision: SimulatedDecision };

type AskedLast = Pick<Asked, "candidate"> & { readonly reach: Reach; readonly decisions: number };

/** Newest first. @throws malformedModel, recordCorrupt, cancelled. */
const rescoreLast = async (
  ledger: DecisionLedger,
  asked: AskedLast,
  call: CallContext,
): Promise<Pick<Rescoring, "size" | "erased"> & { readonly rescored: readonly Rescored[] }> => {
  const { size } = ledger;
  const model = runPaced(call, () => parseCandidate(asked.candidate));
  const wanted = Math.min(asked.decisions, simulateDecisionsMax);
  const rescored: Rescored[] = [];
  let erased = 0;
  const onErased = (): void => void (erased += 1);
  for await (const position of decisionsOf(ledger, asked.reach, size, wanted, call.signal, onErased)) {
    const { body, hash } = await ledger.readAt(position);
    if (body.kind !== "frozen_chain") continue;
    const decision = runPaced(call, () => rescore(model, body.id, readDecision(body)));
    rescored.push({ position, hash, decision });
    if (rescored.length === wanted) break;
    if (rescored.length % decisionsPerTurn === 0) await call.pace?.pause();
  }
  return { size, erased, rescored };
};

/** Scores the last decisions under the candidate. @throws malformedModel, recordCorrupt, cancelled. */
export const simulateLast = async (
  ledger: DecisionLedger,
  asked: Asked & AskedLast,
  call: CallContext,
): Promise<Simulation> => {
  const { rescored, erased } = await rescoreLast(ledger, asked, call);
  const decisions = rescored.map(({ decision }) => decision);
  return runPaced(call, () => summarise(decisions, asked, erased));
};

/** What a proposed model would change of the newest decisions of every tenant. @throws as `simulateLast`. */
export const rescoreAll = async (
  ledger: DecisionLedger,
  candidate: CborValue,
  call: CallContext,
): Promise<Rescoring> => {
  const asked = { candidate, reach: { kind: "all" }, decisions: flipDecisionsMax } as const;
  const { size, erased, rescored } = await rescoreLast(ledger, asked, call);
  const flips = rescored.flatMap(({ position, hash, decision: { current, candidate: to } }): Flip[] =>
    current === to ? [] : [{ position, record: hash, from: current, to }],
  );
  return { size, scored: rescored.length, erased, flips };
};
