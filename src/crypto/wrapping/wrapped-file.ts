/**
 * One wrapped key in a file: JSON `{ format, purpose, public_key?, wrapped }`. The wrapping authenticates the purpose,
 * so a file under another name is refused.
 */
import { fromBase64, toBase64, utf8Decode } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import { createPrivateFile, readPrivateFile } from "../files/private-file.ts";
import type { Kek } from "./wrap.ts";

const format = 1;

type WrappedKey = {
  readonly purpose: string;
  readonly secret: Uint8Array;
  /** Public key of a private key, for people who read the file. */
  readonly publicKeyText: string | null;
};

const failFile = (purpose: string, rule: string, cause?: unknown): never =>
  fail({ kind: "keyUnavailable", rule: `the file of ${purpose} ${rule}` }, { cause });

const parseJson = (bytes: Uint8Array, purpose: string): object => {
  let file: unknown;
  try {
    file = JSON.parse(utf8Decode(bytes));
  } catch (error) {
    return failFile(purpose, "is not JSON", error);
  }
  return typeof file === "object" && file !== null ? file : failFile(purpose, "is not a key file");
};

/** @param expected the purpose, or null for the one the file states. */
const parseWrappedFile = (bytes: Uint8Array, expected: string | null) => {
  const named = expected ?? "a key";
  const file = parseJson(bytes, named);
  const found = "format" in file ? file.format : undefined;
  if (typeof found !== "number") return failFile(named, "is not a key file");
  if (found > format) fail({ kind: "newerFormat", found, known: format });
  const purpose = "purpose" in file && typeof file.purpose === "string" ? file.purpose : "";
  if (purpose !== (expected ?? purpose)) return failFile(named, "holds another key");
  if (!("wrapped" in file) || typeof file.wrapped !== "string") return failFile(purpose, "is not a key file");
  const publicKeyText = "public_key" in file && typeof file.public_key === "string" ? file.public_key : null;
  try {
    return { purpose, wrapped: fromBase64(file.wrapped), publicKeyText };
  } catch (error) {
    return failFile(purpose, "is not a key file", error);
  }
};

/** Durable when it resolves. The caller zeroes the secret. @throws usage if the name is taken. */
export const createWrappedFile = async (
  path: string,
  kek: Kek,
  { purpose, secret, publicKeyText }: WrappedKey,
): Promise<void> => {
  const file = {
    format,
    purpose,
    ...(publicKeyText === null ? {} : { public_key: publicKeyText }),
    wrapped: toBase64(await kek.wrap(purpose, secret)),
  };
  await createPrivateFile(path, `${JSON.stringify(file, undefined, 2)}\n`);
};

const readWrapped = async (path: string, kek: Kek, expected: string | null): Promise<WrappedKey> => {
  const file = parseWrappedFile(await readPrivateFile(path, "wrapped key"), expected);
  const { purpose, wrapped, publicKeyText } = file;
  return { purpose, secret: await kek.unwrap(purpose, wrapped), publicKeyText };
};

/** The caller zeroes the secret. @throws keyUnavailable, looseMode, newerFormat. */
export const readWrappedFile = (path: string, kek: Kek, purpose: string): Promise<WrappedKey> =>
  readWrapped(path, kek, purpose);

/** As `readWrappedFile`, for the purpose that the file states, which the wrapping authenticates. */
export const readAnyWrappedFile = (path: string, kek: Kek): Promise<WrappedKey> =>
  readWrapped(path, kek, null);
