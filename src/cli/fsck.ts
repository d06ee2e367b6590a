/** `sigil fsck`: the whole data directory read, opened, verified and worked out again, while nobody serves it. */
import { describeDeployment } from "../deployment.ts";
import { runFsck, type FsckReport } from "../ledger/fsck.ts";
import { exitCodes, jsonFlag, required, type Command } from "./command.ts";
import { inspectionOf } from "./inspection.ts";
import { Pace } from "./pace.ts";
import { kekInputsOf } from "./passphrase.ts";
import { formatTable, printable, type Terminal } from "./terminal.ts";

const positionText = (position: bigint | null): string => (position === null ? "–" : String(position));

const reportJson = ({ ok, size, erased, total, first, problems }: FsckReport): string =>
  JSON.stringify(
    { ok, size, erased, found: total, firstBadPosition: first?.position ?? null, problems },
    (_name, value: unknown) => (typeof value === "bigint" ? String(value) : value),
  );

/** Records that nobody can open are not counted as seen. */
const formatErased = ({ erased }: FsckReport): readonly string[] =>
  erased.map(
    ({ tenant, records }) => `tenant "${printable(tenant)}" is erased: ${records} records stay unreadable`,
  );

const formatReport = (report: FsckReport, { paint }: Terminal): string => {
  const { ok, size, total, first, problems } = report;
  const clean = `${size} records: every seal, signature, quorum, tree node and index holds`;
  if (ok) return [`${paint("green", "CLEAN")}  ${clean}`, ...formatErased(report)].join("\n");
  const position = first?.position ?? null;
  const where = position === null ? "" : `, the first bad position is ${position}`;
  const head = `${paint("red", "DAMAGED")}  ${total} found in ${size} records${where}`;
  const columns = [{ title: "POSITION", align: "right" } as const, { title: "STEP" }, { title: "PROBLEM" }];
  const rows = problems.map(({ position, step, rule }) => [positionText(position), step, rule]);
  const unlisted = total > problems.length ? [`… and ${total - problems.length} more`] : [];
  return [head, "", formatTable(columns, rows), ...unlisted].join("\n");
};

export const fsck: Command = {
  name: "fsck",
  about:
    "Check a data directory that is not being served: open every seal, verify every signature, work the tree and the\n" +
    "indexes out again, compare with the anchor; see that what takes a quorum had one and that every active module's code\n" +
    "is here. Changes nothing unless told to rebuild.",
  flags: {
    data: { value: "DIR", about: "The data directory." },
    "rebuild-indexes": { about: "First drop everything that follows from the records, and build it again." },
    ...jsonFlag,
  },
  examples: ["sigil fsck --data data", "sigil fsck --data data --rebuild-indexes --json"],
  exits: ["0  clean", "1  damage was found", "2  could not run"],
  run: async (given, terminal) => {
    const directory = required(given, "data", "DIR");
    await using kekInputs = kekInputsOf(terminal);
    const options = await describeDeployment({ directory, kekInputs, nowMs: Date.now });
    const pace = new Pace();
    const report = await runFsck(options, {
      ...inspectionOf(options.origin, directory),
      rebuildIndexes: given.has("rebuild-indexes"),
      onProgress: (progress) => terminal.progress(pace.describe(progress)),
    });
    terminal.progress("");
    terminal.print(given.has("json") ? reportJson(report) : formatReport(report, terminal));
    return report.ok ? exitCodes.ok : exitCodes.no;
  },
};
