/**
 * The sending side of a backup: the ledger from a size on, the wrapped keys and the deployment's description, as a byte
 * stream in bounded chunks. A consistent snapshot at one size while serving continues. The signing keys are read before
 * the snapshot and, with all other keys, again after it: a key is durable before it seals or signs, and destroyed only
 * after its successor is announced, so the backup has every key that the ledger needs at that size.
 */
import { createHash } from "node:crypto";
import { parseHash, type Hash, type PublicKey } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import { backupChunkBytesMax } from "../../limits.ts";
import { readsAcross, type Caller } from "../../identity/caller.ts";
import type { LedgerExport } from "../../ledger/copy/export.ts";
import { holdHeapSmall } from "./small-heap.ts";
import { fileKey, formatFrame, groupDigestKey } from "./frames.ts";

/**
 * A file of the deployment: `deployment.json`; a wrapped key, as `keys/…` whatever the directory's real name; or a
 * module's code, `modules/<sha256>.wasm`.
 */
export type DeploymentFile = { readonly path: string; readonly content: Uint8Array };

export type DeploymentFacts = {
  readonly format: number;
  readonly genesis: Hash;
  /** The current signing keys. */
  readonly signingKeys: readonly DeploymentFile[];
  /** All files, read lazily. */
  readonly files: () => AsyncIterable<DeploymentFile>;
};

export type BackupHead = {
  readonly origin: string;
  readonly genesis: Hash;
  readonly format: number;
  readonly size: bigint;
  readonly checkpoint: string;
  readonly checkpointKeys: readonly PublicKey[];
};

export type BackupPart =
  | { readonly kind: "head"; readonly head: BackupHead }
  | { readonly kind: "chunk"; readonly bytes: Uint8Array }
  | { readonly kind: "end"; readonly bytes: number; readonly sha256: Hash };

export type BackupService = {
  /** @throws tenantForbidden, sizeOutOfRange, invalidField, recordCorrupt, ledgerCorrupt, cancelled. */
  readonly backup: (caller: Caller, fromSize: bigint, signal: AbortSignal) => AsyncIterable<BackupPart>;
};

export type BackupDependencies = {
  readonly ledger: {
    readonly reader: {
      readonly origin: string;
      readonly export: (fromSize: bigint) => Promise<LedgerExport>;
    };
    /** Defers the destruction of signing keys until the handle is disposed of. */
    readonly holdKeys: () => Promise<AsyncDisposable>;
  };
  /** Read for each backup, since keys change. */
  readonly describe: () => Promise<DeploymentFacts>;
};

async function* framesOf(exported: LedgerExport, facts: DeploymentFacts): AsyncGenerator<Uint8Array> {
  const sent = new Set<string>();
  for await (const { path, content } of facts.files()) {
    sent.add(path);
    yield formatFrame(fileKey(path), content);
  }
  for (const { path, content } of facts.signingKeys) {
    if (!sent.has(path)) yield formatFrame(fileKey(path), content);
  }
  for await (const { entries } of exported.groups()) {
    const digest = createHash("sha256");
    for (const [key, value] of entries) {
      const frame = formatFrame(key, value);
      digest.update(frame);
      yield frame;
    }
    yield formatFrame(groupDigestKey, digest.digest());
  }
  for await (const [key, value] of exported.bookkeeping()) yield formatFrame(key, value);
}

/** Rechunks bytes into chunks of `backupChunkBytesMax`; the last may be shorter. */
async function* chunked(frames: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let chunk = new Uint8Array(backupChunkBytesMax);
  let filled = 0;
  for await (const frame of frames) {
    for (let offset = 0; offset < frame.length;) {
      const piece = frame.subarray(offset, offset + chunk.length - filled);
      chunk.set(piece, filled);
      filled += piece.length;
      offset += piece.length;
      if (filled < chunk.length) continue;
      yield chunk;
      // A new buffer, since the receiver owns the yielded one.
      chunk = new Uint8Array(backupChunkBytesMax);
      filled = 0;
    }
  }
  if (filled > 0) yield chunk.subarray(0, filled);
}

export const createBackupService = ({ ledger, describe }: BackupDependencies): BackupService => ({
  async *backup(caller, fromSize, signal) {
    if (!readsAcross(caller)) {
      const rule = "a backup holds every tenant's records: it takes Root of tenant system";
      fail({ kind: "tenantForbidden", tenant: caller.tenant, rule });
    }
    // Keeps the key that signs at the snapshot's size until the files are read, even if it is rotated meanwhile.
    await using held = new AsyncDisposableStack();
    held.use(holdHeapSmall());
    held.use(await ledger.holdKeys());
    const facts = await describe();
    const exported = held.use(await ledger.reader.export(fromSize));
    const { size, checkpoint, checkpointKeys } = exported;
    const { genesis, format } = facts;
    yield {
      kind: "head",
      head: { origin: ledger.reader.origin, genesis, format, size, checkpoint, checkpointKeys },
    };
    const digest = createHash("sha256");
    let bytes = 0;
    for await (const chunk of chunked(framesOf(exported, facts))) {
      if (signal.aborted) fail({ kind: "cancelled" });
      digest.update(chunk);
      bytes += chunk.length;
      yield { kind: "chunk", bytes: chunk };
    }
    yield { kind: "end", bytes, sha256: parseHash(digest.digest()) };
  },
});
