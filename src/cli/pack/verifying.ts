/** `sigil verify` of an evidence pack: its steps, its gaps, and what its controls list. */
import { stat } from "node:fs/promises";
import { toHex } from "@sigil/core/bytes";
import { openForeignThreads } from "../../crypto/foreign-threads.ts";
import { verifyPack, type PackVerdict } from "@sigil/core/pack";
import type { EvidenceTrust } from "@sigil/core/verify";
import { exitCodes, type ExitCode } from "../terminal/command.ts";
import { Pace } from "../terminal/pace.ts";
import { formatSteps } from "../terminal/steps.ts";
import { formatPairs, formatTable, printable, type Terminal } from "../terminal/terminal.ts";
import { packReader } from "./directory.ts";
import { formatGaps } from "./gaps.ts";

export const isPackDirectory = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

const timeText = (ms: number | null): string =>
  ms === null ? "the beginning of the ledger" : new Date(ms).toISOString();

const formatFindings = ({ manifest, controls, cosigned }: PackVerdict["findings"]): string => {
  if (manifest === undefined) return "";
  const { origin, tenant, fromMs, toMs, counts, gaps } = manifest;
  const facts = formatPairs([
    ["origin", origin],
    ["tenant", tenant],
    ["from", timeText(fromMs)],
    ["to", timeText(toMs)],
    ["decisions", String(counts.decisions)],
    ["callers", String(counts.callers)],
    ["cosigned", cosigned?.join(", ")],
    ["gaps", gaps.length === 0 ? "none" : String(gaps.length)],
  ]);
  const table =
    controls &&
    formatTable(
      [{ title: "CONTROL" }, { title: "DECISIONS", align: "right" }, { title: "TITLE", widthMax: 60 }],
      controls.map(({ id, title, decisions }) => [id, String(decisions), title]),
    );
  return [
    facts,
    ...(gaps.length === 0 ? [] : ["", formatGaps(gaps)]),
    ...(table === undefined
      ? []
      : ["", table, "By a mapping that the user wrote: no claim that a control is met."]),
  ].join("\n");
};

const formatText = (path: string, { holds, steps, findings }: PackVerdict, { paint }: Terminal): string => {
  const result = holds ? paint("green", "VERIFIED") : paint("red", "NOT VERIFIED");
  return [
    `${result}  ${printable(path)}`,
    "",
    formatSteps(steps, paint),
    // What a refused pack says of itself is not repeated as if it were so.
    ...(holds ? ["", formatFindings(findings)] : []),
  ].join("\n");
};

const formatJson = (path: string, { holds, steps, findings }: PackVerdict): string => {
  const { manifest, controls, cosigned } = findings;
  return JSON.stringify({
    pack: path,
    verified: holds,
    steps,
    ...(manifest === undefined
      ? {}
      : {
          genesis: toHex(manifest.genesis),
          origin: manifest.origin,
          tenant: manifest.tenant,
          from: manifest.fromMs === null ? null : new Date(manifest.fromMs).toISOString(),
          to: new Date(manifest.toMs).toISOString(),
          counts: manifest.counts,
          gaps: manifest.gaps,
        }),
    ...(controls === undefined ? {} : { controls }),
    ...(cosigned === undefined ? {} : { cosigned }),
  });
};

/** What has no manifest is no pack, and no evidence for or against anything. */
const exitOf = ({ holds, steps }: PackVerdict): ExitCode => {
  if (holds) return exitCodes.ok;
  return steps[0]?.outcome === "failed" ? exitCodes.unknown : exitCodes.no;
};

type Showing = { readonly terminal: Terminal; readonly asJson: boolean; readonly isFirst: boolean };

/** Prints the verdict. */
export const verifyPackAt = async (
  path: string,
  trust: EvidenceTrust,
  { terminal, asJson, isFirst }: Showing,
): Promise<ExitCode> => {
  const pace = new Pace();
  let verdict: PackVerdict;
  await using threads = openForeignThreads();
  try {
    verdict = await verifyPack(packReader(path), trust, {
      verify: threads.verify,
      onProgress: (step, done, total) => terminal.progress(pace.describe({ step, done, total })),
    });
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error)) throw error;
    terminal.progress("");
    terminal.note(`sigil: ${printable(path)} cannot be read as an evidence pack: ${String(error.code)}`);
    return exitCodes.unknown;
  }
  terminal.progress("");
  if (!asJson && !isFirst) terminal.print("");
  terminal.print(asJson ? formatJson(path, verdict) : formatText(path, verdict, terminal));
  return exitOf(verdict);
};
