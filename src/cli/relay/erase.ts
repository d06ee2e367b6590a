/**
 * `sigil relay erase`: takes back what relays of a local server published of a tenant that the ledger has erased, and
 * lists what they cannot. Over the socket in the data directory; requires the server's user.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { RelayReport } from "../../relay/control.ts";
import type { ErasureReport } from "../../relay/erasure.ts";
import {
  exitCodes,
  required,
  usage,
  type Arguments,
  type Command,
  type ExitCode,
} from "../terminal/command.ts";
import { formatTable, printable, type Terminal } from "../terminal/terminal.ts";
import { askServer, relayFlags } from "./relay.ts";

const progressMs = 500;

const columns = [
  { title: "RELAY" },
  { title: "OUTCOME" },
  { title: "FOUND", align: "right" },
  { title: "LEFT", align: "right" },
  { title: "GENERATION", align: "right" },
  { title: "DESTINATION" },
] as const;

const countText = (count: number | null): string => (count === null ? "-" : String(count));

const formatErasures = (reports: readonly ErasureReport[]): string => {
  const table = formatTable(
    columns,
    reports.map(({ name, outcome, found, left, generation, destination }) => [
      name,
      outcome,
      countText(found),
      countText(left),
      String(generation),
      printable(destination),
    ]),
  );
  const notes = reports.flatMap(({ name, cannot, error }) => [
    ...(error === null ? [] : [`${name}: ${printable(error)}`]),
    ...cannot.map((one) => `${name}: not erased: ${printable(one)}`),
  ]);
  return [table, ...notes].join("\n");
};

const relaysOf = async (given: Arguments): Promise<readonly RelayReport[]> =>
  (await askServer(given, "GET", "/relays")) as readonly RelayReport[];

const wantedNames = async (given: Arguments): Promise<readonly string[]> => {
  const names = (await relaysOf(given)).map(({ name }) => name);
  const wanted = given.text("relay");
  if (wanted === undefined) return names;
  return names.includes(wanted)
    ? [wanted]
    : usage(`there is no relay ${JSON.stringify(wanted)}; there are: ${names.join(", ")}`);
};

/** Until the signal aborts. Failures end it: the erasure itself says what is wrong. */
const showProgress = async (
  given: Arguments,
  terminal: Terminal,
  name: string,
  signal: AbortSignal,
): Promise<void> => {
  try {
    for (;;) {
      await delay(progressMs, undefined, { signal });
      const progress = (await relaysOf(given)).find((one) => one.name === name)?.progress;
      if (!signal.aborted && progress) terminal.progress(`${name}: ${progress}`);
    }
  } catch {
    // Ended.
  }
};

const actionOf = (given: Arguments): string => {
  if (given.has("dry-run")) return "count";
  return given.has("purge-old") ? "purge-old" : "erase";
};

const eraseOne = async (given: Arguments, terminal: Terminal, name: string): Promise<ErasureReport> => {
  const query = new URLSearchParams({
    tenant: required(given, "tenant", "TENANT"),
    action: actionOf(given),
  });
  const done = new AbortController();
  const shown = showProgress(given, terminal, name, done.signal);
  try {
    const path = `/relays/${encodeURIComponent(name)}/erase?${query.toString()}`;
    return (await askServer(given, "POST", path, 0)) as ErasureReport;
  } finally {
    done.abort();
    await shown;
    terminal.progress("");
  }
};

const run = async (given: Arguments, terminal: Terminal): Promise<ExitCode> => {
  const tenant = required(given, "tenant", "TENANT");
  const reports: ErasureReport[] = [];
  for (const name of await wantedNames(given)) reports.push(await eraseOne(given, terminal, name));
  const isDryRun = given.has("dry-run");
  terminal.print(
    given.has("json")
      ? JSON.stringify({ tenant, dryRun: isDryRun, relays: reports })
      : formatErasures(reports),
  );
  const isGone = reports.every(({ outcome }) => outcome === "clean" || outcome === "erased");
  return isGone ? exitCodes.ok : exitCodes.no;
};

export const relayErase: Command = {
  name: "relay erase",
  about:
    "Take back what relays published of a tenant that the ledger has erased, and list what they cannot. Files are changed\n" +
    "in place: each event of the tenant keeps its position and link and loses the rest. A NATS stream gets a new\n" +
    "generation without the tenant's data; --purge-old then overwrites the old messages and removes older generations.",
  flags: {
    tenant: { value: "TENANT", about: "The tenant; the ledger must have its record erased/TENANT." },
    relay: { value: "NAME", about: "This relay alone; all of them unless told." },
    "purge-old": {
      about:
        "Where events cannot be changed in place: remove older generations once the new one has caught up.",
    },
    "dry-run": { about: "Count what is there, and change nothing." },
    ...relayFlags,
  },
  examples: [
    "sigil relay erase --tenant acme --dry-run --data /var/lib/sigil",
    "sigil relay erase --tenant acme --relay bus --purge-old --data /var/lib/sigil",
  ],
  exits: [
    "0  no destination shown has anything of the tenant",
    "1  one of them has, takes nothing back, or failed",
    "2  used wrongly, the ledger has not erased the tenant, or no server answers",
  ],
  run,
};
