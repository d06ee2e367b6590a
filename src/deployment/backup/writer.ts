/**
 * The receiving side of a backup: checks received data against the tree, the group digests, the checkpoint's signature
 * and the existing backup, and adds it segment by segment. After a crash the next run resumes from the last complete
 * segment; the previous state stays valid until the new one is complete.
 */
import { sha256 } from "@sigil/core/hash";
import { createHash, type Hash as Digest } from "node:crypto";
import { mkdir, open, rename, rm, writeFile, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { concatBytes, equalBytes, toHex, type Hash } from "@sigil/core/bytes";
import { fail, SigilFault } from "../../errors.ts";
import { backupChunkBytesMax, backupSegmentBytesMax } from "../../limits.ts";
import { parseCheckpoint, verifyCheckpoint, parseNote, emptyFrontier, rootOf } from "@sigil/core/merkle";
import { syncDirectory } from "../../crypto/files/private-file.ts";
import { verifyOwn } from "@sigil/core/keys";
import { isBookkeeping, PassageCheck, type Passed } from "../../ledger/copy/import.ts";
import type { BackupHead } from "./backup.ts";
import type { BackupDirectory } from "./directory.ts";
import { BackupFrameReader, isGroupDigest, pathOf, type Frame } from "./frames.ts";
import {
  backupFormat,
  bookkeepingName,
  frontierOf,
  kekName,
  segmentPath,
  sizeOfSegments,
  stateDirectory,
  type FileEntry,
  type Manifest,
} from "./manifest.ts";

/** A file being written, with a running digest. */
class DigestFile {
  readonly #file: FileHandle;
  readonly #digest: Digest = createHash("sha256");
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  bytes = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async create(path: string): Promise<DigestFile> {
    return new DigestFile(await open(path, "w", 0o600));
  }

  async add(bytes: Uint8Array): Promise<void> {
    this.#digest.update(bytes);
    this.bytes += bytes.length;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (this.#waitingBytes >= backupChunkBytesMax) await this.#flush();
  }

  /** Durable when it resolves. @returns the SHA-256 in hex. */
  async finish(): Promise<string> {
    await this.#flush();
    await this.#file.sync();
    await this.#file.close();
    return this.#digest.digest("hex");
  }

  async abandon(): Promise<void> {
    await this.#file.close();
  }

  async #flush(): Promise<void> {
    // `write` may be partial; `writeFile` continues from the file's position until everything is written.
    await this.#file.writeFile(concatBytes(...this.#waiting));
    [this.#waiting, this.#waitingBytes] = [[], 0];
  }
}

export type WriterOptions = {
  readonly directory: BackupDirectory;
  readonly head: BackupHead;
  /** Creates an id for a new backup directory. */
  readonly newId: () => string;
  readonly nowMs: () => number;
  readonly segmentBytesMax?: number | undefined;
  readonly onProgress?: ((size: bigint) => void) | undefined;
};

export class BackupWriter {
  readonly #options: WriterOptions;
  readonly #reader = new BackupFrameReader();
  readonly #received = createHash("sha256");
  readonly #check: PassageCheck;
  readonly #serial: number;
  readonly #files: FileEntry[] = [];
  #manifest: Manifest;
  #receivedBytes = 0;
  #segment: DigestFile | undefined;
  #bookkeeping: DigestFile | undefined;
  #group: Digest | undefined;
  /** `deployment.json`, once received. */
  description: Uint8Array | undefined;
  /** End of the last group whose digest was verified. */
  #passed: Passed | undefined;

  private constructor(options: WriterOptions, manifest: Manifest) {
    const { origin } = options.head;
    const last = manifest.segments.at(-1);
    const frontier = last === undefined ? emptyFrontier : frontierOf(last).frontier;
    this.#options = options;
    this.#manifest = manifest;
    this.#serial = (manifest.state?.serial ?? 0) + 1;
    this.#check = new PassageCheck({ origin, frontier });
  }

  /** @throws backupRefused if the stream is from another deployment, or from a diverged ledger. */
  static async begin(options: WriterOptions): Promise<BackupWriter> {
    const { directory, head } = options;
    const refuse = (rule: string): never => fail({ kind: "backupRefused", backup: directory.path, rule });
    const manifest: Manifest = directory.manifest ?? {
      format: backupFormat,
      id: options.newId(),
      origin: head.origin,
      genesis: toHex(head.genesis),
      segments: [],
      state: null,
    };
    if (manifest.origin !== head.origin) refuse(`it is of ${manifest.origin}, the server is ${head.origin}`);
    if (manifest.genesis !== toHex(head.genesis)) refuse("the server's ledger has another genesis record");
    if (head.size < sizeOfSegments(manifest)) {
      refuse(`it holds ${sizeOfSegments(manifest)} records, the server ${head.size}`);
    }
    const writer = new BackupWriter(options, manifest);
    await mkdir(join(writer.#statePath, "keys"), { recursive: true, mode: 0o700 });
    return writer;
  }

  get #statePath(): string {
    return join(this.#options.directory.path, stateDirectory(this.#serial));
  }

  get #segmentPath(): string {
    return join(this.#options.directory.path, "segments", "unfinished");
  }

  /** @throws backupRefused, ledgerCorrupt, malformedCheckpoint: nothing of this chunk is used. */
  async take(chunk: Uint8Array): Promise<void> {
    this.#received.update(chunk);
    this.#receivedBytes += chunk.length;
    for (const frame of this.#reader.push(chunk)) await this.#frame(frame);
    this.#options.onProgress?.(this.#check.size);
  }

  /** @param end what the server has sent. @returns the new manifest. */
  async finish(end: { readonly bytes: number; readonly sha256: Uint8Array }): Promise<Manifest> {
    const { head, directory, nowMs } = this.#options;
    if (end.bytes !== this.#receivedBytes || !equalBytes(this.#received.digest(), end.sha256)) {
      this.#refuse("its bytes are not those that were sent");
    }
    if (!this.#reader.isWhole || !this.#check.isWhole || this.#group !== undefined) {
      this.#refuse("it breaks off inside a group");
    }
    await this.#cut();
    const { segments } = this.#manifest;
    const size = sizeOfSegments(this.#manifest);
    const last = segments.at(-1) ?? this.#refuse("it holds no record");
    if (size !== head.size) this.#refuse(`it ends at ${size} records instead of ${head.size}`);
    const promised = parseCheckpoint(parseNote(head.checkpoint).text);
    if (!equalBytes(promised.root, this.#rootNow())) {
      this.#refuse("the server's checkpoint is over another tree than the one in the backup");
    }
    await this.#closeBookkeeping();
    if (!this.#files.some(({ path }) => path === "deployment.json"))
      this.#refuse("it has no deployment.json");
    const before = this.#manifest.state;
    const state = { serial: this.#serial, size, checkpoint: last.checkpoint, takenMs: nowMs() };
    for (const name of new Set(this.#files.map(({ path }) => dirname(path)))) {
      await syncDirectory(join(this.#statePath, name));
    }
    await syncDirectory(this.#statePath);
    await this.#replace({ ...this.#manifest, state: { ...state, files: this.#files } });
    if (before !== null) {
      await rm(join(directory.path, stateDirectory(before.serial)), { recursive: true, force: true });
    }
    return this.#manifest;
  }

  /** Adds the key-encryption key to the backup, on request. */
  addKek(content: Uint8Array): Promise<void> {
    return this.#addFile(kekName, content);
  }

  /** Idempotent; incomplete files are removed when the next backup begins. */
  async abandon(): Promise<void> {
    await this.#segment?.abandon();
    await this.#bookkeeping?.abandon();
    [this.#segment, this.#bookkeeping] = [undefined, undefined];
  }

  #refuse(rule: string): never {
    return fail({ kind: "backupRefused", backup: "what the server sends", rule });
  }

  #rootNow(): Hash {
    const last = this.#manifest.segments.at(-1);
    return rootOf(last === undefined ? emptyFrontier : frontierOf(last).frontier);
  }

  async #frame(frame: Frame): Promise<void> {
    const path = pathOf(frame.key);
    if (path !== undefined) return this.#addFile(path, frame.value);
    if (isGroupDigest(frame.key)) return this.#endGroup(frame);
    if (isBookkeeping(frame.key)) {
      this.#bookkeeping ??= await DigestFile.create(join(this.#statePath, bookkeepingName));
      return this.#bookkeeping.add(frame.bytes);
    }
    this.#group ??= createHash("sha256");
    this.#group.update(frame.bytes);
    this.#passed = this.#check.add([frame.key, frame.value]) ?? this.#passed;
    this.#segment ??= await DigestFile.create(this.#segmentPath);
    return this.#segment.add(frame.bytes);
  }

  async #endGroup({ value, bytes }: Frame): Promise<void> {
    const group = this.#group ?? this.#refuse("a group's digest without a group");
    if (!this.#check.isWhole || !equalBytes(group.digest(), value)) {
      this.#refuse(`the group before position ${this.#check.size} is not as it was sent`);
    }
    this.#group = undefined;
    await this.#segment?.add(bytes);
    const { segmentBytesMax = backupSegmentBytesMax } = this.#options;
    if ((this.#segment?.bytes ?? 0) >= segmentBytesMax) await this.#cut();
  }

  async #addFile(path: string, content: Uint8Array): Promise<void> {
    if (this.#files.some((file) => file.path === path)) this.#refuse(`${path} comes twice`);
    const target = join(this.#statePath, path);
    await mkdir(dirname(target), { recursive: true, mode: 0o700 });
    await writeFile(target, content, { flag: "wx", mode: 0o600, flush: true });
    this.#files.push({ path, bytes: content.length, sha256: toHex(sha256(content)) });
    if (path === "deployment.json") this.description = content.slice();
  }

  async #closeBookkeeping(): Promise<void> {
    const file = this.#bookkeeping ?? (await DigestFile.create(join(this.#statePath, bookkeepingName)));
    this.#bookkeeping = undefined;
    this.#files.push({ path: bookkeepingName, bytes: file.bytes, sha256: await file.finish() });
  }

  /** Makes a segment of everything since the last cut. */
  async #cut(): Promise<void> {
    if (this.#segment === undefined) return;
    const passed = this.#passed ?? this.#refuse("it holds no whole group");
    const [segment, from, to] = [this.#segment, sizeOfSegments(this.#manifest), passed.frontier.size];
    await this.#verifySignature(passed.checkpoint);
    this.#segment = undefined;
    const entry = {
      from,
      to,
      bytes: segment.bytes,
      sha256: await segment.finish(),
      checkpoint: passed.checkpoint,
      peaks: passed.frontier.peaks.map(toHex),
    };
    await rename(this.#segmentPath, join(this.#options.directory.path, segmentPath(entry)));
    await this.#replace({ ...this.#manifest, segments: [...this.#manifest.segments, entry] });
  }

  async #replace(manifest: Manifest): Promise<void> {
    await this.#options.directory.replaceManifest(manifest);
    this.#manifest = manifest;
  }

  /**
   * Verifies against the keys that the server names. Whether they are the ledger's is checked when its records are
   * opened.
   */
  async #verifySignature(note: string): Promise<void> {
    const { origin, checkpointKeys } = this.#options.head;
    for (const publicKey of checkpointKeys) {
      try {
        await verifyCheckpoint(note, { origin, publicKey, verify: verifyOwn });
        return;
      } catch (error) {
        if (!(error instanceof SigilFault) || error.error.kind !== "malformedCheckpoint") throw error;
      }
    }
    this.#refuse(`the checkpoint of size ${this.#check.size} is signed by none of its keys`);
  }
}
