/**
 * The newest tree that a server has proved to a process of relays: a signed note in a file of mode 0600 beside their
 * cursors. Whoever proves its growth to the next watch notices, over a restart as well, a server that shows an older
 * ledger or one with another past.
 */
import { readFile, rm } from "node:fs/promises";
import type { SignedTree } from "@sigil/client";
import { Fault } from "@sigil/core/errors";
import { parseCheckpoint, parseNote } from "@sigil/core/merkle";
import { Mutex } from "../../mutex.ts";
import { isMissing, replaceFile } from "../../relay/cursor-file.ts";
import { failRelay } from "../../relay/destination.ts";

const parseTree = (checkpoint: string, path: string): SignedTree => {
  try {
    const { size, root } = parseCheckpoint(parseNote(checkpoint).text);
    return { checkpoint, size, root };
  } catch (cause) {
    if (!(cause instanceof Fault)) throw cause;
    const rule = `${path} is not a checkpoint: ${cause.message}; without the file any past of the ledger is taken`;
    return failRelay({ kind: "refused", rule }, { cause });
  }
};

export class ProvenTree {
  readonly #path: string;
  #tree: SignedTree | undefined;
  readonly #writing = new Mutex();

  private constructor(path: string, tree: SignedTree | undefined) {
    [this.#path, this.#tree] = [path, tree];
  }

  /** @throws RelayFault refused if the file is damaged. */
  static async open(path: string): Promise<ProvenTree> {
    const checkpoint = await readFile(path, "utf8").catch((cause: unknown) => {
      if (isMissing(cause)) return undefined;
      throw cause;
    });
    return new ProvenTree(path, checkpoint === undefined ? undefined : parseTree(checkpoint, path));
  }

  get current(): SignedTree | undefined {
    return this.#tree;
  }

  /** Keeps the larger one. Durable when it resolves. */
  grow(tree: SignedTree): Promise<void> {
    return this.#writing.run(async () => {
      if (this.#tree !== undefined && tree.size <= this.#tree.size) return;
      await replaceFile(this.#path, tree.checkpoint);
      this.#tree = tree;
    });
  }

  forget(): Promise<void> {
    return this.#writing.run(async () => {
      await rm(this.#path, { force: true });
      this.#tree = undefined;
    });
  }
}
