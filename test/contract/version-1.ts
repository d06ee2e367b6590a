/** Payloads of version 1, which servers of before wrote and this one reads. */
import type { Hash } from "../../src/core/bytes.ts";
import type { CborMap } from "../../src/core/cbor/cbor.ts";
import type { FrozenChainPayload, FrozenRequest } from "../../src/core/record/kinds/frozen-chain.ts";
import type { ModuleRunLimits, RecordedRun } from "../../src/core/record/kinds/module-run.ts";

/** Version 1 names what version 2 commits to. */
export type Chain1 = Omit<FrozenChainPayload, "request" | "callerSeq"> & {
  readonly request: FrozenRequest & { readonly inputDigest: Hash; readonly inputBytes: number };
};

export const formatFrozenChain1 = (chain: Chain1): CborMap => {
  const { request } = chain;
  return {
    request: {
      action: request.action,
      target: request.target,
      subject: request.subject,
      caller: request.caller,
      tenant: request.tenant,
      loa: request.loa,
      ...(request.minLoa === undefined ? {} : { min_loa: request.minLoa }),
      session: request.session,
      input_digest: request.inputDigest,
      input_bytes: request.inputBytes,
      input: request.input,
      metadata: request.metadata,
    },
    features: chain.features,
    model: { id: chain.model.id, hash: chain.model.hash },
    contributions: chain.contributions,
    z: chain.z,
    score: chain.score,
    threshold: chain.threshold,
    review: chain.review === null ? null : { low: chain.review.low, high: chain.review.high },
    verdict: chain.verdict,
    reason: chain.reason,
    steps: chain.steps.map(({ name, detail }) => ({ name, detail })),
    duration_us: chain.durationUs,
  };
};

const formatLimits = (limits: ModuleRunLimits): CborMap => ({
  wall_ms: limits.wallMs,
  memory_pages: limits.memoryPages,
  output_bytes: limits.outputBytes,
  log_bytes: limits.logBytes,
  input_bytes: limits.inputBytes,
  host_calls: limits.hostCalls,
});

const formatUsage = (usage: NonNullable<RecordedRun["usage"]>): CborMap => ({
  wall_us: usage.wallUs,
  cpu_us: usage.cpuUs,
  memory_bytes_peak: usage.memoryBytesPeak,
  input_bytes: usage.inputBytes,
  output_bytes: usage.outputBytes,
  log_bytes: usage.logBytes,
  host_calls: usage.hostCalls,
});

export const formatModuleRun1 = (run: RecordedRun): CborMap => ({
  module: run.module,
  version: run.version,
  digest: run.digest,
  other_digest: run.otherDigest,
  caller: run.caller,
  input_digest: run.inputDigest,
  input_bytes: run.inputBytes,
  output_digest: run.outputDigest,
  limits: formatLimits(run.limits),
  usage: run.usage === null ? null : formatUsage(run.usage),
  end: run.end,
  exit_code: run.exitCode,
  reason: run.reason,
});
