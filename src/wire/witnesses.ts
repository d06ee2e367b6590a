/**
 * Has witnesses cosign the ledger's checkpoints, where the configuration names a policy, and has answers wait for that
 * where `commit_policy` says so.
 */
import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import { isQuorum, missingWitnesses, parsePolicy, type Policy } from "@sigil/core/merkle";
import type { Config } from "../config/config.ts";
import { fail, SigilFault } from "../errors.ts";
import type { Metrics } from "../gateway/metrics.ts";
import type { LedgerReader } from "../ledger/read/reading.ts";
import type { Log } from "../rpc/call/environment.ts";
import { Cosigners, type CosignedTree } from "../witness/cosigners.ts";
import { Coverage } from "../witness/coverage.ts";
import type { Cover } from "./commit-policy.ts";

export type Witnesses = AsyncDisposable & {
  /** The newest checkpoint that the policy accepts. */
  readonly cosigned: () => CosignedTree | undefined;
  /** What answers wait for; undefined where they follow the commit. */
  readonly cover: Cover | undefined;
  /** Degraded functions, for /readyz. */
  readonly notes: () => readonly string[];
};

export type WitnessParts = {
  readonly log: Logger;
  readonly limited: Log;
  readonly metrics: Pick<
    Metrics,
    "watchWitnesses" | "watchCoverage" | "onWitnessRound" | "onWitnessRefused" | "onCoverageWaited"
  >;
};

const refuse = (rule: string, cause?: unknown): never =>
  fail({ kind: "invalidConfig", key: "witness_policy", rule }, { cause });

/** @throws invalidConfig. */
const readPolicy = async (path: string, isAwaited: boolean): Promise<Policy> => {
  const bytes = await readFile(path).catch((cause: unknown) => refuse(`${path} cannot be read`, cause));
  const policy = parsedPolicy(bytes);
  const asked = policy.witnesses.flatMap(({ label, url }) => (url === undefined ? [] : [label]));
  if (asked.length === 0) refuse(`${path} has no witness with a URL: witness NAME VKEY URL`);
  if (isAwaited && policy.quorum === undefined) {
    refuse(`${path} says quorum none: commit_policy cosigned would wait for nobody`);
  }
  if (isAwaited && !isQuorum(policy, new Set(asked))) {
    refuse(
      `${path} has a quorum that its witnesses with a URL do not make: commit_policy cosigned waits for it`,
    );
  }
  return policy;
};

/** @throws invalidConfig. */
const parsedPolicy = (bytes: Uint8Array): Policy => {
  try {
    return parsePolicy(bytes);
  } catch (cause) {
    if (!(cause instanceof SigilFault) || cause.error.kind !== "malformedCheckpoint") throw cause;
    return refuse(cause.error.rule, cause);
  }
};

/** Of witnesses that have not cosigned what the ledger had a moment ago. */
const notesOf = ({ facts }: Cosigners, policy: Policy, isAwaited: boolean): readonly string[] => {
  const labelsOf = (wanted: boolean): readonly string[] =>
    facts.filter(({ isAnswering }) => isAnswering === wanted).map(({ label }) => label);
  const silent = labelsOf(false);
  if (silent.length === 0) return [];
  const missing = missingWitnesses(policy, new Set(labelsOf(true)));
  const refused = `commit_policy cosigned: no decision is answered, cosignatures missing: ${missing}`;
  return [
    `witnesses that do not answer: ${silent.join(", ")}`,
    ...(isAwaited && missing > 0 ? [refused] : []),
  ];
};

/**
 * Compares the ledger with what its witnesses saw, then asks them as it grows. Undefined without a policy.
 * @throws invalidConfig; ledgerBehindWitness; notServing if `anchor_required` and one does not answer.
 */
export const openWitnesses = async (
  ledger: LedgerReader,
  config: Config,
  { log, limited, metrics }: WitnessParts,
): Promise<Witnesses | undefined> => {
  const { witness_policy: path, witness_interval_ms: intervalMs, cosigned_timeout_ms: waitMs } = config;
  if (path === "") return undefined;
  const isAwaited = config.commit_policy === "cosigned";
  const { trees, origin } = ledger;
  const policy = await readPolicy(path, isAwaited);
  const coverage = new Coverage({
    waitMs,
    want: () => cosigners.want(),
    missing: (position) => cosigners.missing(position),
    onWaited: metrics.onCoverageWaited,
  });
  const cosigners = new Cosigners({
    log: { origin, newest: () => trees.newest, rootAt: (size) => trees.rootAt(size) },
    policy,
    intervalMs,
    ...(isAwaited ? { waitMs } : {}),
    onRound: metrics.onWitnessRound,
    onCosigned: (size) => {
      log.debug({ size: String(size) }, "checkpoint cosigned");
      coverage.extend(size);
    },
    onRefused: (witness, rule) => {
      metrics.onWitnessRefused(witness);
      limited.warn({ witness, rule }, "a witness did not cosign");
    },
  });
  const stopping = new AbortController();
  const silent = await cosigners.anchor(stopping.signal);
  if (silent.length > 0 && config.anchor_required) {
    const rule = `anchor_required, and witnesses do not answer: ${silent.join(", ")}`;
    fail({ kind: "notServing", rule });
  }
  metrics.watchWitnesses(() => cosigners.facts);
  if (isAwaited) metrics.watchCoverage(() => coverage.waiting);
  const running = cosigners.run(stopping.signal);
  return {
    cosigned: () => cosigners.cosigned,
    cover: isAwaited ? (position, { signal }) => coverage.require(position, signal) : undefined,
    notes: () => notesOf(cosigners, policy, isAwaited),
    [Symbol.asyncDispose]: async () => {
      coverage.end();
      stopping.abort();
      await running;
    },
  };
};
