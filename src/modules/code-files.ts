/**
 * The code of modules in the data directory: `modules/<sha256 in hex>.wasm`, 0600, written under a temporary name,
 * synced and renamed, so that a file under its final name is complete. File names are not trusted: the digest of code
 * is computed whenever it is read. At most `moduleFilesMax` files of `moduleBytesMax`. Source: docs/spec/module.md §1.
 */
import { sha256 } from "@sigil/core/hash";
import { constants, lstatSync } from "node:fs";
import { lstat, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { equalBytes, parseHash, toHex, type Hash } from "@sigil/core/bytes";
import { assert, fail } from "../errors.ts";
import { moduleBytesMax, moduleFilesMax } from "../limits.ts";
import { Mutex } from "../mutex.ts";
import { syncDirectory, unfinishedSuffix } from "../crypto/files/private-file.ts";

export const codeDirectoryName = "modules";
const suffix = ".wasm";

/** Relative to the data directory. */
export const codePathOf = (digest: Hash): string => `${codeDirectoryName}/${toHex(digest)}${suffix}`;

const namePattern = /^([0-9a-f]{64})\.wasm$/;

export type Code =
  | { readonly kind: "whole"; readonly bytes: Uint8Array }
  | { readonly kind: "missing" }
  /** `found` is the digest of the file; null if it is too large to be code. */
  | { readonly kind: "altered"; readonly found: Hash | null };

/** `Code` without the bytes. */
export type CodeState = Exclude<Code, { readonly kind: "whole" }> | { readonly kind: "whole" };

const isMissing = (error: unknown): boolean =>
  error instanceof Error && "code" in error && error.code === "ENOENT";

export class CodeFiles {
  readonly #directory: string;
  /** Verified files, with their file system identity (inode, times, size); changed ones are read again. */
  readonly #held = new Map<string, string>();
  /** Serializes writers: two uploads of the same code share a file name. */
  readonly #writing = new Mutex();

  /** @param directory the data directory. */
  constructor(directory: string) {
    this.#directory = join(directory, codeDirectoryName);
  }

  path(digest: Hash): string {
    return join(this.#directory, `${toHex(digest)}${suffix}`);
  }

  /** Reads the file and compares its digest with its name. @throws storeFailed. */
  async read(digest: Hash): Promise<Code> {
    // O_NONBLOCK, so that a pipe at this path does not block a run. O_NOFOLLOW, so that links are refused.
    const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
    let file;
    try {
      file = await open(this.path(digest), flags);
    } catch (error) {
      if (isMissing(error)) return { kind: "missing" };
      return fail({ kind: "storeFailed", step: "read code", rule: "it cannot be opened" }, { cause: error });
    }
    try {
      const { size } = await file.stat();
      if (size > moduleBytesMax) return { kind: "altered", found: null };
      const bytes = new Uint8Array(await file.readFile());
      const found = sha256(bytes);
      return equalBytes(found, digest) ? { kind: "whole", bytes } : { kind: "altered", found };
    } finally {
      await file.close();
    }
  }

  /**
   * Whether the code exists and matches its digest. Verified files are read again only if the file system shows a
   * change; code already loaded was verified when it was read.
   */
  async check(digest: Hash): Promise<CodeState> {
    const name = toHex(digest);
    const identity = this.#identityOf(digest);
    if (identity === undefined) return { kind: "missing" };
    if (this.#held.get(name) === identity) return { kind: "whole" };
    const code = await this.read(digest);
    if (code.kind !== "whole") return code;
    if (this.#held.size >= moduleFilesMax) this.#held.clear();
    this.#held.set(name, identity);
    return { kind: "whole" };
  }

  /** Size of the file for the digest in bytes, without reading it; 0 if there is none. */
  async sizeOf(digest: Hash): Promise<number> {
    try {
      return (await lstat(this.path(digest))).size;
    } catch (error) {
      if (isMissing(error)) return 0;
      throw error;
    }
  }

  /** Durable when it resolves. @throws queueFull, storeFailed. */
  async put(digest: Hash, bytes: Uint8Array): Promise<void> {
    assert(equalBytes(sha256(bytes), digest), "code is kept under its own digest");
    return this.#writing.run(() => this.#put(digest, bytes));
  }

  /** Digests that have a file, verified or not. */
  async *digests(): AsyncGenerator<Hash> {
    let names: readonly string[];
    try {
      names = await readdir(this.#directory);
    } catch (error) {
      if (isMissing(error)) return;
      throw error;
    }
    for (const name of names) {
      const hex = namePattern.exec(name)?.[1];
      if (hex !== undefined) yield parseHash(Buffer.from(hex, "hex"));
    }
  }

  /** Synchronous, since it runs at every run and the thread pool would cost more than the system call. */
  #identityOf(digest: Hash): string | undefined {
    const found = lstatSync(this.path(digest), { bigint: true, throwIfNoEntry: false });
    if (found === undefined) return undefined;
    const { ino, size, mtimeNs, ctimeNs, mode } = found;
    return [ino, size, mtimeNs, ctimeNs, mode].join(" ");
  }

  async #put(digest: Hash, bytes: Uint8Array): Promise<void> {
    const there = await this.read(digest);
    // An altered file is replaced.
    if (there.kind === "whole") return;
    try {
      await this.#write(digest, bytes, there.kind === "missing");
    } catch (cause) {
      if (cause instanceof Error && "code" in cause) {
        return fail(
          { kind: "storeFailed", step: "write code", rule: "the code cannot be written" },
          { cause },
        );
      }
      throw cause;
    }
  }

  async #write(digest: Hash, bytes: Uint8Array, isOneMore: boolean): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const kept = await readdir(this.#directory);
    if (isOneMore && kept.length >= moduleFilesMax) {
      fail({ kind: "queueFull", what: "the place for code", limit: moduleFilesMax });
    }
    const path = this.path(digest);
    const unfinished = path + unfinishedSuffix;
    await rm(unfinished, { force: true });
    const file = await open(unfinished, "wx", 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    // A crash before this line leaves an unreferenced unfinished file.
    await rename(unfinished, path);
    await syncDirectory(this.#directory);
  }
}
