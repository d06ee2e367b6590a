/**
 * One sandbox process as the server sees it: alive or gone, busy with one conversation or with none. Whatever it says
 * out of turn, at too great a length or in the wrong form ends it.
 */
import { readFileSync } from "node:fs";
import type { ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import { encodeFrame, fromProcess, FrameReader, readMessage, type Frame } from "./protocol.ts";
import { launch, type LaunchOptions } from "./launch.ts";
import { readReady } from "./reports.ts";

/** What the server expects to hear. A throw from `onFrame` is a protocol error of the process, which ends it. */
export type Conversation = {
  readonly onFrame: (frame: Frame) => void;
  /** The process is gone before the conversation was over. */
  readonly onGone: () => void;
};

export type AskLimits = { readonly wallMsMax: number; readonly cpuMsMax: number };

/** Why a question got no answer: the process is gone. */
export class Unanswered extends Error {
  readonly why: "cpuTime" | "wallTime" | "ended";

  constructor(why: Unanswered["why"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.why = why;
  }
}

/** How often CPU time is looked at while a question is open. */
const watchMs = 50;
/** An inspection of a module with a thousand long names; everything else is shorter. */
const frameBytesMax = 4 << 20;
const copiedBytesMax = 64 << 10;
const complaintCharactersMax = 2000;
/** A start takes a tenth of a second; on a machine with much else to do, longer. */
const startMsMax = 20_000;
/** The kernel takes milliseconds. A process that it cannot end is not waited for. */
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
  /** The end of what it wrote to standard error: the engine's last words. */
  #complaint = "";

  /** Resolves when it is warm. @throws Error saying why it is not. */
  static async start(options: LaunchOptions): Promise<SandboxProcess> {
    const sandboxed = new SandboxProcess(launch(options));
    await sandboxed.#greet();
    sandboxed.#residentBytesWarm = sandboxed.measure().residentBytes;
    return sandboxed;
  }

  private constructor({ child, pipe }: ReturnType<typeof launch>) {
    this.#child = child;
    this.#pipe = pipe;
    child.once("error", (cause) => this.#end(cause));
    child.once("exit", (code, signal) => this.#end(new Error(`a sandbox process ended: ${signal ?? code}`)));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#complaint = (this.#complaint + text).slice(-complaintCharactersMax);
    });
    pipe.on("data", (piece: Buffer) => this.#hear(piece));
    // A process without its pipe is of no use. One that has died already tells by its exit of what.
    pipe.on("error", () => child.kill("SIGKILL"));
    pipe.on("close", () => child.kill("SIGKILL"));
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** Resolves when the system has taken the process away. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  /** Why it is gone, with its last words; null when it was killed on purpose, or lives. */
  get fault(): Error | null {
    return this.#fault;
  }

  /** What it held when it was warm and had run nothing. */
  get residentBytesWarm(): number {
    return this.#residentBytesWarm;
  }

  /** CPU time so far in milliseconds and resident bytes, as the kernel counts them; zero where it does not say. */
  measure(): { readonly cpuMs: number; readonly residentBytes: number } {
    try {
      const stat = readFileSync(`/proc/${this.#child.pid}/stat`, "utf8");
      // After the name, which may hold anything: state is the first field.
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

  /** Begins a conversation; there is one at a time. */
  converse(conversation: Conversation): void {
    if (this.#conversation !== null) throw new Error("a sandbox process is busy");
    this.#conversation = conversation;
    if (this.#isGone) this.#leave();
  }

  /** The conversation is over; the process waits for the next. */
  settle(): void {
    this.#conversation = null;
  }

  send(kind: number, ...parts: readonly Uint8Array[]): void {
    if (this.#isGone || this.#pipe.destroyed) return;
    const frame = encodeFrame(kind, ...parts);
    const bytes = frame.reduce((sum, part) => sum + part.length, 0);
    // Copying a small frame costs less than handing its pieces to the system one by one.
    if (bytes <= copiedBytesMax) this.#pipe.write(Buffer.concat(frame, bytes));
    else for (const part of frame) this.#pipe.write(part);
  }

  /**
   * One question, if there are words for it, and one answer. CPU time is the rule, as a busy machine must not make
   * sound code look endless; the clock is for a process that is stuck. @throws Unanswered.
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
      // What it was asked to do is at fault, not the process.
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

  /** At once, whatever it does. Idempotent. */
  kill(): void {
    if (this.#isGone || this.#isKilled) return;
    this.#isKilled = true;
    this.#child.kill("SIGKILL");
    this.#killTimer = setTimeout(() => this.#end(null), killMsMax).unref();
  }

  /** Where the kernel's count of CPU time cannot be read, its signal tells. */
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
