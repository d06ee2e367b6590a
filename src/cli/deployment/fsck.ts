/** `sigil fsck`: checks a whole data directory offline, or with `--live` by the server that serves it. */
import { describeDeployment } from "../../deployment/open.ts";
import { inspectionOf } from "../../deployment/inspection.ts";
import { runFsck, type FsckReport } from "../../ledger/fsck/fsck.ts";
import {
  exitCodes,
  jsonFlag,
  required,
  usage,
  wholeNumber,
  type Arguments,
  type Command,
  type ExitCode,
} from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { hearInspection, type LiveReport } from "./fsck-live.ts";
import { Pace } from "../terminal/pace.ts";
import { kekInputsOf } from "../terminal/passphrase.ts";
import { formatTable, printable, type Terminal } from "../terminal/terminal.ts";

const positionText = (position: bigint | null): string => (position === null ? "–" : String(position));

const reportJson = (
  { ok, size, erased, total, first, problems }: FsckReport,
  moment: Partial<LiveReport> = {},
): string =>
  JSON.stringify(
    {
      ok,
      size,
      erased,
      found: total,
      firstBadPosition: first?.position ?? null,
      problems,
      origin: moment.origin,
      checkpoint: moment.checkpoint,
    },
    (_name, value: unknown) => (typeof value === "bigint" ? String(value) : value),
  );

/** Lists erased tenants with their unreadable records. */
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

const secondsMax = 604_800;

/** @throws usage for flags of the other mode. */
const checkWay = (given: Arguments): void => {
  const [live, offline] = [
    ["timeout", ...Object.keys(connectionFlags)],
    ["data", "rebuild-indexes"],
  ];
  const wrong = (given.has("live") ? offline : live).find((flag) => given.has(flag));
  if (wrong === undefined) return;
  if (given.has("live")) usage(`--${wrong} is for a directory that nobody serves; leave it or --live out`);
  usage(`--${wrong} goes with --live`);
};

const inspectLive = async (given: Arguments, terminal: Terminal): Promise<ExitCode> => {
  const timeout = given.text("timeout");
  const seconds = timeout === undefined ? undefined : wholeNumber(timeout, "timeout", [1, secondsMax]);
  const nowMs = (): number => performance.now();
  const untilMs = seconds === undefined ? undefined : nowMs() + seconds * 1000;
  const made = await withConnection(given, terminal, ({ backup }) =>
    hearInspection({ backup, terminal, untilMs, nowMs }),
  );
  terminal.progress("");
  terminal.print(given.has("json") ? reportJson(made.report, made) : formatReport(made.report, terminal));
  return made.report.ok ? exitCodes.ok : exitCodes.no;
};

export const fsck: Command = {
  name: "fsck",
  about:
    "Check a data directory that is not being served: open every seal, verify every signature, work the tree and the\n" +
    "indexes out again, compare with the anchor; see that what takes a quorum had one and that every active module's code\n" +
    "is here. Changes nothing unless it rebuilds. With --live a running server does the same to what lies on its disk at\n" +
    "this moment, and goes on serving: that takes level Root of tenant system, and about twice as long.",
  flags: {
    data: { value: "DIR", about: "The data directory." },
    "rebuild-indexes": { about: "First drop everything that follows from the records, and build it again." },
    live: { about: "Ask the server that serves the directory." },
    timeout: { value: "SECONDS", about: "With --live: give up after this time; default never." },
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil fsck --data data",
    "sigil fsck --data data --rebuild-indexes --json",
    "sigil fsck --live --key root.pem --principal root",
  ],
  exits: ["0  clean", "1  damage was found", "2  could not run"],
  run: async (given, terminal) => {
    checkWay(given);
    if (given.has("live")) return inspectLive(given, terminal);
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
