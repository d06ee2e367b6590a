/**
 * Programs of others that docs/operating/witness.md names, run by the commands that it prints: litewitness and
 * omniwitness, which cosign, and Tessera's command that makes a log. On free ports, in a directory of the test's own.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { repository } from "../../scripts/run.ts";
import { freePort } from "../contract/free-port.ts";
import { blocksOf, commandsOf, type Replaced } from "./page.ts";
import { searchPath } from "./printed.ts";

const [startMsMax, runMsMax] = [20_000, 60_000];
const page = "docs/operating/witness.md";
export const printed: readonly string[] = commandsOf(page, "bash").map(({ text }) => text);

/** The command of the page that begins so, the first or a later one. */
export const commandOf = (beginning: string, at = 0): string => {
  const found = printed.filter((text) => text.startsWith(beginning))[at];
  if (found === undefined) throw new Error(`${page} prints no command ${beginning} (${at})`);
  return found;
};

const isBuilt = (program: string): boolean => existsSync(join(repository, "build/bin", program));
const isFound = (program: string): boolean => spawnSync("which", [program]).status === 0;

/** Why one cannot run here, for the title of a test. */
export const missingOf = (service: string, built: string, ...found: readonly string[]): string =>
  isBuilt(built) && found.every(isFound)
    ? ""
    : ` (skipped: no ${service}: scripts/services.sh install ${service})`;

const asHere = (text: string, replaced: Replaced): string =>
  replaced.reduce((changed, [pattern, value]) => changed.replaceAll(pattern, value), text);

const begin = (cwd: string, command: string, replaced: Replaced): ChildProcess =>
  spawn("bash", ["-euo", "pipefail", "-c", asHere(command, replaced)], {
    cwd,
    env: { ...process.env, PATH: searchPath },
    stdio: ["ignore", "pipe", "pipe"],
  });

/** All of both outputs so far. */
const saidBy = (child: ChildProcess): (() => string) => {
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (part: Buffer) => (said += part.toString()));
  }
  return () => said;
};

/** Runs a command of the page to its end, within a minute. @returns its exit code and all that it said. */
export const runPrinted = async (
  cwd: string,
  command: string,
  replaced: Replaced = [],
): Promise<{ readonly exitCode: number | null; readonly said: string }> => {
  const child = begin(cwd, command, replaced);
  const [said, limit] = [saidBy(child), setTimeout(() => child.kill("SIGKILL"), runMsMax)];
  await once(child, "close");
  clearTimeout(limit);
  return { exitCode: child.exitCode, said: said() };
};

const kill = async (child: ChildProcess | undefined): Promise<void> => {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
};

/** A log that a witness is to know. */
export type Log = { readonly origin: string; readonly vkey: string };

export type OtherWitness = AsyncDisposable & {
  readonly vkey: string;
  readonly url: string;
  /** As by a power failure; what it cosigned is in its files. */
  readonly kill: () => Promise<void>;
  readonly start: () => Promise<unknown>;
  /** After the log has rotated its key. */
  readonly takeKey: (vkey: string) => Promise<void>;
};

/** The directory and the port of one witness, and what runs there. */
type Place = AsyncDisposable & {
  readonly directory: string;
  readonly url: string;
  readonly run: (command: string) => Promise<void>;
  /** Goes on until the place is left. @param isReady of all that it said. @returns that. */
  readonly begin: (command: string, isReady: (said: string) => boolean | Promise<boolean>) => Promise<string>;
  /** The one begun last. */
  readonly kill: () => Promise<void>;
  readonly answers: () => Promise<boolean>;
  /** What the page has for an example → what it is here. */
  readonly replaced: () => Replaced;
  readonly know: (vkey: string) => void;
};

const makePlace = async ({ origin, ...log }: Log): Promise<Place> => {
  const [directory, port] = [await mkdtemp(join(tmpdir(), "sigil-witness-")), await freePort()];
  const url = `http://127.0.0.1:${port}`;
  const begun: ChildProcess[] = [];
  let { vkey } = log;
  const replaced = (): Replaced => [
    [/sigil\.example\/main\+…\+…/g, vkey],
    [/sigil\.example\/main/g, origin],
    [/127\.0\.0\.1:7[34]80/g, `127.0.0.1:${port}`],
  ];
  return {
    directory,
    url,
    replaced,
    know: (next) => void (vkey = next),
    answers: () =>
      fetch(url).then(
        () => true,
        () => false,
      ),
    run: async (command) => {
      const { exitCode, said } = await runPrinted(directory, command, replaced());
      expect(exitCode, `${command}: ${said}`).to.equal(0);
    },
    begin: async (command, isReady) => {
      // In the shell's place, so that a signal is the program's.
      const child = begin(directory, `exec ${command}`, replaced());
      begun.push(child);
      const said = saidBy(child);
      for (let waitedMs = 0; waitedMs < startMsMax; waitedMs += 20) {
        if (await isReady(said())) return said();
        if (child.exitCode !== null) break;
        await delay(20);
      }
      throw new Error(`it does not start: ${command}\n${said()}`);
    },
    kill: async () => kill(begun.pop()),
    [Symbol.asyncDispose]: async () => {
      for (const child of begun) await kill(child);
      await rm(directory, { recursive: true, force: true });
    },
  };
};

export const startLitewitness = async (log: Log): Promise<OtherWitness> => {
  await using starting = new AsyncDisposableStack();
  const place = starting.use(await makePlace(log));
  const { directory, url, run, begin: go, kill: end, answers } = place;
  await run(commandOf("ssh-keygen"));
  await go(commandOf("ssh-agent"), () => existsSync(join(directory, "lw.sock")));
  await run(commandOf("SSH_AUTH_SOCK=lw.sock ssh-add"));
  const start = (): Promise<string> =>
    go(commandOf("litewitness"), async (said) => said.includes("vkey=") && answers());
  const [, vkey = ""] = /vkey=(\S+)/.exec(await start()) ?? [];
  await run(commandOf("sqlite3 lw.db"));
  await run(commandOf("sqlite3 lw.db", 1));
  const takeKey = async (next: string): Promise<void> => {
    place.know(next);
    await run(commandOf("sqlite3 lw.db", 2));
  };
  const left = starting.move();
  return { url, vkey, kill: end, start, takeKey, [Symbol.asyncDispose]: () => left.disposeAsync() };
};

export const startOmniwitness = async (log: Log): Promise<OtherWitness> => {
  await using starting = new AsyncDisposableStack();
  const place = starting.use(await makePlace(log));
  const { directory, url, run, begin: go, kill: end, answers } = place;
  const [file] = blocksOf(page).filter(({ language }) => language === "yaml");
  await writeFile(join(directory, "logs.yaml"), asHere(file?.body ?? "", place.replaced()));
  await run(commandOf("generate_keys"));
  const vkey = (await readFile(join(directory, "ow.vkey"), "utf8")).trim();
  const start = (): Promise<string> => go(commandOf("omniwitness"), answers);
  await start();
  const takeKey = async (next: string): Promise<void> => {
    place.know(next);
    await run(commandOf("sqlite3 ow.db"));
  };
  const left = starting.move();
  return { url, vkey, kill: end, start, takeKey, [Symbol.asyncDispose]: () => left.disposeAsync() };
};
