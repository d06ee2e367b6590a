/**
 * The tenants' data keys: `<tenant>-<version>.json` in one directory, opened or made once and then held.
 * A key is on disk before it is handed out, so nothing is ever sealed with a key that a crash could lose.
 * At most `dataKeysHeldMax` are held unwrapped; the least recently used leave first.
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
  // The tenant becomes a file name: nothing else may pass.
  if (!tenantPattern.test(tenant) || tenant.length > tenantBytesMax) {
    invalidField("tenant", `must be 1 to ${tenantBytesMax} of [a-z0-9-]`);
  }
};

/** Directories of keys, in force or not. */
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
  /** Tenants whose keys are gone for good: nothing opens or makes one while this lives. */
  readonly #destroyed = new Set<string>();
  /** By purpose, the least recently used first. Promises, so that one key is made or opened once. */
  readonly #held = new Map<string, Promise<DataKey>>();

  constructor(directory: string, kek: Kek, newest: Map<string, number>) {
    this.#directory = directory;
    this.#kek = kek;
    this.#newest = newest;
  }

  /** The version that seals; 0 while the tenant has none. */
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

  /**
   * The version after the newest. Callers that ask while it is being made get the same one. @throws invalidField,
   * storeFailed.
   */
  rotate(tenant: string): Promise<DataKey> {
    const next = this.newest(tenant) + 1;
    return this.#hold(dataPurpose(tenant, next), () => this.#create(tenant, next));
  }

  /**
   * Every version: overwritten, removed, forgotten; also in directories of keys that an interrupted move to another
   * key-encryption key has left beside this one. Killed on the way, it is repeated. A tenant without keys has none to
   * lose.
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
      // Made by an attempt that failed afterwards: it has its name, and has sealed nothing.
      await syncDirectory(this.#directory);
      return this.#open(tenant, keyVersion);
    }
    const secret = randomBytes(dataKeyBytes);
    const purpose = dataPurpose(tenant, keyVersion);
    const path = this.#path(tenant, keyVersion);
    await createWrappedFile(path, this.#kek, { purpose, secret, publicKeyText: null }).catch(
      (cause: unknown) =>
        // On a full disk, say. Its path is nobody's business.
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
        // A file that is gone is a key that is gone; its path is nobody's business.
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
    // A version that another process made in the meantime is the tenant's too: it never goes back to the one before.
    this.#newest.set(tenant, Math.max(keyVersion, this.newest(tenant)));
    return { dataKey, keyVersion };
  }
}
