/** Asks for a passphrase: SIGIL_PASSPHRASE, or a terminal that shows nothing of it. At most `keyFileBytesMax` bytes. */
import type { Readable } from "node:stream";
import { fail } from "../record/errors.ts";
import { keyFileBytesMax } from "../record/limits.ts";
import type { Terminal } from "./terminal.ts";

type Keyboard = Readable & { readonly isTTY: true; setRawMode: (raw: boolean) => unknown };

const isKeyboard = (input: Readable): input is Keyboard => "isTTY" in input && input.isTTY === true;

const enter = new Set([0x0a, 0x0d, 0x04]);
const erase = new Set([0x08, 0x7f]);
const interrupt = 0x03;

/** Drops the last character, which may be several bytes of UTF-8. */
const dropLast = (typed: number[]): void => {
  let byte = typed.pop();
  while (byte !== undefined && (byte & 0xc0) === 0x80) byte = typed.pop();
};

const readHidden = (keyboard: Keyboard): Promise<Uint8Array> =>
  new Promise((resolve, reject) => {
    const typed: number[] = [];
    const finish = (): void => {
      keyboard.off("data", onData);
      keyboard.setRawMode(false);
      keyboard.pause();
    };
    const onData = (chunk: Uint8Array): void => {
      for (const byte of chunk) {
        if (byte === interrupt) {
          finish();
          reject(new Error("interrupted"));
          return;
        }
        if (enter.has(byte) || typed.length >= keyFileBytesMax) {
          finish();
          resolve(Uint8Array.from(typed));
          typed.fill(0);
          return;
        }
        if (erase.has(byte)) dropLast(typed);
        else typed.push(byte);
      }
    };
    keyboard.setRawMode(true);
    keyboard.on("data", onData);
    keyboard.resume();
  });

/** @throws keyUnavailable when there is neither the variable nor a terminal. */
export const askPassphrase = async ({ environment, input, note }: Terminal): Promise<Uint8Array> => {
  const given = environment["SIGIL_PASSPHRASE"];
  if (given !== undefined && given !== "") return new TextEncoder().encode(given);
  if (!isKeyboard(input)) {
    return fail({ kind: "keyUnavailable", rule: "the deployment has a passphrase; set SIGIL_PASSPHRASE" });
  }
  note("Passphrase of the key-encryption key:");
  return readHidden(input);
};

/** For a new passphrase: asked twice where it is typed. */
export const askNewPassphrase = async (terminal: Terminal): Promise<Uint8Array> => {
  const first = await askPassphrase(terminal);
  if (terminal.environment["SIGIL_PASSPHRASE"] !== undefined) return first;
  terminal.note("Once more:");
  const second = await askPassphrase(terminal);
  const same = Buffer.from(first).equals(second);
  second.fill(0);
  return same ? first : fail({ kind: "keyUnavailable", rule: "the two passphrases differ" });
};
