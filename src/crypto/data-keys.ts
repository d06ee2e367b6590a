/**
 * The tenants' data keys: `<tenant>-<version>.json` in one directory, opened or created once and then cached. A key is
 * durable before it is returned, so that a crash cannot lose a key that has sealed. An LRU cache holds at most
 * `dataKeysHeldMax` unwrapped keys.
 */
import { createSecretKey, randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fail, invalidField, SigilFault } from "../errors.ts";
import { tenantBytesMax } from "@sigil/core/limits";
import { dataKeysHeldMax } from "../limits.ts";
import { eraseFile, eraseUnfinished } from "./files/erase.ts";
import { exists, syncDirectory, unfinishedSuffix } from "./files/private-file.ts";
import type { DataKey } from "./seal.ts";
import type { Kek } from "./wrapping/wrap.ts";
import { createWrappedFile, readWrappedFile } from "./wrapping/wrapped-file.ts";

const dataKeyBytes = 32;

const dataPurposes = (tenant: string): string => `data/${tenant}/`;
const dataPurpose = (tenant: string, keyVersion: number): string => dataPurposes(tenant) + keyVersion;

const tenantPattern = /^[a-z0-9-]+$/;
const checkTenant = (tenant: string): void => {
  // The tenant becomes part of a file name, so it must match the pattern.
  if (!tenantPattern.test(tenant) || tenant.length > tenantBytesMax) {
    invalidField("tenant", `must be 1 to ${tenantBytesMax} of [a-z0-9-]`);
  }
};

/** Names of key directories, in use or left over. */
const leftBehind = /^keys(?:-[1-9][0-9]*)?$/;

const destroyIn = async (directory: string, tenant: string): Promise<void> => {
  const isTenants = new RegExp(`^${tenant}-[1-9][0-9]*\\.json(${unfinishedSuffix.replace(".", "\\.")})?$`);
  const names = await readdir(directory).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  });
  for (const name of names.filter((each) => isTenants.test(each))) {
    const path = join(directory, name);
    await (name.endsWith(unfinishedSuffix) ? eraseUnfinished(path) : eraseFile(path));
  }
};

export class DataKeys {
  readonly #directory: string;
  readonly #kek: Kek;
  readonly #newest: Map<string, number>;
  /** Tenants whose keys were destroyed: none is opened or created again by this object. */
  readonly #destroyed = new Set<string>();
  /** By purpose, in LRU order, the least recently used first. Promises, so that concurrent callers share one load. */
  readonly #held = new Map<string, Promise<DataKey>>();

  constructor(directory: string, kek: Kek, newest: Map<string, number>) {
    this.#directory = directory;
    this.#kek = kek;
    this.#newest = newest;
  }

  /** The newest version, which seals; 0 if the tenant has none. */
  newest(tenant: string): number {
    return this.#newest.get(tenant) ?? 0;
  }

  /** An existing key. @throws keyUnavailable when it is missing or damaged. */
  at(tenant: string, keyVersion: number): Promise<DataKey> {
    return this.#hold(dataPurpose(tenant, keyVersion), () => this.#open(tenant, keyVersion));
  }

  /** The tenant's newest key, made on first use. @throws keyUnavailable, invalidField, storeFailed. */
  current(tenant: string): Promise<DataKey> {
    const newest = this.#newest.get(tenant);
    return newest === undefined ? this.rotate(tenant) : this.at(tenant, newest);
  }

  /** Creates the next version. Concurrent callers get the same one. @throws invalidField, storeFailed. */
  rotate(tenant: string): Promise<DataKey> {
    const next = this.newest(tenant) + 1;
    return this.#hold(dataPurpose(tenant, next), () => this.#create(tenant, next));
  }

  /**
   * Overwrites and removes every version, also in key directories left over from an interrupted rewrap. Idempotent:
   * after a crash it is repeated. Does nothing for a tenant without keys.
   */
  async destroy(tenant: string): Promise<void> {
    checkTenant(tenant);
    this.#destroyed.add(tenant);
    const here = dirname(this.#directory);
    const names = await readdir(dirname(here), { withFileTypes: true });
    const beside = names.filter((entry) => entry.isDirectory() && leftBehind.test(entry.name));
    const directories = new Set([basename(here), ...beside.map(({ name }) => name)]);
    for (const name of directories) {
      await destroyIn(join(dirname(here), name, basename(this.#directory)), tenant);
    }
    this.#newest.delete(tenant);
    for (const purpose of this.#held.keys()) {
      if (purpose.startsWith(dataPurposes(tenant))) this.#held.delete(purpose);
    }
  }

  #refuseDestroyed(tenant: string): void {
    if (!this.#destroyed.has(tenant)) return;
    fail({ kind: "keyUnavailable", rule: `the keys of tenant "${tenant}" are destroyed` });
  }

  #hold(purpose: string, make: () => Promise<DataKey>): Promise<DataKey> {
    const held = this.#held.get(purpose);
    if (held !== undefined) {
      this.#held.delete(purpose);
      this.#held.set(purpose, held);
      return held;
    }
    const made = make().catch((error: unknown) => {
      this.#held.delete(purpose);
      throw error;
    });
    this.#held.set(purpose, made);
    for (const oldest of this.#held.keys()) {
      if (this.#held.size <= dataKeysHeldMax) break;
      this.#held.delete(oldest);
    }
    return made;
  }

  #path(tenant: string, keyVersion: number): string {
    return join(this.#directory, `${tenant}-${keyVersion}.json`);
  }

  async #create(tenant: string, keyVersion: number): Promise<DataKey> {
    checkTenant(tenant);
    this.#refuseDestroyed(tenant);
    if (await exists(this.#path(tenant, keyVersion))) {
      // Created by an earlier attempt that failed later: it has sealed nothing, so it can be used.
      await syncDirectory(this.#directory);
      return this.#open(tenant, keyVersion);
    }
    const secret = randomBytes(dataKeyBytes);
    const purpose = dataPurpose(tenant, keyVersion);
    const path = this.#path(tenant, keyVersion);
    await createWrappedFile(path, this.#kek, { purpose, secret, publicKeyText: null }).catch(
      (cause: unknown) =>
        // For example a full disk. The path is not disclosed.
        fail({ kind: "storeFailed", step: "write key", rule: "a new data key cannot be written" }, { cause }),
    );
    const dataKey = createSecretKey(secret);
    secret.fill(0);
    this.#refuseDestroyed(tenant);
    this.#newest.set(tenant, Math.max(keyVersion, this.newest(tenant)));
    return { dataKey, keyVersion };
  }

  async #open(tenant: string, keyVersion: number): Promise<DataKey> {
    checkTenant(tenant);
    const purpose = dataPurpose(tenant, keyVersion);
    const { secret } = await readWrappedFile(this.#path(tenant, keyVersion), this.#kek, purpose).catch(
      (error: unknown) => {
        // A missing file means a missing key; the path is not disclosed.
        const missing = error instanceof SigilFault && error.error.kind === "notFound";
        throw missing
          ? new SigilFault({ kind: "keyUnavailable", rule: `there is no key ${purpose}` })
          : error;
      },
    );
    if (secret.length !== dataKeyBytes) {
      fail({ kind: "keyUnavailable", rule: `the key ${purpose} is not ${dataKeyBytes} bytes` });
    }
    const dataKey = createSecretKey(secret);
    secret.fill(0);
    this.#refuseDestroyed(tenant);
    // Another process may have created a newer version meanwhile; never go back to an older one.
    this.#newest.set(tenant, Math.max(keyVersion, this.newest(tenant)));
    return { dataKey, keyVersion };
  }
}
