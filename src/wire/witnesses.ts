/** Has witnesses cosign the ledger's checkpoints, where the configuration names a policy. */
import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import { parsePolicy, type Policy } from "@sigil/core/merkle";
import type { Config } from "../config/config.ts";
import { fail, SigilFault } from "../errors.ts";
import type { Metrics } from "../gateway/metrics.ts";
import type { LedgerReader } from "../ledger/read/reading.ts";
import type { Log } from "../rpc/call/environment.ts";
import { Cosigners, type CosignedTree } from "../witness/cosigners.ts";

export type Witnesses = AsyncDisposable & {
  /** The newest checkpoint that the policy accepts. */
  readonly cosigned: () => CosignedTree | undefined;
  /** Degraded functions, for /readyz. */
  readonly notes: () => readonly string[];
};

export type WitnessParts = {
  readonly log: Logger;
  readonly limited: Log;
  readonly metrics: Pick<Metrics, "watchWitnesses" | "onWitnessRefused">;
};

const refuse = (rule: string, cause?: unknown): never =>
  fail({ kind: "invalidConfig", key: "witness_policy", rule }, { cause });

/** @throws invalidConfig. */
const readPolicy = async (path: string): Promise<Policy> => {
  const bytes = await readFile(path).catch((cause: unknown) => refuse(`${path} cannot be read`, cause));
  try {
    const policy = parsePolicy(bytes);
    const isAsked = policy.witnesses.some(({ url }) => url !== undefined);
    return isAsked ? policy : refuse(`${path} has no witness with a URL: witness NAME VKEY URL`);
  } catch (cause) {
    if (!(cause instanceof SigilFault) || cause.error.kind !== "malformedCheckpoint") throw cause;
    return refuse(cause.error.rule, cause);
  }
};

/** Of those that have not cosigned what the ledger had a moment ago. */
const noteOf = (labels: readonly string[]): readonly string[] =>
  labels.length === 0 ? [] : [`witnesses that do not answer: ${labels.join(", ")}`];

/**
 * Compares the ledger with what its witnesses saw, then asks them as it grows. Undefined without a policy.
 * @throws invalidConfig; ledgerBehindWitness; notServing if `anchor_required` and one does not answer.
 */
export const openWitnesses = async (
  ledger: LedgerReader,
  { witness_policy: path, witness_interval_ms: intervalMs, anchor_required: isRequired }: Config,
  { log, limited, metrics }: WitnessParts,
): Promise<Witnesses | undefined> => {
  if (path === "") return undefined;
  const { trees, origin } = ledger;
  const cosigners = new Cosigners({
    log: { origin, newest: () => trees.newest, rootAt: (size) => trees.rootAt(size) },
    policy: await readPolicy(path),
    intervalMs,
    onCosigned: (size) => log.debug({ size: String(size) }, "checkpoint cosigned"),
    onRefused: (witness, rule) => {
      metrics.onWitnessRefused(witness);
      limited.warn({ witness, rule }, "a witness did not cosign");
    },
  });
  const stopping = new AbortController();
  const silent = await cosigners.anchor(stopping.signal);
  if (silent.length > 0 && isRequired) {
    const rule = `anchor_required, and witnesses do not answer: ${silent.join(", ")}`;
    fail({ kind: "notServing", rule });
  }
  metrics.watchWitnesses(() => cosigners.facts);
  const running = cosigners.run(stopping.signal);
  return {
    cosigned: () => cosigners.cosigned,
    notes: () => noteOf(cosigners.facts.filter(({ isAnswering }) => !isAnswering).map(({ label }) => label)),
    [Symbol.asyncDispose]: async () => {
      stopping.abort();
      await running;
    },
  };
};
