/**
 * The active version of a module: the newest record of its id, unless that is a tombstone. A projection of the ledger:
 * read and checked for its quorum once, cached until a commit changes it. At most `moduleCacheEntriesMax` names.
 */
import { fail } from "../errors.ts";
import { parseModule, type ModulePayload, modulePrefix, systemTenant } from "@sigil/core/record";
import { moduleCacheEntriesMax } from "../limits.ts";
import { BoundedMap } from "../identity/bounded-map.ts";
import { RecordCache } from "../ledger/cache.ts";
import type { ProjectionLedger } from "../ledger/feed.ts";
import type { SystemRecord } from "../canon/domain.ts";

export type RegistryDependencies = {
  readonly ledger: ProjectionLedger<"head">;
  /** A version with its quorum, including tombstones. @throws notFound, recordCorrupt. */
  readonly readVersion: (id: string, version: bigint) => Promise<SystemRecord>;
};

/** The newest version of a module, and its payload or, for a tombstone, that of the version before it. */
export type Standing = { readonly approved: SystemRecord; readonly payload: ModulePayload };

export class ModuleRegistry {
  readonly #deps: RegistryDependencies;
  readonly #known: RecordCache<Standing>;

  constructor(deps: RegistryDependencies) {
    this.#deps = deps;
    this.#known = new RecordCache(
      deps.ledger.feed,
      () => new BoundedMap<string, Standing>(moduleCacheEntriesMax),
      ({ body: { space, id } }) =>
        space === "system" && id.startsWith(modulePrefix) ? { name: id } : undefined,
    );
  }

  /** The newest version, retired or not; undefined if there is none. @throws recordCorrupt. */
  find(id: string): Promise<Standing | undefined> {
    return this.#known.find(id, async () => {
      const head = await this.#deps.ledger.reader.head(systemTenant, "system", id);
      return head === undefined ? undefined : this.at(id, head.version);
    });
  }

  /** @throws notFound, recordCorrupt. */
  async at(id: string, version: bigint): Promise<Standing> {
    const approved = await this.#deps.readVersion(id, version);
    return { approved, payload: await this.#payloadOf(id, approved) };
  }

  /** For a tombstone, reads the version before it, which always has code. */
  async #payloadOf(id: string, { record }: SystemRecord): Promise<ModulePayload> {
    if (!record.tombstone) return parseModule(record.record.body.payload);
    const before = await this.#deps.readVersion(id, record.version - 1n);
    if (!before.record.tombstone) return parseModule(before.record.record.body.payload);
    const { position } = before.record.record;
    return fail({ kind: "recordCorrupt", position, step: "payload", rule: "a module ends twice", id });
  }
}
