/**
 * One token, logged into once per process, as PKCS #11 logins are per process. Work takes a session from a small pool;
 * slow calls run in the thread pool. A lost session (idle timeout, cable, network) is reopened, with the PIN from its
 * source. At most `tokenSessionsMax` sessions.
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

/** A session used exclusively by one piece of work until it resolves. */
export type Session = {
  readonly library: PKCS11;
  readonly session: Handle;
  readonly gcmParameterType: number;
  /** Number of the login; object handles are valid only within one login. */
  readonly login: number;
};

/** Return codes after which the work is retried with a new session; any other is final. */
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

/** Random per process, so that PIN digests are useless elsewhere. */
const digestKey = randomBytes(32);
const digestOf = (pin: Uint8Array): Buffer => createHmac("sha256", digestKey).update(pin).digest();

type Open = { readonly session: Handle; readonly login: number };
type Waiting = { readonly resolve: (open: Open) => void; readonly reject: (error: unknown) => void };

export class Token {
  readonly #uri: TokenUri;
  readonly #inputs: TokenInputs;
  readonly #module: Module;
  /** Digest of the PIN that logged in: a library that is logged in does not check another PIN. */
  readonly #pinDigest: Buffer;
  #slot: Slot;
  #free: Open[] = [];
  #waiting: Waiting[] = [];
  /** Incremented by each login; sessions of earlier ones are invalid. */
  #login = 1;
  #isOpen = true;
  #opening: Promise<void> | undefined;
  /** Work in progress that holds a session. */
  readonly #underWay = new Set<Promise<unknown>>();
  /** Set once a PIN was refused: it is not retried, since a few wrong tries lock the token. */
  #refusal: string | undefined;

  private constructor(uri: TokenUri, inputs: TokenInputs, module: Module, slot: Slot, pin: Uint8Array) {
    this.#uri = uri;
    this.#inputs = inputs;
    this.#module = module;
    this.#slot = slot;
    this.#pinDigest = digestOf(pin);
    this.#logIn(pin);
  }

  /** Opens the token, asking for the PIN at most once. @throws tokenUnavailable, invalidConfig, looseMode, notFound. */
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
    // A PIN typed once in this process is not asked for again.
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
   * Runs the work with an exclusive session, again if the session was lost; so the work must look up its objects once
   * per `login`. @throws what the work throws; tokenUnavailable for the token's errors.
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

  /** Replaces a session after an error: an operation may still be active in it. */
  #replace(open: Open, error: unknown): void {
    if (open.login !== this.#login) return;
    const { library } = this.#module;
    if (!isLost(error)) {
      try {
        // Open the new one first: closing the last session would log out.
        const session = this.#openSession();
        library.C_CloseSession(open.session);
        this.#release({ ...open, session });
        return;
      } catch {
        // All sessions are then reopened.
      }
    }
    this.#isOpen = false;
    // Waiters for a session get the error; later callers get it from `#refusal` or a new attempt.
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
      // The package takes a string, which cannot be zeroed.
      library.C_Login(opened[0] as Handle, CK.CKU_USER, new TextDecoder().decode(pin));
    } catch (cause) {
      const result = resultOf(cause);
      if (result !== "CKR_USER_ALREADY_LOGGED_IN") {
        const rule = pinRule(library, slot, result);
        if (isPinRefused(result)) this.#refusal = rule;
        for (const session of opened) library.C_CloseSession(session);
        // Without a cause, so that no error can carry a PIN.
        this.refuse(rule);
      }
    }
    for (const session of opened) this.#release({ session, login: this.#login });
  }

  /**
   * Reopens all sessions; concurrent callers share one attempt. @throws tokenUnavailable, also to waiters for a
   * session.
   */
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
        // Closing a session in use is undefined behaviour in some libraries.
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

  /** Closes the token after the work in progress; refuses new work. */
  async close(): Promise<void> {
    this.#isOpen = false;
    this.#refusal = "it was closed";
    await Promise.allSettled(this.#underWay);
  }

  #closeSessions(): void {
    try {
      this.#module.library.C_CloseAllSessions(this.#slot.slot);
    } catch (cause) {
      // The sessions may already be gone; other problems will show at the next login.
      if (resultOf(cause) === "") throw cause;
    }
  }
}

const tokens = new Map<string, Token>();
let holders = 0;

/**
 * Keeps tokens open and logged in until the last handle is disposed of, then closes them: a token has few sessions, and
 * keeps those of a process that exits without closing them.
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
