/**
 * The deployment's private keys on disk, each wrapped under the key-encryption key in a file of its own:
 *
 *   keys/record-1.json  keys/checkpoint-1.json  keys/data/<tenant>-<version>.json
 *
 * Files are 0600, directories 0700. Each file's purpose is authenticated, so one put under another name is refused. The
 * signing keys may be on a PKCS #11 token instead; then only data keys are files.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "../errors.ts";
import { DataKeys } from "./data-keys.ts";
import type { TokenInputs } from "./pkcs11/pin.ts";
import { TokenSigningKeys } from "./pkcs11/token-signing-keys.ts";
import { formatTokenUri, isTokenUri, parseTokenUri, type TokenUri } from "./pkcs11/uri.ts";
import { checkPrivateDirectory, checkPrivateFile, createPrivateDirectory } from "./files/private-file.ts";
import { signingRoles, type SigningCustody } from "./signing/signing-custody.ts";
import { SigningKeyFiles } from "./signing-keys.ts";
import type { Kek } from "./wrapping/wrap.ts";

/** Location of the signing keys. */
export type CustodySource =
  | { readonly kind: "file" }
  | { readonly kind: "pkcs11"; /** Its `object` is the prefix of their labels. */ readonly uri: TokenUri };

/** A source with the inputs needed to open it. */
export type SigningPlace = { readonly source: CustodySource; readonly inputs: TokenInputs };

const inFiles: SigningPlace = { source: { kind: "file" }, inputs: { env: {} } };

/** `file` or `pkcs11:URI`. @throws invalidConfig. */
export const parseCustodySource = (text: string): CustodySource => {
  if (text === "file") return { kind: "file" };
  if (isTokenUri(text)) return { kind: "pkcs11", uri: parseTokenUri(text, "custody") };
  return fail({ kind: "invalidConfig", key: "custody", rule: "must be file or pkcs11:URI" });
};

export const formatCustodySource = (source: CustodySource): string =>
  source.kind === "file" ? "file" : formatTokenUri(source.uri);

export type Custody = {
  readonly signingKeys: SigningCustody;
  /** The tenants' keys; durable before they are returned. */
  readonly dataKeys: DataKeys;
};

const dataDirectory = "data";

/** The highest number of `<stem>-<number>.json`, by stem. */
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

const openSigning = (directory: string, kek: Kek, place: SigningPlace): Promise<SigningCustody> =>
  place.source.kind === "file"
    ? SigningKeyFiles.open({ directory, kek })
    : TokenSigningKeys.open(place.source.uri, place.inputs);

/** @throws looseMode, notFound, keyUnavailable, newerFormat, tokenUnavailable. */
export const openCustody = async (directory: string, kek: Kek, place = inFiles): Promise<Custody> => {
  await listPrivate(directory);
  const dataNames = await listPrivate(join(directory, dataDirectory));
  const signingKeys = await openSigning(directory, kek, place);
  for (const role of signingRoles) signingKeys.newest(role);
  return {
    signingKeys,
    dataKeys: new DataKeys(join(directory, dataDirectory), kek, newestNumbers(dataNames)),
  };
};

/** Makes the directory (0700) with a record and a checkpoint key. @throws usage if it exists; tokenUnavailable. */
export const createCustody = async (directory: string, kek: Kek, place = inFiles): Promise<Custody> => {
  // Checks the token before anything is created.
  if (place.source.kind === "pkcs11") await openSigning(directory, kek, place);
  await createPrivateDirectory(directory);
  await createPrivateDirectory(join(directory, dataDirectory));
  const signingKeys = await openSigning(directory, kek, place);
  for (const role of signingRoles) await signingKeys.create(role);
  return openCustody(directory, kek, place);
};
