/**
 * A benchmark process. The parent starts a file with Node and sends requests, one at a time; the process answers each
 * and exits when the parent disconnects. Every process can report its CPU and memory use and profile itself.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { resolve } from "node:path";
import { sumProfile, type ProfileSum } from "./profile.ts";

/** Since the process started; memory after a full collection if the process can force one. */
export type Usage = {
  readonly cpuUs: number;
  readonly rssBytes: number;
  readonly anonymousBytes: number;
  readonly heapUsedBytes: number;
};

type Asked = { readonly action: string; readonly argument: unknown };
type Answered = { readonly answer: unknown } | { readonly failure: string };

export type Actor = AsyncDisposable & {
  readonly pid: number;
  /** @throws Error with the process's error, or if it has exited. */
  readonly ask: <Answer>(action: string, argument?: unknown) => Promise<Answer>;
  readonly usage: () => Promise<Usage>;
  /** Profiles the process's event loop while `work` runs elsewhere. */
  readonly profile: (work: () => Promise<unknown>) => Promise<ProfileSum>;
  readonly stop: () => Promise<void>;
};

const samplingUs = 500;

const isAlive = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null;

/** Starts `file` of this folder with `input` as its only argument. @param file its name, or a path elsewhere. */
export const startActor = (file: string, input: unknown): Actor => {
  const child = fork(resolve(import.meta.dirname, file), [JSON.stringify(input)], {
    execPath: process.execPath,
    execArgv: ["--expose-gc"],
    stdio: ["ignore", 2, 2, "ipc"],
  });
  const gone = once(child, "exit");

  const ask = async <Answer>(action: string, argument: unknown = {}): Promise<Answer> => {
    const left = gone.then(([code]) => ({ failure: `it left with code ${String(code)}` }));
    const heard = once(child, "message").then(([message]) => message as Answered);
    child.send({ action, argument } satisfies Asked);
    const answered = await Promise.race([heard, left]);
    if ("failure" in answered) throw new Error(`${file}, ${action}: ${answered.failure}`);
    return answered.answer as Answer;
  };
  const stop = async (): Promise<void> => {
    if (child.connected) child.disconnect();
    if (isAlive(child)) await gone;
  };
  const profile = async (work: () => Promise<unknown>): Promise<ProfileSum> => {
    await ask("startProfile");
    await work();
    return ask("stopProfile");
  };
  return { pid: child.pid ?? 0, ask, usage: () => ask("usage"), profile, stop, [Symbol.asyncDispose]: stop };
};

/** Only known on Linux. */
const anonymousBytes = (): number => {
  try {
    const [, kib] = /^RssAnon:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    return Number(kib ?? 0) * 1024;
  } catch {
    return 0;
  }
};

const usage = (argument: unknown): Usage => {
  if ((argument as { readonly collect?: boolean }).collect === true) globalThis.gc?.();
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  return {
    cpuUs: user + system,
    rssBytes: rss,
    anonymousBytes: anonymousBytes(),
    heapUsedBytes: heapUsed,
  };
};

const session = new Session();

const startProfile = async (): Promise<void> => {
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.setSamplingInterval", { interval: samplingUs });
  await session.post("Profiler.start");
};

const stopProfile = async (): Promise<ProfileSum> => {
  const { profile } = await session.post("Profiler.stop");
  session.disconnect();
  return sumProfile(profile);
};

export type Actions = Readonly<Record<string, (argument: never) => unknown>>;

/** The input passed to `startActor`. */
export const actorInput = <Input>(): Input => JSON.parse(process.argv[2] ?? "{}") as Input;

/** Answers the parent until it disconnects, then runs `close`. */
export const answerParent = (actions: Actions, close: () => Promise<void> = async () => {}): void => {
  const known: Actions = { usage, startProfile, stopProfile, ...actions };
  const answer = async ({ action, argument }: Asked): Promise<void> => {
    let answered: Answered;
    try {
      const run = known[action];
      if (run === undefined) throw new Error("no such action");
      answered = { answer: (await run(argument as never)) ?? null };
    } catch (error) {
      answered = { failure: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
    process.send?.(answered);
  };
  process.on("message", (asked: Asked) => void answer(asked));
  process.once("disconnect", () => {
    close().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  });
};
