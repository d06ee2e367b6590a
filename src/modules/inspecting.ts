/** Fsck of modules: the code of each active one is on disk and matches its approved digest. */
import { toHex, type Hash } from "@sigil/core/bytes";
import { parseModule, modulePrefix } from "@sigil/core/record";
import { isWhole, type WalkedGroup } from "../ledger/walk/walk.ts";
import type { CodeFiles } from "./code-files.ts";

type Problem = { readonly position: bigint | null; readonly step: string; readonly rule: string };

const step = "module";

export class CodeInspection {
  readonly #files: CodeFiles;
  /** Newest version by id. */
  readonly #active = new Map<string, { readonly position: bigint; readonly digest: Hash }>();

  constructor(files: CodeFiles) {
    this.#files = files;
  }

  /** Feed it every group, in order. */
  take({ records }: Pick<WalkedGroup, "records">): void {
    for (const { body, position } of records.filter(isWhole)) {
      if (body.space !== "system" || !body.id.startsWith(modulePrefix)) continue;
      if (body.kind === "module")
        this.#active.set(body.id, { position, digest: parseModule(body.payload).digest });
      else this.#active.delete(body.id);
    }
  }

  async inspect(): Promise<readonly Problem[]> {
    const problems: Problem[] = [];
    for (const [id, { position, digest }] of this.#active) {
      const code = await this.#files.read(digest);
      if (code.kind === "whole") continue;
      const rule =
        code.kind === "missing"
          ? `the code of "${id}" is not here: ${toHex(digest)}`
          : `the code of "${id}" was altered: it must have the digest ${toHex(digest)}`;
      problems.push({ position, step, rule });
    }
    return problems;
  }
}
