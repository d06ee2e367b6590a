/** Shows a flip report: the verdicts that a proposed model would change, as witnesses sign them with it. */
import { toHex } from "@sigil/core/bytes";
import type { FlipReportPayload } from "@sigil/core/record";
import { formatTable, type Terminal } from "../terminal/terminal.ts";
import type { ShownFlipReport } from "./proposal-body.ts";

/** How many went from which verdict to which. */
const tallyOf = (flips: FlipReportPayload["flips"]): string => {
  const counts = new Map<string, number>();
  for (const { from, to } of flips) {
    const kind = `${from} to ${to}`;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return [...counts].map(([kind, count]) => `${count} from ${kind}`).join(", ");
};

const formatFlips = ({ flips }: FlipReportPayload): string =>
  formatTable(
    [
      { title: "POSITION", align: "right" },
      { title: "WAS" },
      { title: "WOULD BE" },
      { title: "SHA-256 OF THE RECORD" },
    ],
    flips.map(({ position, from, to, record }) => [String(position), from, to, toHex(record)]),
  );

/** @param report verified against the change that names it. */
export const showFlipReport = (report: ShownFlipReport, { print, paint }: Terminal): void => {
  if (report === "none") return;
  if (report === "withheld") {
    const said = "The flip report that is signed with the change is not shown";
    return print(`\n${paint("yellow", said)}: witnesses and other callers of tenant system alone get it.`);
  }
  const { size, scored, erased, flips } = report;
  const passed = erased === 0 ? "" : `; ${erased} records of erased tenants passed over`;
  const tally = flips.length === 0 ? "" : `, ${tallyOf(flips)}`;
  print(
    `\n${paint("bold", "Flip report, signed with the change:")} of the last ${scored} decisions below position ${size}, ` +
      `${flips.length} would flip${tally}${passed}`,
  );
  if (flips.length > 0) print(`\n${formatFlips(report)}`);
};
