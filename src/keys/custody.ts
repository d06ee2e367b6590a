/**
 * The deployment's private keys on disk, each wrapped under the key-encryption key in a file of its own:
 *
 *   keys/record-1.json  keys/checkpoint-1.json  keys/data/<tenant>-<version>.json
 *
 * Files are 0600, directories 0700. Each file's purpose is authenticated, so one put under another name is refused.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "../record/errors.ts";
import { DataKeys } from "./data-keys.ts";
import { formatPublicKey } from "./keyfile.ts";
import { checkPrivateDirectory, checkPrivateFile, createPrivateDirectory } from "./private-file.ts";
import type { KeyRole } from "./ring.ts";
import { createSigner, rawPublicKey, type Signer } from "./sign.ts";
import { createWrappedFile, readWrappedFile } from "./wrapped-file.ts";

export type Custody = {
  /** The role's newest key. */
  readonly signer: (role: KeyRole) => Signer;
  /** The tenants' keys, on disk before they are handed out. */
  readonly dataKeys: DataKeys;
};

const dataDirectory = "data";
const roles: readonly KeyRole[] = ["record", "checkpoint"];

const failKey = (rule: string): never => fail({ kind: "keyUnavailable", rule });

const signingPurpose = (role: KeyRole, serial: number): string => `signing/${role}/${serial}`;

const createSigningKey = async (directory: string, kek: KeyObject, role: KeyRole): Promise<void> => {
  const { privateKey } = generateKeyPairSync("ed25519");
  const secret = privateKey.export({ format: "der", type: "pkcs8" });
  await createWrappedFile(join(directory, `${role}-1.json`), kek, {
    purpose: signingPurpose(role, 1),
    secret,
    publicKeyText: formatPublicKey(rawPublicKey(privateKey)),
  });
  secret.fill(0);
};

const openSigningKey = async (
  directory: string,
  kek: KeyObject,
  { role, serial }: { readonly role: KeyRole; readonly serial: number },
): Promise<Signer> => {
  const purpose = signingPurpose(role, serial);
  const path = join(directory, `${role}-${serial}.json`);
  const { secret, publicKeyText } = await readWrappedFile(path, kek, purpose);
  const der = Buffer.from(secret.buffer as ArrayBuffer, secret.byteOffset, secret.length);
  const signer = createSigner(createPrivateKey({ key: der, format: "der", type: "pkcs8" }));
  secret.fill(0);
  if (publicKeyText !== formatPublicKey(signer.publicKey)) {
    failKey(`the file of ${purpose} names another public key`);
  }
  return signer;
};

/** The highest `<stem>-<number>.json` by stem. */
const newestNumbers = (names: readonly string[]): Map<string, number> => {
  const newest = new Map<string, number>();
  for (const name of names) {
    const [, stem, number] = /^([a-z0-9-]+)-([1-9][0-9]{0,9})\.json$/.exec(name) ?? [];
    if (stem === undefined || number === undefined) continue;
    newest.set(stem, Math.max(newest.get(stem) ?? 0, Number(number)));
  }
  return newest;
};

/** The files of a directory, each checked to be private. */
const listPrivate = async (directory: string): Promise<readonly string[]> => {
  await checkPrivateDirectory(directory);
  const entries = await readdir(directory, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
  for (const name of names) await checkPrivateFile(join(directory, name));
  return names;
};

/** @throws looseMode, notFound, keyUnavailable, newerFormat. */
export const openCustody = async (directory: string, kek: KeyObject): Promise<Custody> => {
  const serials = newestNumbers(await listPrivate(directory));
  const dataKeys = new DataKeys(
    join(directory, dataDirectory),
    kek,
    newestNumbers(await listPrivate(join(directory, dataDirectory))),
  );
  const signers = new Map<KeyRole, Signer>();
  for (const role of roles) {
    const serial = serials.get(role) ?? failKey(`there is no ${role} key`);
    signers.set(role, await openSigningKey(directory, kek, { role, serial }));
  }
  return {
    signer: (role) => signers.get(role) ?? failKey(`there is no ${role} key`),
    dataKeys,
  };
};

/** Makes the directory (0700) with a record and a checkpoint key. @throws usage when it exists. */
export const createCustody = async (directory: string, kek: KeyObject): Promise<Custody> => {
  await createPrivateDirectory(directory);
  await createPrivateDirectory(join(directory, dataDirectory));
  for (const role of roles) await createSigningKey(directory, kek, role);
  return openCustody(directory, kek);
};
