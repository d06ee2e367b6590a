/**
 * One token, logged into once in a process: PKCS #11 has it so that a login is the process's. Work takes a session of a
 * small pool; what the token works at for long runs in the thread pool. A session that is lost (idle too long, a cable,
 * a network) is opened again, with the PIN from where it came from. At most `tokenSessionsMax` sessions.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { SigilFault } from "../../errors.ts";
import { tokenSessionsMax } from "../../limits.ts";
import {
  CK,
  finaliseModules,
  loadModule,
  resultOf,
  type Handle,
  type Module,
  type PKCS11,
} from "./module.ts";
import { askForPin, readStoredPin, type TokenInputs } from "./pin.ts";
import { findSlot, isPinRefused, pinRule, refuseToken, trimmed, type Slot } from "./slot.ts";
import type { TokenUri } from "./uri.ts";

/** A session that is this piece of work's alone until it resolves. */
export type Session = {
  readonly library: PKCS11;
  readonly session: Handle;
  readonly gcmParameterType: number;
  /** Handles of objects that were found in another login do not count in this one. */
  readonly login: number;
};

/** After these the work is worth repeating with a new session; anything else is an answer. */
const lostResults = new Set([
  "CKR_SESSION_HANDLE_INVALID",
  "CKR_SESSION_CLOSED",
  "CKR_USER_NOT_LOGGED_IN",
  "CKR_DEVICE_REMOVED",
  "CKR_DEVICE_ERROR",
  "CKR_TOKEN_NOT_PRESENT",
  "CKR_TOKEN_NOT_RECOGNIZED",
  "CKR_KEY_HANDLE_INVALID",
  "CKR_OBJECT_HANDLE_INVALID",
]);

const triesMax = 3;

const isLost = (error: unknown): boolean => lostResults.has(resultOf(error));

/** Of this process alone, so that what is compared is of no use elsewhere. */
const digestKey = randomBytes(32);
const digestOf = (pin: Uint8Array): Buffer => createHmac("sha256", digestKey).update(pin).digest();

type Open = { readonly session: Handle; readonly login: number };
type Waiting = { readonly resolve: (open: Open) => void; readonly reject: (error: unknown) => void };

export class Token {
  readonly #uri: TokenUri;
  readonly #inputs: TokenInputs;
  readonly #module: Module;
  /** Of the PIN that logged in: a library that is logged in already does not look at the next one. */
  readonly #pinDigest: Buffer;
  #slot: Slot;
  #free: Open[] = [];
  #waiting: Waiting[] = [];
  /** Counts up: a session of an earlier one is gone with it. */
  #login = 1;
  #isOpen = true;
  #opening: Promise<void> | undefined;
  /** Work that has a session. */
  readonly #underWay = new Set<Promise<unknown>>();
  /** Once a PIN was refused it is not tried again: a few tries more lock the token. */
  #refusal: string | undefined;

  private constructor(uri: TokenUri, inputs: TokenInputs, module: Module, slot: Slot, pin: Uint8Array) {
    this.#uri = uri;
    this.#inputs = inputs;
    this.#module = module;
    this.#slot = slot;
    this.#pinDigest = digestOf(pin);
    this.#logIn(pin);
  }

  /** Asks for the PIN once. @throws tokenUnavailable, invalidConfig, looseMode, notFound. */
  static async open(uri: TokenUri, inputs: TokenInputs): Promise<Token> {
    const path = uri.modulePath ?? inputs.modulePath;
    if (path === undefined) {
      return refuseToken(
        uri,
        "say which library speaks with it: module-path=/PATH in the URI, or SIGIL_PKCS11_MODULE",
      );
    }
    const module = await loadModule(path);
    const slot = findSlot(module, uri);
    const name = `${path}\0${trimmed(slot.info.serialNumber)}\0${trimmed(slot.info.label)}`;
    const stored = await readStoredPin(uri, inputs);
    const known = tokens.get(name);
    // Who typed the PIN once in this process need not type it again.
    if (stored === undefined && known !== undefined) return known;
    const pin = stored ?? (await askForPin(uri, inputs));
    try {
      if (known !== undefined) return known.#requirePin(pin, uri);
      const token = new Token(uri, inputs, module, slot, pin);
      tokens.set(name, token);
      return token;
    } finally {
      pin.fill(0);
    }
  }

  #requirePin(pin: Uint8Array, uri: TokenUri): Token {
    return timingSafeEqual(digestOf(pin), this.#pinDigest) ? this : refuseToken(uri, "the PIN is wrong");
  }

  /** @throws tokenUnavailable naming what is missing. */
  require(mechanisms: readonly (keyof typeof CK)[], what: string): void {
    const { library } = this.#module;
    const has = new Set(library.C_GetMechanismList(this.#slot.slot));
    const missing = mechanisms.filter((name) => !has.has(CK[name]));
    if (missing.length === 0) return;
    this.refuse(
      `it cannot do ${what}: it needs the mechanisms ${mechanisms.join(", ")} and lacks ${missing.join(", ")}`,
    );
  }

  refuse(rule: string, cause?: unknown): never {
    return refuseToken(this.#uri, rule, cause);
  }

  /**
   * Runs the work with a session of its own, and anew when the session turns out to be lost; so the work finds its
   * objects itself, once a `login`. @throws what the work throws; tokenUnavailable for what the token answers.
   */
  async use<T>(what: string, work: (session: Session) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      if (!this.#isOpen) await this.#openAgain();
      try {
        return await this.#once(work);
      } catch (error) {
        if (!isLost(error) || tries === triesMax) return this.#fail(what, error);
      }
    }
  }

  #fail(what: string, error: unknown): never {
    if (error instanceof SigilFault || resultOf(error) === "") throw error;
    return this.refuse(`it does not ${what} (${resultOf(error)})`, error);
  }

  async #once<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const open =
      this.#free.pop() ??
      (await new Promise<Open>((resolve, reject) => this.#waiting.push({ resolve, reject })));
    const working = work({ ...this.#module, ...open });
    this.#underWay.add(working);
    try {
      const done = await working;
      this.#release(open);
      return done;
    } catch (error) {
      this.#replace(open, error);
      throw error;
    } finally {
      this.#underWay.delete(working);
    }
  }

  #release(open: Open): void {
    if (open.login !== this.#login) return;
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(open);
    else next.resolve(open);
  }

  /** A session in which something failed may have been left in the middle of it: nothing else is done there. */
  #replace(open: Open, error: unknown): void {
    if (open.login !== this.#login) return;
    const { library } = this.#module;
    if (!isLost(error)) {
      try {
        // The new one first: with the last session the login would end.
        const session = this.#openSession();
        library.C_CloseSession(open.session);
        this.#release({ ...open, session });
        return;
      } catch {
        // Then all of them are opened again.
      }
    }
    this.#isOpen = false;
    // For those who wait for a session; whoever asks next is told why it failed.
    this.#openAgain().catch(() => {});
  }

  #openSession(): Handle {
    const flags = CK.CKF_SERIAL_SESSION | CK.CKF_RW_SESSION;
    return this.#module.library.C_OpenSession(this.#slot.slot, flags);
  }

  /** @throws tokenUnavailable. */
  #logIn(pin: Uint8Array): void {
    const { library } = this.#module;
    const { slot } = this.#slot;
    const opened: Handle[] = [];
    try {
      for (let count = 0; count < tokenSessionsMax; count += 1) {
        opened.push(this.#openSession());
      }
    } catch (cause) {
      this.refuse(`it opens no session (${resultOf(cause)})`, cause);
    }
    try {
      // The package takes a text, which cannot be zeroed.
      library.C_Login(opened[0] as Handle, CK.CKU_USER, new TextDecoder().decode(pin));
    } catch (cause) {
      const result = resultOf(cause);
      if (result !== "CKR_USER_ALREADY_LOGGED_IN") {
        const rule = pinRule(library, slot, result);
        if (isPinRefused(result)) this.#refusal = rule;
        for (const session of opened) library.C_CloseSession(session);
        // Without its cause: no error near a PIN travels.
        this.refuse(rule);
      }
    }
    for (const session of opened) this.#release({ session, login: this.#login });
  }

  /** Whoever comes first does it, for everybody. @throws tokenUnavailable, to those who wait for a session too. */
  #openAgain(): Promise<void> {
    return (this.#opening ??= this.#reopen().finally(() => {
      this.#opening = undefined;
    }));
  }

  async #reopen(): Promise<void> {
    this.#isOpen = false;
    this.#login += 1;
    this.#free = [];
    try {
      if (this.#refusal !== undefined) this.refuse(`${this.#refusal}; start again when that is mended`);
      const pin =
        (await readStoredPin(this.#uri, this.#inputs)) ??
        this.refuse("its session is lost, and nobody is there to type the PIN; start again");
      try {
        // A library that is told to close a session that it is working in may do anything.
        await Promise.allSettled(this.#underWay);
        this.#slot = findSlot(this.#module, this.#uri);
        this.#closeSessions();
        this.#logIn(pin);
        this.#isOpen = true;
      } finally {
        pin.fill(0);
      }
    } catch (error) {
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const { reject } of waiting) reject(error);
      throw error;
    }
  }

  /** When the work under way is done; from then on everything is refused. */
  async close(): Promise<void> {
    this.#isOpen = false;
    this.#refusal = "it was closed";
    await Promise.allSettled(this.#underWay);
  }

  #closeSessions(): void {
    try {
      this.#module.library.C_CloseAllSessions(this.#slot.slot);
    } catch (cause) {
      // There may be none left to close; whatever else it is, the login that follows will say.
      if (resultOf(cause) === "") throw cause;
    }
  }
}

const tokens = new Map<string, Token>();
let holders = 0;

/**
 * Tokens stay open, and logged in to, until the last who holds them so lets go: a token has few sessions for all its
 * programs, and keeps those of one that just goes away.
 */
export const holdTokens = (): AsyncDisposable => {
  holders += 1;
  return {
    [Symbol.asyncDispose]: async () => {
      holders -= 1;
      if (holders > 0) return;
      const open = [...tokens.values()];
      tokens.clear();
      for (const token of open) await token.close();
      await finaliseModules();
    },
  };
};
