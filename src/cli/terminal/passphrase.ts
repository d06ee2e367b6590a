/** Reads a passphrase or PIN from a variable, or from the terminal without echo. At most `keyFileBytesMax` bytes. */
import { timingSafeEqual } from "node:crypto";
import type { Readable } from "node:stream";
import { fail, SigilFault } from "../../errors.ts";
import { keyFileBytesMax } from "../../limits.ts";
import type { KekInputs } from "../../crypto/kek.ts";
import { holdTokens } from "../../crypto/pkcs11/token.ts";
import { noteShared } from "./own-key.ts";
import type { Terminal } from "./terminal.ts";

type Keyboard = Readable & { readonly isTTY: true; setRawMode: (raw: boolean) => unknown };

/** Whether the input is a terminal. */
export const isKeyboard = (input: Readable): input is Keyboard => "isTTY" in input && input.isTTY === true;

const enter = new Set([0x0a, 0x0d, 0x04]);
const erase = new Set([0x08, 0x7f]);
const interrupt = 0x03;

/** Removes the last character, which may be several bytes of UTF-8. */
const dropLast = (typed: number[]): void => {
  let byte = typed.pop();
  while (byte !== undefined && (byte & 0xc0) === 0x80) byte = typed.pop();
};

const readHidden = (keyboard: Keyboard, what: string): Promise<Uint8Array> =>
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
          typed.fill(0);
          chunk.fill(0);
          reject(new SigilFault({ kind: "keyUnavailable", rule: `no ${what} was typed` }));
          return;
        }
        if (enter.has(byte) || typed.length >= keyFileBytesMax) {
          finish();
          // A separate buffer: V8 keeps small arrays on its heap, where the collector leaves copies.
          const passphrase = new Uint8Array(new ArrayBuffer(typed.length));
          passphrase.set(typed);
          resolve(passphrase);
          typed.fill(0);
          chunk.fill(0);
          return;
        }
        if (erase.has(byte)) dropLast(typed);
        else typed.push(byte);
      }
      chunk.fill(0);
    };
    keyboard.setRawMode(true);
    keyboard.on("data", onData);
    keyboard.resume();
  });

type Asked = { readonly variable: string; readonly what: string };

const current: Asked = { variable: "SIGIL_PASSPHRASE", what: "Passphrase of the key-encryption key" };
const next: Asked = { variable: "SIGIL_NEW_PASSPHRASE", what: "New passphrase of the key-encryption key" };

const fromVariable = ({ environment }: Terminal, { variable }: Asked): Uint8Array | undefined => {
  const given = environment[variable];
  return given === undefined || given === "" ? undefined : new TextEncoder().encode(given);
};

const type = async ({ input, note }: Terminal, prompt: string, { variable }: Asked): Promise<Uint8Array> => {
  if (!isKeyboard(input)) {
    return fail({ kind: "keyUnavailable", rule: `the deployment has a passphrase; set ${variable}` });
  }
  note(`${prompt}:`);
  return readHidden(input, "passphrase");
};

const typeTwice = async (terminal: Terminal, asked: Asked): Promise<Uint8Array> => {
  const first = await type(terminal, asked.what, asked);
  const second = await type(terminal, "Once more", asked);
  const same = first.length === second.length && timingSafeEqual(first, second);
  second.fill(0);
  return same ? first : fail({ kind: "keyUnavailable", rule: "the two passphrases differ" });
};

/** @throws keyUnavailable if there is neither the variable nor a terminal. */
const askPassphrase = async (terminal: Terminal): Promise<Uint8Array> =>
  fromVariable(terminal, current) ?? type(terminal, current.what, current);

/** For a new deployment: typed twice. */
export const askNewPassphrase = async (terminal: Terminal): Promise<Uint8Array> =>
  fromVariable(terminal, current) ?? typeTwice(terminal, current);

/** For a rewrap: SIGIL_NEW_PASSPHRASE, or typed twice. */
export const askNextPassphrase = async (terminal: Terminal): Promise<Uint8Array> =>
  fromVariable(terminal, next) ?? typeTwice(terminal, next);

type Asking = {
  readonly ask?: (terminal: Terminal) => Promise<Uint8Array>;
  /** The configured PKCS #11 library, "" for none. */
  readonly modulePath?: string;
};

/**
 * Inputs for opening key-encryption keys and tokens: the environment and terminal prompts. Disposing of it closes the
 * tokens it opened.
 */
export const kekInputsOf = (
  terminal: Terminal,
  { ask = askPassphrase, modulePath = terminal.environment["SIGIL_PKCS11_MODULE"] ?? "" }: Asking = {},
): KekInputs & AsyncDisposable => {
  const { environment: env, input, note } = terminal;
  return {
    env,
    askPassphrase: () => ask(terminal),
    modulePath: modulePath === "" ? undefined : modulePath,
    askPin: isKeyboard(input) ? (token) => typePin(input, note, token) : undefined,
    onShared: noteShared(terminal),
    ...holdTokens(),
  };
};

const typePin = (keyboard: Keyboard, note: Terminal["note"], token: string): Promise<Uint8Array> => {
  note(`PIN of the token ${token}:`);
  return readHidden(keyboard, "PIN");
};
