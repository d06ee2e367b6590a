/** Finds the token that a URI names among those of a library, and explains a refused login. */
import { fail } from "../../errors.ts";
import { CK, resultOf, type Handle, type Module, type PKCS11, type TokenInfo } from "./module.ts";
import { describeToken, tokenAttributes, type TokenUri } from "./uri.ts";

/** Token fields are padded with blanks. */
export const trimmed = (text: string): string => text.replaceAll("\0", " ").trimEnd();

const nameOf = (info: TokenInfo): string => `"${trimmed(info.label)}"`;

const matches = (info: TokenInfo, uri: TokenUri): boolean => {
  const has: Record<(typeof tokenAttributes)[number], string> = {
    token: trimmed(info.label),
    serial: trimmed(info.serialNumber),
    manufacturer: trimmed(info.manufacturerID),
    model: trimmed(info.model),
  };
  return tokenAttributes.every((name) => uri[name] === undefined || uri[name] === has[name]);
};

export type Slot = { readonly slot: Handle; readonly info: TokenInfo };

export const refuseToken = (uri: TokenUri, rule: string, cause?: unknown): never =>
  fail({ kind: "tokenUnavailable", token: describeToken(uri), rule }, { cause });

export const findSlot = ({ library }: Module, uri: TokenUri): Slot => {
  const all: Slot[] = [];
  try {
    for (const slot of library.C_GetSlotList(true)) all.push({ slot, info: library.C_GetTokenInfo(slot) });
  } catch (cause) {
    return refuseToken(uri, `the library cannot list its tokens (${resultOf(cause)})`, cause);
  }
  const [found, second] = all.filter(({ info }) => matches(info, uri));
  if (second !== undefined)
    return refuseToken(uri, "more than one token is so called; name it by serial too");
  if (found !== undefined) return found;
  const labels = all.map(({ info }) => nameOf(info)).filter((name) => name !== '""');
  return refuseToken(
    uri,
    `there is no such token; there is ${labels.length === 0 ? "none" : labels.join(", ")}`,
  );
};

const pinResults = ["CKR_PIN_INCORRECT", "CKR_PIN_INVALID", "CKR_PIN_LEN_RANGE", "CKR_PIN_LOCKED"];

/** Whether the PIN was wrong, so that it must not be retried. */
export const isPinRefused = (result: string): boolean => pinResults.includes(result);

/** The error rule for a refused login. */
export const pinRule = (library: PKCS11, slot: Handle, result: string): string => {
  if (result === "CKR_PIN_LOCKED")
    return "its PIN is locked after too many wrong ones; its security officer unlocks it";
  if (!isPinRefused(result)) return `it does not let us log in (${result})`;
  const { flags } = library.C_GetTokenInfo(slot);
  if ((flags & CK.CKF_USER_PIN_LOCKED) !== 0) return "the PIN is wrong, and now it is locked";
  if ((flags & CK.CKF_USER_PIN_FINAL_TRY) !== 0)
    return "the PIN is wrong; one more wrong one locks the token";
  return "the PIN is wrong";
};
