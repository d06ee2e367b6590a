/**
 * The deployment's signing keys, one wrapped file each: `<role>-<serial>.json`. Every file is opened once at start. The
 * ledger says by public key which one signs; a newer one that was never announced is ignored. A key that has a
 * successor is destroyed.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { equalBytes, toBase64Url, type PublicKey, type Thumbprint } from "@sigil/core/bytes";
import { coseKeyThumbprint, mldsa44KeyThumbprint } from "@sigil/core/cose";
import { fail } from "../errors.ts";
import { Mutex } from "../mutex.ts";
import { eraseFile, eraseUnfinished } from "./files/erase.ts";
import { formatMldsa44PublicKey, formatPublicKey } from "./signing/keyfile.ts";
import { unfinishedSuffix } from "./files/private-file.ts";
import type { Ed25519Role, KeyRole } from "@sigil/core/keys";
import {
  createMldsa44Signer,
  createPromptSigner,
  createThreadSigner,
  type RoleSigner,
  type Signer,
} from "./signing/sign.ts";
import type { Mldsa44Custody, SigningCustody } from "./signing/signing-custody.ts";
import type { Kek } from "./wrapping/wrap.ts";
import { startSigningThread } from "./signing/signing-thread.ts";
import { createWrappedFile, readWrappedFile } from "./wrapping/wrapped-file.ts";

type Held = RoleSigner & { readonly serial: number };
type HeldBy<Role extends KeyRole> = Extract<Held, { readonly role: Role }>;
type Place = { readonly directory: string; readonly kek: Kek };

const failKey = (rule: string): never => fail({ kind: "keyUnavailable", rule });

const namePattern = /^(record|checkpoint|checkpoint_mldsa44)-([1-9][0-9]{0,9})\.json$/;
const signingPurpose = (role: KeyRole, serial: number): string => `signing/${role}/${serial}`;
const pathOf = (directory: string, role: KeyRole, serial: number): string =>
  join(directory, `${role}-${serial}.json`);

/**
 * Records come in bursts and are signed in the thread. A checkpoint is signed alone while a batch waits for it, so it
 * does not queue behind records.
 */
const signerOf = (role: KeyRole, privateKey: KeyObject): RoleSigner => {
  switch (role) {
    case "record":
      return { role, signer: createThreadSigner(privateKey) };
    case "checkpoint":
      return { role, signer: createPromptSigner(privateKey) };
    case "checkpoint_mldsa44":
      return { role, signer: createMldsa44Signer(privateKey) };
  }
};

const newPrivateKey = (role: KeyRole): KeyObject =>
  (role === "checkpoint_mldsa44" ? generateKeyPairSync("ml-dsa-44") : generateKeyPairSync("ed25519"))
    .privateKey;

const publicKeyText = ({ role, signer }: RoleSigner): string =>
  role === "checkpoint_mldsa44"
    ? formatMldsa44PublicKey(signer.publicKey)
    : formatPublicKey(signer.publicKey);

const createKeyFile = async ({ directory, kek }: Place, role: KeyRole, serial: number): Promise<Held> => {
  const privateKey = newPrivateKey(role);
  const made = signerOf(role, privateKey);
  const secret = privateKey.export({ format: "der", type: "pkcs8" });
  try {
    await createWrappedFile(pathOf(directory, role, serial), kek, {
      purpose: signingPurpose(role, serial),
      secret,
      publicKeyText: publicKeyText(made),
    });
  } finally {
    secret.fill(0);
  }
  return { ...made, serial };
};

const openKeyFile = async ({ directory, kek }: Place, role: KeyRole, serial: number): Promise<Held> => {
  const purpose = signingPurpose(role, serial);
  const { secret, publicKeyText: named } = await readWrappedFile(
    pathOf(directory, role, serial),
    kek,
    purpose,
  );
  const der = Buffer.from(secret.buffer as ArrayBuffer, secret.byteOffset, secret.length);
  const opened = signerOf(role, createPrivateKey({ key: der, format: "der", type: "pkcs8" }));
  secret.fill(0);
  if (named !== publicKeyText(opened)) failKey(`the file of ${purpose} names another public key`);
  return { ...opened, serial };
};

export class SigningKeyFiles implements SigningCustody {
  readonly #place: Place;
  #held: readonly Held[] = [];
  /** Serializes creation and destruction of files. */
  readonly #writing = new Mutex();

  private constructor(place: Place) {
    this.#place = place;
  }

  /** @throws keyUnavailable, newerFormat, looseMode for any key that does not open. */
  static async open(place: Place): Promise<SigningKeyFiles> {
    const keys = new SigningKeyFiles(place);
    await keys.#openFiles();
    return keys;
  }

  newest(role: Ed25519Role): Signer {
    const ofRole = this.#of(role).sort((a, b) => a.serial - b.serial);
    return ofRole.at(-1)?.signer ?? failKey(`there is no ${role} key`);
  }

  async open(role: Ed25519Role, publicKey: PublicKey): Promise<Signer> {
    // Starts before the first signature, in parallel with the caller's work.
    if (role === "record") void startSigningThread();
    return (await this.#find(role, publicKey, coseKeyThumbprint(publicKey))).signer;
  }

  async create(role: Ed25519Role): Promise<Signer> {
    return (await this.#create(role)).signer;
  }

  readonly mldsa44: Mldsa44Custody = {
    open: async (publicKey) => {
      const thumbprint = mldsa44KeyThumbprint(publicKey);
      return (await this.#find("checkpoint_mldsa44", publicKey, thumbprint)).signer;
    },
    create: async () => (await this.#create("checkpoint_mldsa44")).signer,
  };

  /** Also removes leftovers of interrupted creation or destruction. */
  discard(ended: readonly Uint8Array[]): Promise<void> {
    return this.#writing.run(async () => {
      const isEnded = ({ signer }: Held): boolean =>
        ended.some((publicKey) => equalBytes(publicKey, signer.publicKey));
      for (const key of this.#held.filter(isEnded)) {
        await eraseFile(pathOf(this.#place.directory, key.role, key.serial));
        key.signer.forget?.();
        this.#held = this.#held.filter((each) => each !== key);
      }
      for (const name of await readdir(this.#place.directory)) {
        const isLeft =
          name.endsWith(unfinishedSuffix) && namePattern.test(name.slice(0, -unfinishedSuffix.length));
        if (isLeft) await eraseUnfinished(join(this.#place.directory, name));
      }
    });
  }

  #of<Role extends KeyRole>(role: Role): HeldBy<Role>[] {
    return this.#held.filter((key): key is HeldBy<Role> => key.role === role);
  }

  async #find<Role extends KeyRole>(
    role: Role,
    publicKey: Uint8Array,
    thumbprint: Thumbprint,
  ): Promise<HeldBy<Role>> {
    const find = () => this.#of(role).find(({ signer }) => equalBytes(signer.publicKey, publicKey));
    // Files were opened before the ledger's lock was taken: its previous holder may have created another key since.
    if (find() === undefined) await this.#writing.run(() => this.#openFiles());
    return find() ?? failKey(`the file of the ${role} key ${toBase64Url(thumbprint)} is missing`);
  }

  #create<Role extends KeyRole>(role: Role): Promise<HeldBy<Role>> {
    return this.#writing.run(async () => {
      await this.#openFiles();
      const serials = this.#of(role).map(({ serial }) => serial);
      const created = await createKeyFile(this.#place, role, Math.max(0, ...serials) + 1);
      this.#held = [...this.#held, created];
      return created as HeldBy<Role>;
    });
  }

  /** Opens the files that are not open yet. */
  async #openFiles(): Promise<void> {
    for (const name of await readdir(this.#place.directory)) {
      const [, role, text] = namePattern.exec(name) ?? [];
      if (role === undefined) continue;
      const serial = Number(text);
      if (this.#held.some((key) => key.role === role && key.serial === serial)) continue;
      this.#held = [...this.#held, await openKeyFile(this.#place, role as KeyRole, serial)];
    }
  }
}
