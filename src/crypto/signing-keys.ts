/**
 * The deployment's signing keys, one wrapped file each: `<role>-<serial>.json`. Every file is opened once at start. The
 * ledger says by public key which one signs; a newer one that was never announced is ignored. A key that has a
 * successor is destroyed.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { equalBytes, toBase64Url, type PublicKey } from "@sigil/core/bytes";
import { coseKeyThumbprint } from "@sigil/core/cose";
import { fail } from "../errors.ts";
import { Mutex } from "../mutex.ts";
import { eraseFile, eraseUnfinished } from "./files/erase.ts";
import { formatPublicKey } from "./signing/keyfile.ts";
import { unfinishedSuffix } from "./files/private-file.ts";
import type { KeyRole } from "@sigil/core/keys";
import { createPromptSigner, createThreadSigner, rawPublicKey, type Signer } from "./signing/sign.ts";
import type { SigningCustody } from "./signing/signing-custody.ts";
import type { Kek } from "./wrapping/wrap.ts";
import { startSigningThread } from "./signing/signing-thread.ts";
import { createWrappedFile, readWrappedFile } from "./wrapping/wrapped-file.ts";

type Held = { readonly role: KeyRole; readonly serial: number; readonly signer: Signer };
type Place = { readonly directory: string; readonly kek: Kek };

const failKey = (rule: string): never => fail({ kind: "keyUnavailable", rule });

const namePattern = /^(record|checkpoint)-([1-9][0-9]{0,9})\.json$/;
const signingPurpose = (role: KeyRole, serial: number): string => `signing/${role}/${serial}`;
const pathOf = (directory: string, role: KeyRole, serial: number): string =>
  join(directory, `${role}-${serial}.json`);

/**
 * Records come in bursts and are signed in the thread. A checkpoint is signed alone while a batch waits for it, so it
 * does not queue behind records.
 */
const signerOf = (role: KeyRole, privateKey: KeyObject): Signer =>
  role === "record" ? createThreadSigner(privateKey) : createPromptSigner(privateKey);

const createKeyFile = async ({ directory, kek }: Place, role: KeyRole, serial: number): Promise<Held> => {
  const { privateKey } = generateKeyPairSync("ed25519");
  const secret = privateKey.export({ format: "der", type: "pkcs8" });
  try {
    await createWrappedFile(pathOf(directory, role, serial), kek, {
      purpose: signingPurpose(role, serial),
      secret,
      publicKeyText: formatPublicKey(rawPublicKey(privateKey)),
    });
  } finally {
    secret.fill(0);
  }
  return { role, serial, signer: signerOf(role, privateKey) };
};

const openKeyFile = async ({ directory, kek }: Place, role: KeyRole, serial: number): Promise<Held> => {
  const purpose = signingPurpose(role, serial);
  const { secret, publicKeyText } = await readWrappedFile(pathOf(directory, role, serial), kek, purpose);
  const der = Buffer.from(secret.buffer as ArrayBuffer, secret.byteOffset, secret.length);
  const signer = signerOf(role, createPrivateKey({ key: der, format: "der", type: "pkcs8" }));
  secret.fill(0);
  if (publicKeyText !== formatPublicKey(signer.publicKey)) {
    failKey(`the file of ${purpose} names another public key`);
  }
  return { role, serial, signer };
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

  newest(role: KeyRole): Signer {
    const ofRole = this.#held.filter((key) => key.role === role).sort((a, b) => a.serial - b.serial);
    return ofRole.at(-1)?.signer ?? failKey(`there is no ${role} key`);
  }

  async open(role: KeyRole, publicKey: PublicKey): Promise<Signer> {
    // Starts before the first signature, in parallel with the caller's work.
    if (role === "record") void startSigningThread();
    const isIt = (key: Held): boolean => key.role === role && equalBytes(key.signer.publicKey, publicKey);
    // Files were opened before the ledger's lock was taken: its previous holder may have created another key since.
    if (!this.#held.some(isIt)) await this.#writing.run(() => this.#openFiles());
    const held = this.#held.find(isIt);
    if (held !== undefined) return held.signer;
    const thumbprint = toBase64Url(coseKeyThumbprint(publicKey));
    return failKey(`the file of the ${role} key ${thumbprint} is missing`);
  }

  create(role: KeyRole): Promise<Signer> {
    return this.#writing.run(async () => {
      await this.#openFiles();
      const serials = this.#held.filter((key) => key.role === role).map(({ serial }) => serial);
      const created = await createKeyFile(this.#place, role, Math.max(0, ...serials) + 1);
      this.#held = [...this.#held, created];
      return created.signer;
    });
  }

  /** Also removes leftovers of interrupted creation or destruction. */
  discard(ended: readonly PublicKey[]): Promise<void> {
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
