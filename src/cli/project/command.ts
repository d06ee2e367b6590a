/**
 * `sigil project`, whatever the database: fills it from the feed and keeps it there, verifying every record by keys
 * that follow from the genesis hash; rebuilds it beside what people read, or compares it with the ledger.
 */
import { readFile } from "node:fs/promises";
import { verifyOwnOnce } from "@sigil/core/keys";
import { toHex, type Hash } from "@sigil/core/bytes";
import { compareWithLedger, type Comparison } from "../../projections/compare.ts";
import type { ConsumerOptions } from "../../projections/consumer.ts";
import type { ProjectionDatabase } from "../../projections/database.ts";
import { columnsDigest, rootDigest, type Digests } from "../../projections/digest.ts";
import { ProjectionFault } from "../../projections/fault.ts";
import { project } from "../../projections/project.ts";
import { parseGenesisHash } from "../call/from-genesis.ts";
import { orRefusal } from "../call/refusal.ts";
import {
  exitCodes,
  jsonFlag,
  required,
  usage,
  type Arguments,
  type Command,
  type ExitCode,
  type Flags,
} from "../terminal/command.ts";
import { interruption } from "../terminal/interruption.ts";
import { Pace } from "../terminal/pace.ts";
import { formatPairs, formatTable, printable, type Terminal } from "../terminal/terminal.ts";
import { filterFlags, readFilter, type FilterSettings } from "./filter.ts";
import { sourceFlags, withSource, type OpenedSource } from "./source.ts";

/** What a database adds to the command. */
export type ProjectionTarget = {
  /** The last word of the command. */
  readonly name: string;
  readonly about: string;
  /** The flag. */
  readonly to: Flags[string];
  readonly flags: Flags;
  /** Of `--to` in the examples. */
  readonly example: { readonly local: string; readonly remote: string; readonly more?: string };
  /** @throws usage. */
  readonly read: (given: Arguments, terminal: Terminal) => Promise<ProjectionDatabase>;
};

type Task = {
  readonly database: ProjectionDatabase;
  readonly options: ConsumerOptions;
  readonly genesis: Hash;
  readonly keeps: FilterSettings["keeps"];
  readonly signal: AbortSignal;
};

/** Of a file its first line; or of the environment, where it has this name. */
export const readPassword = async (
  given: Arguments,
  { environment }: Terminal,
  variable: string,
): Promise<string | undefined> => {
  const path = given.text("password-file");
  if (path === undefined) return environment[variable];
  const text = await readFile(path, "utf8").catch(() => usage(`--password-file: ${path} cannot be read`));
  return text.split(/\r?\n/)[0] ?? "";
};

const fill = async (
  given: Arguments,
  terminal: Terminal,
  opened: OpenedSource,
  task: Task,
): Promise<ExitCode> => {
  const size = await opened.size();
  const { database, genesis, options, signal } = task;
  const mode = given.has("rebuild") ? "rebuild" : "resume";
  return database.withStore({ genesis, mode }, async (store) => {
    const pace = new Pace();
    let reached = 0n;
    const ends = given.has("rebuild") || given.has("once");
    await project({
      ...options,
      source: opened.source,
      store,
      size,
      sourceSize: async () => (await opened.size()) ?? 0n,
      onCaughtUp: ends ? "end" : "follow",
      signal,
      onApplied: ({ next, erased }) => {
        reached = next;
        const total = size === undefined || next > size ? next : size;
        terminal.progress(pace.describe({ step: "projected", done: next, total }));
        // What was erased before it was read takes nothing away.
        for (const { tenant, records } of erased.filter(({ records }) => records > 0n)) {
          terminal.note(`erased tenant "${printable(tenant)}": ${records} records, and every row of them`);
        }
      },
    });
    terminal.progress("");
    const { next } = (await store.resume()).progress;
    const isWhole = size === undefined ? !signal.aborted : next >= size;
    const json = {
      next: String(next),
      projected: reached > 0n,
      caught_up: isWhole,
      ...(options.isFiltered === true ? { filtered: true } : {}),
    };
    const caveat =
      options.isFiltered === true
        ? "\nthrough a filter: links and signatures hold, and nothing here tells what was left out"
        : "";
    terminal.print(
      given.has("json")
        ? JSON.stringify(json)
        : `${isWhole ? "up to date" : "interrupted"} at ${next} records in ${printable(database.description)}${caveat}`,
    );
    return exitCodes.ok;
  });
};

/** Of what a filter let through there is no tree. */
const rootText = (digests: Digests, isWhole: boolean): string | null =>
  isWhole ? toHex(rootDigest(digests)) : null;

const digestsJson = (digests: Digests, isWhole: boolean) => ({
  root: rootText(digests, isWhole),
  held: String(digests.held),
  places: toHex(digests.places),
  columns: toHex(columnsDigest(digests)),
  tenants: Object.fromEntries(
    [...digests.tenants].map(([tenant, { records, digest }]) => [
      tenant,
      { records: String(records), digest: toHex(digest) },
    ]),
  ),
});

const comparisonJson = ({ next, behind, ledger, stored, difference }: Comparison, isWhole: boolean): string =>
  JSON.stringify({
    ok: difference === undefined,
    next: String(next),
    behind: String(behind),
    difference: difference && { ...difference, position: difference.position?.toString() ?? null },
    ledger: digestsJson(ledger, isWhole),
    stored: digestsJson(stored, isWhole),
  });

const formatComparison = (
  { next, behind, ledger, stored, difference }: Comparison,
  isWhole: boolean,
  { paint }: Terminal,
): string => {
  const facts = formatPairs([
    isWhole
      ? ["records", `${next}, of which ${next - stored.held} are erased`]
      : ["records", `${stored.held} that are held, below position ${next}`],
    ["behind", behind === 0n ? undefined : `${behind} records, from position ${next} on`],
    ["root", rootText(stored, isWhole) ?? "none: a filter left some out"],
    ["places", toHex(stored.places)],
    ["columns", toHex(columnsDigest(stored))],
  ]);
  const tenants = formatTable(
    [{ title: "TENANT" }, { title: "RECORDS", align: "right" }, { title: "DIGEST" }, { title: "" }],
    [...ledger.tenants].map(([tenant, { records, digest }]) => {
      const held = stored.tenants.get(tenant);
      const isEqual = held !== undefined && toHex(held.digest) === toHex(digest);
      return [tenant, String(records), toHex(held?.digest ?? new Uint8Array(0)), isEqual ? "" : "differs"];
    }),
  );
  const head =
    difference === undefined
      ? `${paint("green", "EQUAL")}  the projection is ${
          isWhole
            ? `the ledger's ${next} records`
            : `what its filter lets through of the ledger's ${next} records`
        }`
      : `${paint("red", "DIFFERS")}  ${difference.table}${
          difference.position === undefined ? "" : ` at position ${difference.position}`
        }: ${difference.rule}`;
  return [head, "", facts, "", tenants].join("\n");
};

const check = async (
  given: Arguments,
  terminal: Terminal,
  { source, size }: OpenedSource,
  { database, options, keeps, signal }: Task,
): Promise<ExitCode> => {
  const sourceSize = async (): Promise<bigint> =>
    (await size()) ?? usage("--check takes a source that keeps what was read: a server, files or a stream");
  await sourceSize();
  const pace = new Pace();
  const isWhole = keeps === undefined;
  const compared = await database.withStoredRows((stored) =>
    compareWithLedger(source, stored, {
      ...options,
      ...(keeps === undefined ? {} : { keeps }),
      sourceSize,
      signal,
      onProgress: (done) => terminal.progress(pace.describe({ step: "compared", done, total: stored.next })),
    }),
  );
  terminal.progress("");
  terminal.print(
    given.has("json") ? comparisonJson(compared, isWhole) : formatComparison(compared, isWhole, terminal),
  );
  return compared.difference === undefined ? exitCodes.ok : exitCodes.no;
};

/** What does not verify is a finding; a database that cannot be reached is a command that could not run. */
const orFault = async (
  terminal: Terminal,
  signal: AbortSignal,
  run: () => Promise<ExitCode>,
): Promise<ExitCode> => {
  try {
    return await orRefusal(terminal, run);
  } catch (error) {
    if (signal.aborted && error === signal.reason) {
      terminal.progress("");
      terminal.note("sigil: interrupted before everything was compared");
      return exitCodes.unknown;
    }
    if (!(error instanceof ProjectionFault)) throw error;
    terminal.progress("");
    terminal.note(`sigil: ${printable(error.message)}`);
    return error.error.kind === "databaseFailed" ? exitCodes.unknown : exitCodes.no;
  }
};

const from = {
  server: "--from grpc://127.0.0.1:50051 --key feed.pem --principal feed --genesis 5be4f6a1…",
  files: "--from file:relay --genesis 5be4f6a1…",
};

export const projectCommand = ({ name, about, to, flags, example, read }: ProjectionTarget): Command => ({
  name: `project ${name}`,
  about,
  flags: {
    ...sourceFlags,
    to,
    genesis: { value: "HASH", about: "The genesis record's hash, as sigil init printed it." },
    ...flags,
    ...filterFlags,
    once: { about: "End when it has caught up." },
    rebuild: { about: "Fill it anew from position 0, beside what is there, then take its place and end." },
    check: { about: "Compare it with the ledger, and name the first difference." },
    ...jsonFlag,
  },
  examples: [
    `sigil project ${name} ${from.server} --to ${example.local}`,
    `sigil project ${name} ${from.files} --to ${example.remote}${example.more ?? ""} --once`,
    `sigil project ${name} ${from.files} --to ${example.remote} --check --json`,
  ],
  exits: [
    "0  up to date, ended by Ctrl-C, or equal",
    "1  a record does not verify or is missing, or the projection differs",
    "2  used wrongly, the source or the database could not be asked, or a comparison was interrupted",
  ],
  run: async (given, terminal) => {
    using interrupted = interruption();
    // Awaited here: until then an interruption is listened to.
    return await orFault(terminal, interrupted.signal, async () => {
      if (given.has("check") && (given.has("rebuild") || given.has("once"))) {
        usage("--check changes nothing: leave it, or --rebuild and --once, out");
      }
      const genesis = parseGenesisHash(required(given, "genesis", "HASH"));
      const { isFiltered, keeps } = readFilter(given);
      const task = {
        database: await read(given, terminal),
        genesis,
        options: { genesis, verify: verifyOwnOnce, isFiltered },
        keeps,
        signal: interrupted.signal,
      };
      const run = given.has("check") ? check : fill;
      return withSource(given, terminal, (source) => {
        const { lanes } = source;
        if (lanes === "several" && isFiltered)
          usage("--filtered goes with one lane: with a topic of one partition");
        if (lanes === "keys" && isFiltered)
          usage("a queue is read without a filter: its relay publishes everything");
        return run(given, terminal, source, { ...task, options: { ...task.options, lanes } });
      });
    });
  },
});
