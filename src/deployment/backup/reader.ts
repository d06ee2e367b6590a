/**
 * Reads a backup, checking each file against the manifest's digests and each entry against the tree. Errors are thrown
 * during reading, so the result must not be used before everything has been read.
 */
import { sha256 } from "@sigil/core/hash";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { equalBytes, toHex, type Hash } from "@sigil/core/bytes";
import { fail, SigilFault } from "../../errors.ts";
import { parseCheckpoint, type Checkpoint, parseNote, emptyFrontier } from "@sigil/core/merkle";
import { isBookkeeping, PassageCheck } from "../../ledger/copy/import.ts";
import { readManifest } from "./directory.ts";
import { BackupFrameReader, isGroupDigest, type Frame } from "./frames.ts";
import {
  bookkeepingName,
  nameBackup,
  segmentPath,
  stateDirectory,
  type FileEntry,
  type Manifest,
  type StateEntry,
} from "./manifest.ts";

type Entry = readonly [key: Uint8Array, value: Uint8Array];

export type BackupFile = { readonly path: string; readonly content: Uint8Array };

export class BackupReader {
  readonly #directory: string;
  /** The backup's name in error messages. */
  readonly #title: string;
  readonly #manifest: Manifest;
  readonly state: StateEntry;
  readonly checkpoint: Checkpoint;

  private constructor(directory: string, title: string, manifest: Manifest, state: StateEntry) {
    this.#directory = directory;
    this.#title = title;
    this.#manifest = manifest;
    this.state = state;
    this.checkpoint = parseCheckpoint(parseNote(state.checkpoint).text);
  }

  /** @throws backupRefused, newerFormat. */
  static async open(directory: string, title: string = directory): Promise<BackupReader> {
    const refuse = (rule: string): never => fail({ kind: "backupRefused", backup: title, rule });
    const manifest = (await readManifest(directory)) ?? refuse("it holds no backup");
    const state =
      manifest.state ?? refuse("its first backup has not come to its end; run sigil backup again");
    return new BackupReader(directory, title, manifest, state);
  }

  get origin(): string {
    return this.#manifest.origin;
  }

  get genesis(): string {
    return this.#manifest.genesis;
  }

  get name(): string {
    return nameBackup(this.#manifest);
  }

  /**
   * Refuses a backup that is older than a given checkpoint. The checkpoint need not be verified, as it can only cause a
   * refusal. @throws backupRefused, malformedCheckpoint.
   */
  refuseBehind(later: Checkpoint): void {
    if (later.origin !== this.origin) {
      this.#refuse(`it is of ${this.origin}, the checkpoint shown of ${later.origin}`);
    }
    const { size, root } = this.checkpoint;
    if (later.size <= size) return;
    this.#refuse(
      `it ends at size ${size} (root ${toHex(root)}), the checkpoint shown is of size ${later.size} (root ${toHex(later.root)})`,
    );
  }

  /** The deployment's files, and the key-encryption key if the backup has it. @throws backupRefused. */
  async *files(): AsyncGenerator<BackupFile> {
    for (const file of this.state.files) {
      if (file.path === bookkeepingName) continue;
      const content = await this.#read(this.#statePath(file)).then((bytes) => new Uint8Array(bytes));
      if (content.length !== file.bytes || toHex(sha256(content)) !== file.sha256) {
        this.#refuse(`${this.#statePath(file)} is not as it was written`);
      }
      yield { path: file.path, content };
    }
  }

  /**
   * All store entries, in ledger order. @throws backupRefused, also if the tree at the size of a held checkpoint
   * differs.
   */
  async *entries(held: readonly Checkpoint[], onProgress: (size: bigint) => void): AsyncGenerator<Entry> {
    const check = new PassageCheck({
      origin: this.origin,
      frontier: emptyFrontier,
      watchedSizes: held.map(({ size }) => size),
    });
    for (const segment of this.#manifest.segments) {
      const isWanted = segment.to <= this.state.size;
      for await (const { key, value } of this.#frames({ ...segment, path: segmentPath(segment) })) {
        if (!isWanted || isGroupDigest(key)) continue;
        this.#hold(() => check.add([key, value]));
        yield [key, value];
      }
      onProgress(check.size);
    }
    this.#checkTree(check, held);
    const bookkeeping = this.state.files.find(({ path }) => path === bookkeepingName);
    if (bookkeeping === undefined) return this.#refuse(`it has no ${bookkeepingName}`);
    const path = this.#statePath(bookkeeping);
    for await (const { key, value } of this.#frames({ ...bookkeeping, path })) {
      if (!isBookkeeping(key)) this.#refuse(`${path} holds something else`);
      yield [key, value];
    }
  }

  #checkTree(check: PassageCheck, held: readonly Checkpoint[]): void {
    if (!check.isWhole || check.size !== this.checkpoint.size) {
      this.#refuse(`its segments end at ${check.size} records instead of ${this.checkpoint.size}`);
    }
    for (const { size, root } of held) {
      const found: Hash | undefined = check.watchedRoots.get(size);
      if (found === undefined || equalBytes(found, root)) continue;
      this.#refuse(
        `its tree at size ${size} has the root ${toHex(found)}, the checkpoint shown has ${toHex(root)}`,
      );
    }
  }

  #statePath({ path }: FileEntry): string {
    return `${stateDirectory(this.state.serial)}/${path}`;
  }

  /** The frames of a file; its digest is checked at the end. */
  async *#frames(file: Pick<FileEntry, "path" | "bytes" | "sha256">): AsyncGenerator<Frame> {
    const reader = new BackupFrameReader();
    const digest = createHash("sha256");
    const damaged = (): never => this.#refuse(`${file.path} is not as it was written`);
    let bytes = 0;
    try {
      for await (const piece of createReadStream(join(this.#directory, file.path), {
        highWaterMark: 1 << 20,
      })) {
        const chunk = piece as Uint8Array;
        digest.update(chunk);
        bytes += chunk.length;
        yield* reader.push(chunk);
      }
    } catch (error) {
      if (error instanceof Error && "code" in error) this.#refuse(`${file.path} cannot be read`);
      if (error instanceof SigilFault && error.error.kind === "backupRefused") return damaged();
      throw error;
    }
    if (!reader.isWhole || bytes !== file.bytes || digest.digest("hex") !== file.sha256) damaged();
  }

  async #read(path: string): Promise<Uint8Array> {
    return readFile(join(this.#directory, path)).catch(() => this.#refuse(`${path} cannot be read`));
  }

  /** Reports tree errors as backupRefused instead of ledgerCorrupt. */
  #hold(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof SigilFault)) throw error;
      this.#refuse(error.message);
    }
  }

  #refuse(rule: string): never {
    return fail({ kind: "backupRefused", backup: this.#title, rule });
  }
}
