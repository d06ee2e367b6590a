/** Running a module in a sandbox as the server does, with limits that a test may change. */
import { createHash } from "node:crypto";
import { parseHash } from "../../src/core/bytes.ts";
import { createSandbox, type SandboxOptions } from "../../src/modules/sandbox/pool.ts";
import type { InspectionRequest, RunOutcome, RunRequest, Sandbox } from "../../src/modules/sandbox/run.ts";

const testLimits: RunRequest["limits"] = {
  wallMs: 5000,
  memoryPages: 256,
  outputBytes: 64 << 10,
  logBytes: 64 << 10,
  inputBytes: 1 << 20,
  hostCalls: 100,
};

export type Asked = Partial<Omit<RunRequest, "limits">> & { readonly limits?: Partial<RunRequest["limits"]> };

/** As the registry would give it: the digest is that of the bytes unless a test says otherwise. */
export const requestOf = (bytes: Uint8Array, { limits, ...asked }: Asked = {}): RunRequest => ({
  digest: parseHash(createHash("sha256").update(bytes).digest()),
  bytes: () => Promise.resolve(bytes),
  name: "guest",
  input: new Uint8Array(),
  capabilities: [],
  host: () => Promise.reject(new Error("this test answers no host call")),
  signal: new AbortController().signal,
  ...asked,
  limits: { ...testLimits, ...limits },
});

export const inspectionOf = (
  bytes: Uint8Array,
  asked: Partial<InspectionRequest> = {},
): InspectionRequest => ({
  bytes: () => Promise.resolve(bytes),
  tenant: "acme",
  signal: new AbortController().signal,
  ...asked,
});

export const openSandbox = async (
  options: Partial<SandboxOptions> = {},
): Promise<Sandbox & { readonly faults: readonly unknown[] }> => {
  const faults: unknown[] = [];
  const sandbox = await createSandbox({
    processes: 1,
    runsMax: 64,
    onFault: (cause) => faults.push(cause),
    ...options,
  });
  return Object.assign(sandbox, { faults });
};

export const outputOf = (outcome: RunOutcome): string => Buffer.from(outcome.output).toString("utf8");
export const logOf = (outcome: RunOutcome): string => Buffer.from(outcome.logTail).toString("utf8");
