/**
 * A token's PIN: from the file that its URI names (0600), from `SIGIL_PKCS11_PIN`, or from a prompt. Never in a URI or
 * a message. UTF-8 bytes, zeroed after use.
 */
import { utf8Encode } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import type { OnShared } from "../files/file-access.ts";
import { readPrivateFile } from "../files/private-file.ts";
import { describeToken, type TokenUri } from "./uri.ts";

export type TokenInputs = {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The library for URIs without module-path. */
  readonly modulePath?: string | undefined;
  /** Prompts for the PIN. */
  readonly askPin?: ((token: string) => Promise<Uint8Array>) | undefined;
  /** Called for private files that were accepted though a group may read them. */
  readonly onShared?: OnShared | undefined;
};

const pinVariable = "SIGIL_PKCS11_PIN";

/** Removes the line terminator. */
const firstLine = (content: Uint8Array): Uint8Array => {
  const end = content.findIndex((byte) => byte === 0x0a || byte === 0x0d);
  return end < 0 ? content : content.subarray(0, end);
};

/** From the file or the variable; undefined if there is neither. @throws looseMode, notFound, tokenUnavailable. */
export const readStoredPin = async (
  uri: TokenUri,
  { env, onShared }: Pick<TokenInputs, "env" | "onShared">,
): Promise<Uint8Array | undefined> => {
  const given = env[pinVariable];
  if (uri.pinSource !== undefined) {
    return requirePin(uri, firstLine(await readPrivateFile(uri.pinSource, "PIN file", onShared)));
  }
  return given === undefined || given === "" ? undefined : utf8Encode(given);
};

/** @throws tokenUnavailable if no prompt is available. */
export const askForPin = async (uri: TokenUri, { askPin }: TokenInputs): Promise<Uint8Array> => {
  const token = describeToken(uri);
  if (askPin !== undefined) return requirePin(uri, await askPin(token));
  const rule = `it needs its PIN: set ${pinVariable}, or say pin-source=file:/PATH in the URI`;
  return fail({ kind: "tokenUnavailable", token, rule });
};

const requirePin = (uri: TokenUri, pin: Uint8Array): Uint8Array =>
  pin.length > 0
    ? pin
    : fail({ kind: "tokenUnavailable", token: describeToken(uri), rule: "the PIN must not be empty" });
