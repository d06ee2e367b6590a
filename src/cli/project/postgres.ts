/**
 * `sigil project postgres`: fills a database from the feed and keeps it there, verifying every record by keys that
 * follow from the genesis hash; rebuilds it beside what people read, or compares it with the ledger.
 */
import { readFile } from "node:fs/promises";
import { verifyOwn } from "@sigil/core/keys";
import { toHex, type Hash } from "@sigil/core/bytes";
import { compareWithLedger, type Comparison } from "../../projections/compare.ts";
import type { ConsumerOptions } from "../../projections/consumer.ts";
import { columnsDigest, rootDigest, type Digests } from "../../projections/digest.ts";
import { ProjectionFault } from "../../projections/fault.ts";
import {
  connectPostgres,
  describeAddress,
  parsePostgresAddress,
  type PostgresAddress,
} from "../../projections/postgres/connect.ts";
import { openPostgresProjection } from "../../projections/postgres/projection.ts";
import { schemaNameShape } from "../../projections/postgres/schema.ts";
import { withStoredRows } from "../../projections/postgres/stored-rows.ts";
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
} from "../terminal/command.ts";
import { interruption } from "../terminal/interruption.ts";
import { Pace } from "../terminal/pace.ts";
import { formatPairs, formatTable, printable, type Terminal } from "../terminal/terminal.ts";
import { sourceFlags, withSource, type OpenedSource } from "./source.ts";

type Task = {
  readonly address: PostgresAddress;
  readonly password: string | undefined;
  readonly name: string;
  readonly readers: readonly string[];
  readonly options: ConsumerOptions;
  readonly genesis: Hash;
  readonly signal: AbortSignal;
};

const readAddress = (given: Arguments): PostgresAddress => {
  const parsed = parsePostgresAddress(required(given, "to", "postgres://USER@HOST:PORT/DATABASE"));
  return parsed.kind === "ok" ? parsed.address : usage(`--to ${parsed.rule}`);
};

/** Of a file its first line; or of the environment. */
const readPassword = async (given: Arguments, { environment }: Terminal): Promise<string | undefined> => {
  const path = given.text("password-file");
  if (path === undefined) return environment["PGPASSWORD"];
  const text = await readFile(path, "utf8").catch(() => usage(`--password-file: ${path} cannot be read`));
  return text.split(/\r?\n/)[0] ?? "";
};

const readName = (given: Arguments): string => {
  const name = given.text("schema") ?? "sigil";
  return schemaNameShape.test(name)
    ? name
    : usage("--schema must be lower-case letters, digits and _, and begin with no digit");
};

const fill = async (
  given: Arguments,
  terminal: Terminal,
  opened: OpenedSource,
  task: Task,
): Promise<ExitCode> => {
  const size = await opened.size();
  const { address, password, name, readers, genesis, options, signal } = task;
  const client = await connectPostgres(address, password);
  try {
    const mode = given.has("rebuild") ? "rebuild" : "resume";
    const store = await openPostgresProjection(client, { name, genesis, mode, readers });
    const pace = new Pace();
    let reached = 0n;
    const ends = given.has("rebuild") || given.has("once");
    await project({
      ...options,
      source: opened.source,
      store,
      size,
      sourceSize: opened.size,
      onCaughtUp: ends ? "end" : "follow",
      signal,
      onApplied: ({ next, erased }) => {
        reached = next;
        terminal.progress(pace.describe({ step: "projected", done: next, total: next > size ? next : size }));
        // What was erased before it was read takes nothing away.
        for (const { tenant, records } of erased.filter(({ records }) => records > 0n)) {
          terminal.note(`erased tenant "${printable(tenant)}": ${records} records, and every row of them`);
        }
      },
    });
    terminal.progress("");
    const { next } = (await store.resume()).progress;
    const isWhole = next >= size;
    const json = { next: String(next), projected: reached > 0n, caught_up: isWhole };
    terminal.print(
      given.has("json")
        ? JSON.stringify(json)
        : `${isWhole ? "up to date" : "interrupted"} at ${next} records in ${printable(describeAddress(address))}`,
    );
    return exitCodes.ok;
  } finally {
    await client.end();
  }
};

const digestsJson = (digests: Digests) => ({
  root: toHex(rootDigest(digests)),
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

const comparisonJson = ({ next, ledger, stored, difference }: Comparison): string =>
  JSON.stringify({
    ok: difference === undefined,
    next: String(next),
    difference: difference && { ...difference, position: difference.position?.toString() ?? null },
    ledger: digestsJson(ledger),
    stored: digestsJson(stored),
  });

const formatComparison = ({ next, ledger, stored, difference }: Comparison, { paint }: Terminal): string => {
  const facts = formatPairs([
    ["records", `${next}, of which ${next - stored.held} are erased`],
    ["root", toHex(rootDigest(stored))],
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
      ? `${paint("green", "EQUAL")}  the projection is the ledger's ${next} records`
      : `${paint("red", "DIFFERS")}  ${difference.table}${
          difference.position === undefined ? "" : ` at position ${difference.position}`
        }: ${difference.rule}`;
  return [head, "", facts, "", tenants].join("\n");
};

const check = async (
  given: Arguments,
  terminal: Terminal,
  { source, size }: OpenedSource,
  { address, password, name, options, signal }: Task,
): Promise<ExitCode> => {
  const client = await connectPostgres(address, password);
  try {
    const pace = new Pace();
    const compared = await withStoredRows(client, name, (stored) =>
      compareWithLedger(source, stored, {
        ...options,
        sourceSize: size,
        signal,
        onProgress: (done) =>
          terminal.progress(pace.describe({ step: "compared", done, total: stored.next })),
      }),
    );
    terminal.progress("");
    terminal.print(given.has("json") ? comparisonJson(compared) : formatComparison(compared, terminal));
    return compared.difference === undefined ? exitCodes.ok : exitCodes.no;
  } finally {
    await client.end();
  }
};

/** What does not verify is a finding; a database that cannot be reached is a command that could not run. */
const orFault = async (terminal: Terminal, run: () => Promise<ExitCode>): Promise<ExitCode> => {
  try {
    return await orRefusal(terminal, run);
  } catch (error) {
    if (!(error instanceof ProjectionFault)) throw error;
    terminal.progress("");
    terminal.note(`sigil: ${printable(error.message)}`);
    return error.error.kind === "databaseFailed" ? exitCodes.unknown : exitCodes.no;
  }
};

export const projectPostgres: Command = {
  name: "project postgres",
  about:
    "Fill a PostgreSQL database from the feed, and follow it. Every record is verified by keys that follow from the genesis\n" +
    "hash, and the tree by every checkpoint. Tables lie in the schema sigil_v1, views for people in sigil. Ctrl-C ends it;\n" +
    "started again it goes on where it was. From a server it takes Root of tenant system, or a feed grant for everything.",
  flags: {
    ...sourceFlags,
    to: { value: "URL", about: "The database: postgres://USER@HOST:PORT/DATABASE, without a password." },
    genesis: { value: "HASH", about: "The genesis record's hash, as sigil init printed it." },
    "password-file": { value: "FILE", about: "The password is its first line; PGPASSWORD unless told." },
    schema: { value: "NAME", about: "Of the views; sigil unless told." },
    reader: { value: "ROLE", about: "May read the views, and nothing else.", multiple: true },
    once: { about: "End when it has caught up." },
    rebuild: { about: "Fill it anew from position 0, beside what is there, then take its place and end." },
    check: { about: "Compare it with the ledger, and name the first difference." },
    ...jsonFlag,
  },
  examples: [
    "sigil project postgres --from grpc://127.0.0.1:50051 --key feed.pem --principal feed --genesis 5be4f6a1… --to postgres://sigil@127.0.0.1/audit",
    "sigil project postgres --from file:relay --genesis 5be4f6a1… --to postgres://sigil@db.example/audit --reader analyst --once",
    "sigil project postgres --from file:relay --genesis 5be4f6a1… --to postgres://sigil@db.example/audit --check --json",
  ],
  exits: [
    "0  up to date, ended by Ctrl-C, or equal",
    "1  a record does not verify or is missing, or the projection differs",
    "2  used wrongly, or the source or the database could not be asked",
  ],
  run: (given, terminal) =>
    orFault(terminal, async () => {
      if (given.has("check") && (given.has("rebuild") || given.has("once"))) {
        usage("--check changes nothing: leave it, or --rebuild and --once, out");
      }
      const genesis = parseGenesisHash(required(given, "genesis", "HASH"));
      using interrupted = interruption();
      const task: Task = {
        address: readAddress(given),
        password: await readPassword(given, terminal),
        name: readName(given),
        readers: given.texts("reader"),
        genesis,
        options: { genesis, verify: verifyOwn, lanes: "one" },
        signal: interrupted.signal,
      };
      const run = given.has("check") ? check : fill;
      // Awaited here: until then an interruption is listened to.
      return await withSource(given, terminal, (source) => run(given, terminal, source, task));
    }),
};
