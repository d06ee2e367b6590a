/**
 * The oracle: every acknowledgement that a worker gave before it was killed. Runs in the killing process, so that it is
 * independent of the worker's state. Runs the rounds of the campaign.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export type Acknowledged = { readonly position: bigint; readonly hash: string; readonly id: string };

export type WorkerTask = {
  /** Root of the deployment made by `createDeployment`. */
  readonly root: string;
  readonly round: number;
  /** With 0 the worker only checks. */
  readonly appenders: number;
  readonly payloadBytes: number;
  /** File of acknowledgements to verify before appending, one per line. */
  readonly acknowledgedPath: string;
};

const formatAcknowledged = ({ position, hash, id }: Acknowledged): string => `${position} ${hash} ${id}`;

export const parseAcknowledged = (text: string): readonly Acknowledged[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [position = "", hash = "", id = ""] = line.split(" ");
      return { position: BigInt(position), hash, id };
    });

/** A seeded generator (mulberry32), so that campaigns are reproducible. @returns numbers in [0, 1). */
export const createRandom = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

/** Output of one worker. */
export type Worker = {
  readonly process: ChildProcess;
  /** Resolves at the first line with this prefix; undefined if the worker ended before. */
  readonly said: (beginning: string) => Promise<string | undefined>;
  /** Resolves when it has acknowledged this many records, or has ended. */
  readonly acknowledges: (count: number) => Promise<void>;
  /** Resolves when the process has exited and all its output was read. */
  readonly ended: Promise<void>;
};

const workerPath = fileURLToPath(new URL("worker.ts", import.meta.url));

export class Oracle {
  readonly #root: string;
  readonly #byPosition = new Map<bigint, Acknowledged>();
  readonly #byId = new Map<string, Acknowledged>();
  /** Acknowledgements since the last round began. */
  #fresh: Acknowledged[] = [];
  #round = 0;
  readonly faults: string[] = [];
  readonly wrongs: string[] = [];

  constructor(root: string) {
    this.#root = root;
  }

  get acknowledged(): number {
    return this.#byPosition.size;
  }

  get round(): number {
    return this.#round;
  }

  /** Starts a worker that first checks `earlier` records of previous rounds and all of the last one. */
  start(options: {
    readonly appenders: number;
    readonly payloadBytes: number;
    readonly earlier: "all" | { readonly sample: number; readonly random: () => number };
  }): Worker {
    const { appenders, payloadBytes, earlier } = options;
    const acknowledgedPath = join(this.#root, "acknowledged");
    writeFileSync(acknowledgedPath, this.#toCheck(earlier).map(formatAcknowledged).join("\n"));
    this.#round += 1;
    const round = this.#round;
    const task: WorkerTask = { root: this.#root, round, appenders, payloadBytes, acknowledgedPath };
    const child = spawn(process.execPath, [workerPath, JSON.stringify(task)], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const waiting: { readonly beginning: string; readonly resolve: (line?: string) => void }[] = [];
    const said: string[] = [];
    const counting: { readonly count: number; readonly resolve: () => void }[] = [];
    let acknowledged = 0;
    let noise = "";
    child.stderr.on("data", (chunk: Buffer) => (noise += chunk.toString()));
    const lines = createInterface({ input: child.stdout });
    lines.on("line", (line) => {
      said.push(line.split(" ", 1)[0] ?? "");
      this.#hear(line);
      for (const { beginning, resolve } of waiting) if (line.startsWith(beginning)) resolve(line);
      if (line.startsWith("ack ")) acknowledged += 1;
      for (const { count, resolve } of counting) if (acknowledged >= count) resolve();
    });
    const ended = Promise.all([once(child, "close"), once(lines, "close")]).then(() => {
      for (const { resolve } of [...waiting, ...counting]) resolve();
      if (child.signalCode !== "SIGKILL" && child.exitCode !== 0) {
        this.wrongs.push(`a worker ended by itself with ${child.exitCode}: ${noise.slice(0, 2000)}`);
      }
      // If it was killed before it had checked, the next worker checks.
      if (said.includes("checked")) this.#fresh = this.#fresh.filter(({ id }) => id.includes(`/r${round}-`));
    });
    return {
      process: child,
      ended,
      said: (beginning) => new Promise((resolve) => waiting.push({ beginning, resolve })),
      acknowledges: (count) => new Promise((resolve) => counting.push({ count, resolve })),
    };
  }

  #toCheck(earlier: "all" | { readonly sample: number; readonly random: () => number }) {
    if (earlier === "all") return [...this.#byPosition.values()];
    const all = [...this.#byPosition.values()];
    const sample = Array.from(
      { length: Math.min(earlier.sample, all.length) },
      () => all[Math.floor(earlier.random() * all.length)] as Acknowledged,
    );
    return [...this.#fresh, ...sample];
  }

  #hear(line: string): void {
    const [what, ...rest] = line.split(" ");
    if (what === "wrong") this.wrongs.push(`round ${this.#round}: ${line}`);
    if (what === "fault") this.faults.push(rest.join(" "));
    if (what === "open" && BigInt(rest[0] ?? "0") < BigInt(this.acknowledged)) {
      this.wrongs.push(`round ${this.#round}: opened with ${rest[0]} records`);
    }
    if (what !== "ack") return;
    const [ack] = parseAcknowledged(rest.join(" "));
    if (ack === undefined || ack.id === "") return;
    const [samePosition, sameId] = [this.#byPosition.get(ack.position), this.#byId.get(ack.id)];
    if (samePosition !== undefined || sameId !== undefined) {
      this.wrongs.push(`round ${this.#round}: acknowledged twice: ${line}`);
    }
    this.#byPosition.set(ack.position, ack);
    this.#byId.set(ack.id, ack);
    this.#fresh.push(ack);
  }
}

export type CampaignResult = {
  readonly kills: number;
  readonly killsDuringStart: number;
  readonly acknowledged: number;
  readonly wrongs: readonly string[];
};

/** Maximum records that a worker acknowledges before it is killed: a dozen groups of eight appenders. */
const acknowledgedMax = 100;
/** Longer than a group takes, so that kills hit any of its steps, not only right after an acknowledgement. */
const groupMs = 20;

/**
 * Kills a worker under load `count` times: every fourth round at a random time after its start, the others after a
 * number of acknowledgements, so that the test is equally strong on slow machines.
 */
export const runKills = async (
  root: string,
  options: { readonly count: number; readonly seed: number; readonly onRound?: (oracle: Oracle) => void },
): Promise<CampaignResult> => {
  const random = createRandom(options.seed);
  const oracle = new Oracle(root);
  let killsDuringStart = 0;
  for (let kill = 0; kill < options.count && oracle.wrongs.length === 0; kill += 1) {
    const worker = oracle.start({
      appenders: 8,
      payloadBytes: Math.floor(random() * 2000),
      earlier: { sample: 100, random },
    });
    const duringStart = random() < 0.25;
    if (duringStart) {
      killsDuringStart += 1;
      await new Promise((resolve) => setTimeout(resolve, 150 + random() * 450));
    } else {
      await worker.acknowledges(1 + Math.floor(random() * acknowledgedMax));
      await new Promise((resolve) => setTimeout(resolve, random() * groupMs));
    }
    worker.process.kill("SIGKILL");
    await worker.ended;
    options.onRound?.(oracle);
  }
  const last = oracle.start({ appenders: 0, payloadBytes: 0, earlier: "all" });
  const checked = last.said("checked");
  await last.ended;
  if ((await checked) === undefined && oracle.wrongs.length === 0) {
    oracle.wrongs.push("the last check did not end");
  }
  const { acknowledged, wrongs } = oracle;
  return { kills: options.count, killsDuringStart, acknowledged, wrongs };
};
