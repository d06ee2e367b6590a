/**
 * One sandbox process, seen from the server: alive or gone, with at most one conversation. Unexpected, oversized or
 * malformed frames end it.
 */
import { readFileSync } from "node:fs";
import type { ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import { encodeFrame, fromProcess, FrameReader, readMessage, type Frame } from "./protocol.ts";
import { launch, type Launched, type LaunchOptions } from "./launch.ts";
import { readReady } from "./reports.ts";

/** Handler of expected frames. An exception from `onFrame` is a protocol error, which ends the process. */
export type Conversation = {
  readonly onFrame: (frame: Frame) => void;
  /** Called if the process is gone before the conversation is over. */
  readonly onGone: () => void;
};

export type AskLimits = { readonly wallMsMax: number; readonly cpuMsMax: number };

/** A request got no answer because the process is gone. */
export class Unanswered extends Error {
  readonly why: "cpuTime" | "wallTime" | "ended";

  constructor(why: Unanswered["why"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.why = why;
  }
}

/** Interval of CPU time checks while a request is pending. */
const watchMs = 50;
/** Fits the inspection of a module with a thousand long names; all other frames are shorter. */
const frameBytesMax = 4 << 20;
const copiedBytesMax = 64 << 10;
const complaintCharactersMax = 2000;
/** A start takes a tenth of a second, longer on a busy machine. */
const startMsMax = 20_000;
/** The kernel takes milliseconds; a process that it cannot kill is abandoned. */
const killMsMax = 2000;

export class SandboxProcess {
  readonly #child: ChildProcess;
  readonly #pipe: Socket;
  readonly #reader = new FrameReader(frameBytesMax);
  readonly #gone = Promise.withResolvers<void>();
  #conversation: Conversation | null = null;
  #isGone = false;
  #isKilled = false;
  #killTimer: NodeJS.Timeout | undefined;
  #fault: Error | null = null;
  #residentBytesWarm = 0;
  /** Tail of its standard error. */
  #complaint = "";

  /** Resolves when it is warm. @throws Error with the reason if it fails to start. */
  static async start(options: LaunchOptions): Promise<SandboxProcess> {
    const sandboxed = new SandboxProcess(launch(options));
    await sandboxed.#greet();
    sandboxed.#residentBytesWarm = sandboxed.measure().residentBytes;
    return sandboxed;
  }

  private constructor({ child, pipe }: Launched) {
    this.#child = child;
    this.#pipe = pipe;
    child.once("error", (cause) => this.#end(cause));
    child.once("exit", (code, signal) => this.#end(new Error(`a sandbox process ended: ${signal ?? code}`)));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#complaint = (this.#complaint + text).slice(-complaintCharactersMax);
    });
    pipe.on("data", (piece: Buffer) => this.#hear(piece));
    // A process without its pipe is useless. If it is already dead, its exit event gives the reason.
    pipe.on("error", () => child.kill("SIGKILL"));
    pipe.on("close", () => child.kill("SIGKILL"));
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** Resolves when the process has been reaped. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  /** Why it is gone, with its stderr tail; null if it is alive or was killed on purpose. */
  get fault(): Error | null {
    return this.#fault;
  }

  /** Resident bytes when warm, before any run. */
  get residentBytesWarm(): number {
    return this.#residentBytesWarm;
  }

  /** CPU time in milliseconds and resident bytes from the kernel; zero if unavailable. */
  measure(): { readonly cpuMs: number; readonly residentBytes: number } {
    try {
      const stat = readFileSync(`/proc/${this.#child.pid}/stat`, "utf8");
      // Split after the name, which may contain any characters; the first field is the state.
      const fields = stat
        .slice(stat.lastIndexOf(")") + 2)
        .split(" ")
        .map(Number);
      const [userTicks = 0, systemTicks = 0] = fields.slice(11, 13);
      const ticksPerSecond = 100;
      const memoryPageBytes = 4096;
      return {
        cpuMs: ((userTicks + systemTicks) * 1000) / ticksPerSecond,
        residentBytes: (fields[21] ?? 0) * memoryPageBytes,
      };
    } catch {
      return { cpuMs: 0, residentBytes: 0 };
    }
  }

  /** Begins a conversation, at most one at a time. */
  converse(conversation: Conversation): void {
    if (this.#conversation !== null) throw new Error("a sandbox process is busy");
    this.#conversation = conversation;
    if (this.#isGone) this.#leave();
  }

  /** Ends the conversation. */
  settle(): void {
    this.#conversation = null;
  }

  send(kind: number, ...parts: readonly Uint8Array[]): void {
    if (this.#isGone || this.#pipe.destroyed) return;
    const frame = encodeFrame(kind, ...parts);
    const bytes = frame.reduce((sum, part) => sum + part.length, 0);
    // Copying a small frame is cheaper than writing its parts separately.
    if (bytes <= copiedBytesMax) this.#pipe.write(Buffer.concat(frame, bytes));
    else for (const part of frame) this.#pipe.write(part);
  }

  /**
   * Sends a request, if given, and waits for one answer. Limited by CPU time, so that a busy machine does not fail
   * valid code; the wall clock limit is for a stuck process. @throws Unanswered.
   */
  ask(
    kind: number,
    parts: readonly Uint8Array[],
    answerKind: number,
    { wallMsMax, cpuMsMax }: AskLimits,
  ): Promise<Uint8Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    let usedUp: Unanswered | null = null;
    const timer = setTimeout(() => {
      usedUp = new Unanswered("wallTime", `a sandbox process took longer than ${wallMsMax} ms`);
      this.#fault ??= usedUp;
      this.kill();
    }, wallMsMax);
    const cpuMsBefore = this.measure().cpuMs;
    const watch = setInterval(() => {
      if (this.measure().cpuMs - cpuMsBefore < cpuMsMax) return;
      // The request is at fault, not the process.
      usedUp ??= new Unanswered("cpuTime", `a sandbox process used ${cpuMsMax} ms of CPU time`);
      this.kill();
    }, watchMs);
    const stopWatching = (): void => {
      clearTimeout(timer);
      clearInterval(watch);
    };
    this.converse({
      onFrame: ({ kind: said, body }) => {
        if (said !== answerKind)
          throw new Error(`a frame of kind ${said} where one of ${answerKind} was due`);
        stopWatching();
        this.settle();
        resolve(body);
      },
      onGone: () => {
        stopWatching();
        reject(usedUp ?? this.#whyGone());
      },
    });
    if (parts.length > 0) this.send(kind, ...parts);
    return promise;
  }

  /** Kills it immediately. Idempotent. */
  kill(): void {
    if (this.#isGone || this.#isKilled) return;
    this.#isKilled = true;
    this.#child.kill("SIGKILL");
    this.#killTimer = setTimeout(() => this.#end(null), killMsMax).unref();
  }

  /** If CPU time cannot be read, the kill signal tells that the limit was reached. */
  #whyGone(): Unanswered {
    const why = this.#child.signalCode === "SIGXCPU" ? "cpuTime" : "ended";
    return new Unanswered(why, this.#fault?.message ?? "a sandbox process was ended", { cause: this.#fault });
  }

  async #greet(): Promise<void> {
    const body = await this.ask(0, [], fromProcess.ready, {
      wallMsMax: startMsMax,
      cpuMsMax: Infinity,
    });
    const held = readReady(readMessage(body).header);
    if (held.length === 0) return;
    this.kill();
    throw new Error(`a sandbox process holds permissions that it must not have: ${held.join(", ")}`);
  }

  #hear(piece: Buffer): void {
    try {
      for (const frame of this.#reader.push(piece)) {
        if (this.#conversation === null)
          throw new Error(`a frame of kind ${frame.kind} that nobody asked for`);
        this.#conversation.onFrame(frame);
      }
    } catch (cause) {
      this.#fault ??= new Error("protocol error of a sandbox process", { cause });
      this.#pipe.removeAllListeners("data").resume();
      this.kill();
    }
  }

  #end(cause: Error | null): void {
    if (this.#isGone) return;
    this.#isGone = true;
    clearTimeout(this.#killTimer);
    if (!this.#isKilled && cause !== null) {
      this.#fault ??= new Error(`${cause.message}. ${this.#complaint.trim()}`.trim(), { cause });
    }
    this.#pipe.destroy();
    this.#leave();
    this.#gone.resolve();
  }

  #leave(): void {
    const conversation = this.#conversation;
    this.#conversation = null;
    conversation?.onGone();
  }
}
