/**
 * Receives proposed code: limits the stream and compares it with the manifest; once the proposer is authorized,
 * validates the code as the sandbox does, and stores it under its digest before the proposal is written.
 */
import { createHash } from "node:crypto";
import { concatBytes, equalBytes, parseHash, toHex, type Hash } from "@sigil/core/bytes";
import { fail, invalidField } from "../errors.ts";
import { formatModule, type ModulePayload, modulePrefix } from "@sigil/core/record";
import { moduleBytesMax } from "../limits.ts";
import type { Proposed } from "../canon/domain.ts";
import type { QuorumService } from "../canon/service.ts";
import type { CallContext, Caller } from "../identity/caller.ts";
import type { CodeFiles } from "./code-files.ts";
import type { Manifest, ProposedCode, Putting, Retirement } from "./domain.ts";
import type { InspectionRequest } from "./sandbox/run.ts";

export type ProposingDependencies = {
  readonly files: CodeFiles;
  /** @throws denied, staleVersion, notFound, queueFull. */
  readonly propose: QuorumService["propose"];
  /**
   * Checks that the code can run under the manifest. @throws malformedModule, invalidField naming the import or the
   * limit.
   */
  readonly checkCode: (request: InspectionRequest, manifest: ModulePayload) => Promise<void>;
};

/** @throws tooLarge as soon as the limit is exceeded. */
const receive = async (
  chunks: AsyncIterable<Uint8Array>,
): Promise<{ readonly bytes: Uint8Array; readonly digest: Hash }> => {
  const parts: Uint8Array[] = [];
  const hash = createHash("sha256");
  let length = 0;
  for await (const chunk of chunks) {
    length += chunk.length;
    if (length > moduleBytesMax) {
      fail({ kind: "tooLarge", what: "the code", bytes: length, limit: moduleBytesMax });
    }
    hash.update(chunk);
    parts.push(chunk);
  }
  if (length === 0) invalidField("chunk", "must bring the code");
  return { bytes: concatBytes(...parts), digest: parseHash(hash.digest()) };
};

const puttingOf = ({ reason, lifetimeMs, commit, idempotencyKey, expectedVersion }: Putting): Putting => ({
  reason,
  lifetimeMs,
  commit,
  idempotencyKey,
  expectedVersion,
});

export const proposeCode = async (
  deps: ProposingDependencies,
  caller: Caller,
  manifest: Manifest,
  chunks: AsyncIterable<Uint8Array>,
  call: CallContext,
): Promise<ProposedCode> => {
  const { files } = deps;
  const { bytes, digest } = await receive(chunks);
  if (manifest.digest !== null && !equalBytes(manifest.digest, digest)) {
    const rule = `must be the code's SHA-256, ${toHex(digest)}, and is ${toHex(manifest.digest)}`;
    invalidField("manifest.digest", rule);
  }
  const { minLevel: minLoa, capabilities, limits } = manifest;
  const payload = { digest, minLoa, capabilities, limits };
  const { tenant } = caller;
  const id = modulePrefix + manifest.name;
  const content = { kind: "payload", payload: formatModule(payload) } as const;
  // After the decision, so that only authorized proposers occupy the single inspector.
  const checkAllowed = ({ signal }: CallContext): Promise<void> =>
    deps.checkCode({ bytes: () => Promise.resolve(bytes), tenant, signal }, payload);
  // After the decision, so that only authorized proposers use disk space, and before the proposal, so that an approved
  // digest always has code. A crash in between leaves an unreferenced file.
  const beforeWrite = (): Promise<void> => files.put(digest, bytes);
  const method = "ProposeModule";
  const asked = { ...puttingOf(manifest), id, content, method, checkAllowed, beforeWrite } as const;
  const proposed = await deps.propose(caller, asked, call);
  return { proposed, digest, codeBytes: bytes.length };
};

export const proposeRetirement = (
  { propose }: Pick<ProposingDependencies, "propose">,
  caller: Caller,
  retirement: Retirement,
  call: CallContext,
): Promise<Proposed> => {
  const id = modulePrefix + retirement.name;
  const content = { kind: "tombstone" } as const;
  return propose(caller, { ...puttingOf(retirement), id, content, method: "RetireModule" }, call);
};
