/**
 * `npm run bench -- --peers`: Sigil beside what people would take instead. Builds the peers, starts all of them on free
 * ports, has one generator ask the same of each in rounds that take turns, and holds what is measured against what is
 * wanted. Every process ends with it, however it ends.
 */
import { mkdir, readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { repository } from "../../scripts/run.ts";
import type { Machine } from "../results.ts";
import { startCerbos } from "./cerbos.ts";
import { openGenerator, type Generator } from "./generator.ts";
import { startOpa } from "./opa.ts";
import { startOpenFga } from "./openfga.ts";
import { buildGenerator, buildProgram, programNames, type ProgramName } from "./programs.ts";
import type { Kept, LeftOut, PeerResults } from "./results.ts";
import { measureRounds } from "./rounds.ts";
import { loadNames, type LoadName, type Place, type Served, type ServerId } from "./served.ts";
import { startNothing, startSigil } from "./sigil.ts";
import { startSpiceDb } from "./spicedb.ts";

/** What `--only` takes: servers, and loads. None of either: all of them. */
export const peerParts = ["nothing", "sigil", ...programNames, ...loadNames] as const;
export type PeerPart = (typeof peerParts)[number];

export type PeersPlan = {
  readonly rounds: number;
  readonly seconds: number;
  readonly only: readonly PeerPart[];
  /** Other checkouts whose Sigil takes its turns too. */
  readonly before: readonly string[];
  /** An existing one, for ledgers and logs; a real disk. */
  readonly directory: string;
  readonly machine: Machine;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
};

type Start = (place: Place) => Promise<Served>;

/** Of each program: its servers, by the names of their directories. */
const peerStarts: Readonly<Record<ProgramName, Readonly<Record<string, Start>>>> = {
  opa: {
    opa: (place) => startOpa(place, "none"),
    "opa-log": (place) => startOpa(place, "console"),
  },
  cerbos: {
    cerbos: (place) => startCerbos(place, "none"),
    "cerbos-file": (place) => startCerbos(place, "file"),
    "cerbos-badger": (place) => startCerbos(place, "local"),
  },
  openfga: {
    "openfga-memory": (place) => startOpenFga(place, "memory"),
    "openfga-sqlite": (place) => startOpenFga(place, "sqlite"),
  },
  spicedb: { spicedb: startSpiceDb },
};

/** What lies on disk below a directory: blocks, since a file may be sparse. */
const bytesBelow = async (directory: string): Promise<number> => {
  let bytes = 0;
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    // A store removes files while it runs.
    const found = await stat(join(entry.parentPath, entry.name)).catch(() => undefined);
    bytes += (found?.blocks ?? 0) * 512;
  }
  return bytes;
};

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Starts servers and remembers which did not come up, and why. */
const starting = (plan: PeersPlan, generator: Generator, processes: AsyncDisposableStack) => {
  const { directory, say, signal } = plan;
  const servers: Served[] = [];
  const leftOut: LeftOut[] = [];
  const leave = (what: string, why: string): void => {
    say(`left out: ${what}: ${why}`);
    leftOut.push({ what, why });
  };
  const start = async (name: string, program: string, work: Start): Promise<Served | undefined> => {
    const own = join(directory, name);
    await mkdir(own, { mode: 0o700 });
    say(`starting ${name}`);
    try {
      const served = await work({ generator, directory: own, program, signal, processes });
      servers.push(served);
      return served;
    } catch (error) {
      signal.throwIfAborted();
      leave(name, reason(error));
      return undefined;
    }
  };
  return { servers, leftOut, leave, start };
};

const isAmong = <Name extends string>(names: readonly Name[], part: string): part is Name =>
  names.some((name) => name === part);

/** Loads and servers filter apart from one another. */
const wantedOf = (only: readonly PeerPart[]) => {
  const loads = only.filter((part) => isAmong(loadNames, part));
  const servers = only.filter((part) => !isAmong(loadNames, part));
  return {
    isLoad: (load: LoadName): boolean => loads.length === 0 || isAmong(loads, load),
    isServer: (name: PeerPart): boolean => servers.length === 0 || isAmong(servers, name),
  };
};

/** A server that says it logs must have: else its promise is not the one in the table. */
const loggedBytesMin = 20;

export const measurePeers = async (plan: PeersPlan): Promise<PeerResults> => {
  const { rounds, seconds, machine, say, signal } = plan;
  const versions: Record<string, string> = {};
  const base = { machine, rounds, seconds, versions };
  say("building the generator of load");
  const built = await buildGenerator(signal);
  if ("why" in built)
    return { ...base, leftOut: [{ what: "everything", why: built.why }], cells: [], kept: [] };

  await using processes = new AsyncDisposableStack();
  const generator = openGenerator(built.path, signal);
  const { servers, leftOut, leave, start } = starting(plan, generator, processes);
  const { isLoad, isServer } = wantedOf(plan.only);

  const startOwn = (id: ServerId, checkout: string, label: string, loads: "checks" | "modules") =>
    start(id, "", (place) => startSigil(place, { id, checkout, label, loads }));
  if (isServer("sigil") || isServer("nothing")) {
    const sigil = await startOwn("sigil", repository, "Sigil ", "checks");
    if (sigil !== undefined && isServer("nothing"))
      await start("nothing", "", (place) => startNothing(place, sigil));
  }
  if (isServer("sigil")) {
    if (isLoad("run")) await startOwn("sigil-modules", repository, "Sigil ", "modules");
    for (const [index, checkout] of plan.before.entries())
      await startOwn(`before-${index + 1}`, resolve(checkout), `Before (${index + 1}): `, "checks");
  }
  for (const name of programNames.filter(isServer)) {
    say(`building ${name}`);
    const program = await buildProgram(name, say, signal);
    if ("why" in program) {
      leave(name, program.why);
      continue;
    }
    versions[name] = program.version;
    for (const [id, work] of Object.entries(peerStarts[name])) await start(id, program.path, work);
  }

  const measured = servers.filter(({ id }) => id !== "sigil" || isServer("sigil"));
  const keptBefore = new Map<Served, number>();
  for (const served of measured)
    if (served.keptIn !== undefined) keptBefore.set(served, await bytesBelow(served.keptIn));
  const { cells, decisions } = await measureRounds(measured, ({ load }) => isLoad(load), {
    generator,
    pace: { rounds, seconds },
    say,
    signal,
  });
  const kept: Kept[] = [];
  for (const served of measured) {
    const { id, keptIn } = served;
    const count = decisions.get(served) ?? 0;
    if (keptIn === undefined || count === 0) continue;
    const bytesEach = ((await bytesBelow(keptIn)) - (keptBefore.get(served) ?? 0)) / count;
    kept.push({ server: id, decisions: count, bytesEach });
  }
  const isSilent = (id: ServerId): boolean =>
    kept.some(({ server, bytesEach }) => server === id && bytesEach < loggedBytesMin);
  const honest = cells.map((cell) =>
    isSilent(cell.server) ? { ...cell, failure: "it has not logged what it answered" } : cell,
  );
  return { ...base, leftOut, cells: honest, kept };
};
