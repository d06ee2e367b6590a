/**
 * Writes log lines to standard output through a queue of `logQueueBytesMax`. Writing never blocks and never throws.
 * While the destination accepts nothing (full disk, unread pipe) lines are queued; past the limit they are dropped and
 * counted, and a line in their place says how many. Queued lines are written once there is room.
 */
import { fstatSync, write, writeSync } from "node:fs";
import { Socket } from "node:net";
import { logQueueBytesMax } from "../limits.ts";

/** Writes some of the bytes and returns how many; on error none were written. */
export type WriteSome = (
  bytes: Buffer,
  done: (error: NodeJS.ErrnoException | null, written: number) => void,
) => void;

export type LogGauge = {
  /** Lines dropped since the start. */
  readonly linesLost: number;
  /** Bytes queued. */
  readonly queuedBytes: number;
};

export type LogDestination = {
  readonly write: (line: string) => void;
  readonly gauge: LogGauge;
  /** Resolves when everything is written, at most after `waitMs`. */
  readonly flush: (waitMs: number) => Promise<void>;
};

/** Delay between retries while the destination accepts nothing. */
const retryMs = 250;
/** Size of one write: batches many lines without overloading a slow disk. */
const writeBytesMax = 64 << 10;

const lostLine = (lines: number, nowMs: number): string =>
  `${JSON.stringify({ level: "warn", time: new Date(nowMs).toISOString(), service: "sigil", lines, msg: "log lines were lost" })}\n`;

export class QueuedDestination {
  readonly #writeSome: WriteSome;
  readonly #nowMs: () => number;
  readonly #retryMs: number;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #linesLost = 0;
  /** Dropped lines not reported yet. */
  #untold = 0;
  #writing: Buffer | undefined;
  /** True once the destination is closed. */
  #broken = false;
  #idle: (() => void)[] = [];

  constructor(writeSome: WriteSome, nowMs: () => number = Date.now, everyMs = retryMs) {
    this.#writeSome = writeSome;
    this.#nowMs = nowMs;
    this.#retryMs = everyMs;
  }

  get gauge(): LogGauge {
    return { linesLost: this.#linesLost, queuedBytes: this.#queuedBytes };
  }

  readonly write = (line: string): void => {
    const bytes = Buffer.from(line);
    if (this.#broken || this.#queuedBytes + bytes.length > logQueueBytesMax) {
      this.#linesLost += 1;
      this.#untold += 1;
      return;
    }
    this.#tell();
    this.#push(bytes);
    this.#next();
  };

  flush(waitMs: number): Promise<void> {
    if (this.#writing === undefined && this.#queue.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.#idle.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Takes the queued bytes, for a last attempt at process exit. */
  takeRest(): Buffer {
    const rest = Buffer.concat(this.#queue);
    this.#queue = [];
    this.#queuedBytes = 0;
    return rest;
  }

  #push(bytes: Buffer): void {
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
  }

  /** Writes the report of dropped lines, before the next line that fits. */
  #tell(): void {
    if (this.#untold === 0) return;
    this.#push(Buffer.from(lostLine(this.#untold, this.#nowMs())));
    this.#untold = 0;
  }

  #next(): void {
    if (this.#writing !== undefined) return;
    if (this.#queue.length === 0) {
      // Also if no further line is logged.
      this.#tell();
      if (this.#queue.length === 0) return this.#rest();
    }
    this.#writing = this.#take();
    this.#writeSome(this.#writing, (error, written) => this.#wrote(error, written));
  }

  #rest(): void {
    for (const done of this.#idle.splice(0)) done();
  }

  #take(): Buffer {
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && (count === 0 || bytes < writeBytesMax)) {
      bytes += this.#queue[count]?.length ?? 0;
      count += 1;
    }
    return Buffer.concat(this.#queue.splice(0, count));
  }

  #wrote(error: NodeJS.ErrnoException | null, written: number): void {
    const rest = this.#writing?.subarray(error === null ? written : 0) ?? Buffer.alloc(0);
    this.#writing = undefined;
    if (error?.code === "EPIPE" || error?.code === "ECONNRESET") return this.#break(rest);
    this.#queuedBytes -= error === null ? written : 0;
    if (rest.length > 0) this.#queue.unshift(rest);
    if (error === null) this.#next();
    // A stalled log does not keep the process alive.
    else setTimeout(() => this.#next(), this.#retryMs).unref();
  }

  #break(rest: Buffer): void {
    this.#broken = true;
    const lines = Buffer.concat([rest, ...this.#queue]).reduce((all, byte) => all + (byte === 10 ? 1 : 0), 0);
    this.#linesLost += lines;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#rest();
  }
}

/** Files and devices are written in the thread pool; a full one fails immediately. */
const toFile =
  (fd: number): WriteSome =>
  (bytes, done) =>
    write(fd, bytes, 0, bytes.length, null, done);

/** Pipes and sockets are written by the event loop without blocking; waits for room in the buffer. */
const toSocket = (socket: Socket): WriteSome => {
  let failure: NodeJS.ErrnoException | undefined;
  socket.on("error", (error) => (failure = error));
  return (bytes, done) => {
    if (failure !== undefined) {
      const error = failure;
      process.nextTick(() => done(error, 0));
    } else socket.write(bytes, (error) => done(error ?? null, bytes.length));
  };
};

/** Writes the last lines synchronously, if possible. */
const writeRest = (fd: number, rest: Buffer): void => {
  try {
    for (let at = 0; at < rest.length;) at += writeSync(fd, rest, at);
  } catch {
    // The log cannot be written, so the error cannot be logged.
  }
};

/** The singleton destination of a process. */
let standardOutput: LogDestination | undefined;

export const standardDestination = (): LogDestination => {
  if (standardOutput !== undefined) return standardOutput;
  const fd = 1;
  const kind = fstatSync(fd);
  const socket =
    kind.isFIFO() || kind.isSocket() ? new Socket({ fd, readable: false, writable: true }) : undefined;
  const queue = new QueuedDestination(socket === undefined ? toFile(fd) : toSocket(socket));
  process.once("exit", () => writeRest(fd, queue.takeRest()));
  standardOutput = {
    write: queue.write,
    get gauge() {
      return queue.gauge;
    },
    flush: async (waitMs) => {
      await queue.flush(waitMs);
      // A stalled reader would keep the process alive.
      if (queue.gauge.queuedBytes > 0) socket?.destroy();
    },
  };
  return standardOutput;
};
