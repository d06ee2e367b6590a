/** `sigil audit export`: the decisions of a span of time as an evidence pack, which `sigil verify` reads. */
import { ProofError } from "@sigil/client";
import { controlsBytesMax } from "@sigil/core/limits";
import { parseControls, type Control, type PackManifest } from "@sigil/core/pack";
import { SigilFault } from "../../errors.ts";
import { connectionFlags, describeCallError, withConnection } from "../call/connection.ts";
import { tenantFlag, timeOf } from "../call/listing.ts";
import { exitCodes, jsonFlag, required, usage, type Arguments, type Command } from "../terminal/command.ts";
import { readText } from "../terminal/input-file.ts";
import { interruption } from "../terminal/interruption.ts";
import { Pace } from "../terminal/pace.ts";
import { formatPairs, type Terminal } from "../terminal/terminal.ts";
import { PackDirectory } from "./directory.ts";
import { formatGaps } from "./gaps.ts";
import { PackSource } from "./source.ts";
import { PackWriting, type PackContents } from "./writing.ts";

const readControls = async (
  given: Arguments,
  terminal: Terminal,
): Promise<readonly Control[] | undefined> => {
  const path = given.text("controls");
  if (path === undefined) return undefined;
  const text = await readText(path, "--controls", terminal, controlsBytesMax);
  if (text.length > controlsBytesMax) usage(`--controls: ${path} is longer than ${controlsBytesMax} bytes`);
  try {
    return parseControls(text);
  } catch (error) {
    if (error instanceof SigilFault) return usage(`--controls: ${error.message}`);
    throw error;
  }
};

const readContents = async (given: Arguments, terminal: Terminal): Promise<PackContents> => {
  const [from, now] = [timeOf(given, "from"), new Date()];
  const to = timeOf(given, "to") ?? now;
  if (from !== undefined && from >= to) usage("--from must be before --to");
  if (to > now) usage("--to must not be in the future: decisions may still come");
  return {
    span: { tenant: given.text("tenant") ?? "", from, to },
    callers: given.texts("caller"),
    controls: await readControls(given, terminal),
    withDisclosures: !given.has("without-disclosures"),
  };
};

const formatPack = (path: string, { counts, origin, tenant, gaps }: PackManifest): string =>
  [
    formatPairs([
      ["pack", path],
      ["origin", origin],
      ["tenant", tenant],
      ["decisions", String(counts.decisions)],
      ["callers", String(counts.callers)],
      ["gaps", gaps.length === 0 ? "none" : String(gaps.length)],
    ]),
    ...(gaps.length === 0 ? [] : ["", formatGaps(gaps)]),
  ].join("\n");

const packJson = (path: string, manifest: PackManifest): string => {
  const { counts, origin, tenant, gaps } = manifest;
  return JSON.stringify({ pack: path, origin, tenant, ...counts, gaps });
};

const writePack = async (
  given: Arguments,
  terminal: Terminal,
  out: string,
  signal: AbortSignal,
): Promise<PackManifest> => {
  const contents = await readContents(given, terminal);
  await using directory = await PackDirectory.create(out);
  const pace = new Pace();
  return await withConnection(given, terminal, (connection) => {
    const source = new PackSource(connection, {
      span: contents.span,
      signal,
      onAway: (error) => terminal.progress(`${describeCallError(error)?.split("\n")[0] ?? ""}: trying again`),
    });
    const onProgress = (step: string, done: bigint, total: bigint): void =>
      terminal.progress(pace.describe({ step, done, total }));
    return new PackWriting({ directory, source, contents, onProgress, signal }).write();
  });
};

export const auditExport: Command = {
  name: "audit export",
  about:
    "Write the decisions of a span of time as an evidence pack: a directory with each decision as it was signed, a table for\n" +
    "people, the keys and models behind them, one proof that all are in the ledger, and how far each caller's numbers show that\n" +
    "none is left out, every gap named. sigil verify reads it, without a server. It holds the records' content: give it to\n" +
    "whom that may be given. Takes level Observer.",
  flags: {
    out: { value: "DIR", about: "Where it goes: a directory that is not there yet, or is empty." },
    from: { value: "TIME", about: "The span begins here, included; default the beginning of the ledger." },
    to: { value: "TIME", about: "The span ends here, excluded; default now." },
    controls: {
      value: "FILE",
      about:
        "Also list the decisions of each control by your mapping of controls to filters (JSON, docs/spec/pack.md). That a\n" +
        "control is met is not claimed.",
    },
    caller: {
      value: "ID",
      multiple: true,
      about: "Also claim how many decisions this caller has, if it has none in the span.",
    },
    "without-disclosures": { about: "Leave out what opens commitments, such as inputs that were kept." },
    ...tenantFlag,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil audit export --from 2026-10-01 --to 2027-01-01 --out q4 --key observer.pem --principal observer",
    "sigil audit export --from 2026-10-01 --to 2027-01-01 --controls controls.json --out q4-controls",
    "sigil audit export --caller svc/gateway --tenant acme --out acme --key root.pem --principal root",
  ],
  exits: [
    "0  written, and no gap",
    "1  written, and it names a gap; or what the server gave does not fit together, and nothing was written",
    "2  usage error, no answer, or it cannot be written: nothing was written",
  ],
  run: async (given, terminal) => {
    const out = required(given, "out", "DIR");
    using interrupted = interruption();
    const { signal } = interrupted;
    try {
      const manifest = await writePack(given, terminal, out, signal);
      terminal.progress("");
      terminal.print(given.has("json") ? packJson(out, manifest) : formatPack(out, manifest));
      return manifest.gaps.length === 0 ? exitCodes.ok : exitCodes.no;
    } catch (error) {
      if (signal.aborted) {
        terminal.progress("");
        terminal.note("sigil: interrupted, and nothing was written");
        return exitCodes.unknown;
      }
      if (!(error instanceof ProofError)) throw error;
      terminal.progress("");
      terminal.note(`sigil: not written: ${error.message}`);
      return exitCodes.no;
    }
  },
};
