/** One decision: what was asked and answered, how its sum came about, its model, its steps, and what was verified. */
import { h, type JSX } from "preact";
import { useGet, type Asked } from "./asked.ts";
import type { Ask } from "./problem.ts";
import type { ActiveModel, Chain, Decision as Answer, Verification } from "./shapes.ts";
import { code, facts, hex, lines, problemPanel, shown, table, verdict } from "./shown.ts";
import { decimal, enumName, shownTime } from "./text.ts";
import { waterfallOf, type Bar, type Waterfall } from "./waterfall.ts";

const level = (value: string): string => enumName("LEVEL_OF_ACCESS", value);
const logits = (value: number): string => decimal(value, "signed");

/** In logits from side to side, so that what a bar measures is what the record says. */
const barOf = ({ left, right, threshold }: Waterfall, { from, to }: Bar): JSX.Element => {
  const lineAt = (at: number, name: string): JSX.Element =>
    h("line", { class: name, x1: at, x2: at, y1: 0, y2: 10, "vector-effect": "non-scaling-stroke" });
  return h(
    "svg",
    {
      class: "fall",
      viewBox: `${left} 0 ${right - left} 10`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    },
    lineAt(0, "zero"),
    threshold === undefined ? null : lineAt(threshold, "threshold"),
    h("rect", {
      class: to < from ? "lowers" : "raises",
      x: Math.min(from, to),
      y: 2,
      width: Math.abs(to - from),
      height: 6,
    }),
  );
};

type Shown = Bar & { readonly isSum?: boolean };

const Sum = ({ chain, bias }: { readonly chain: Chain; readonly bias: number | undefined }): JSX.Element => {
  const { features, z, threshold, score } = chain;
  const fall = waterfallOf({ bias, features, z, threshold });
  const bars: readonly Shown[] =
    z === undefined
      ? fall.bars
      : [
          ...fall.bars,
          { name: "z, the sum", value: undefined, contribution: z, from: 0, to: z, isSum: true },
        ];
  return h("section", { "aria-labelledby": "sum" }, [
    h("h3", { id: "sum" }, "How the sum came about"),
    h("p", null, [
      score === undefined ? "No score could be computed" : `Score ${decimal(score)}`,
      threshold === undefined || fall.threshold === undefined
        ? "; there was no model. "
        : `; threshold ${decimal(threshold)}, in logits ${logits(fall.threshold)} (the dashed line). `,
      bias === undefined && features.length > 0 ? "The model's record gives no bias here." : "",
    ]),
    table({
      caption: "Bias and contributions in the order they were summed, in logits",
      columns: [
        { head: "Feature", kind: "name", cell: ({ name }) => shown(name) },
        { head: "Value", kind: "number", cell: ({ value }) => (value === undefined ? "" : decimal(value)) },
        {
          head: "Contribution",
          kind: "number",
          cell: ({ contribution, isSum }) => (isSum === true ? "" : logits(contribution)),
        },
        { head: "Sum", kind: "number", cell: ({ to }) => logits(to) },
        { head: "Bar", kind: "drawn", cell: (bar) => barOf(fall, bar) },
      ],
      items: bars,
      keyOf: ({ name }) => name,
      empty: "Nothing was summed.",
    }),
  ]);
};

const Model = ({
  ask,
  chain,
  rows,
}: {
  readonly ask: Ask;
  readonly chain: Chain;
  readonly rows: Answer["modelRows"];
}): JSX.Element => {
  const active = useGet<ActiveModel>(ask, { path: "/trust/model" }).outcome;
  const now = active?.kind === "answer" ? active.body.hash : undefined;
  return h("section", { "aria-labelledby": "model" }, [
    h("h3", { id: "model" }, "The model"),
    chain.modelHash === ""
      ? h("p", null, "No model decided.")
      : facts([
          ["Record", code(chain.modelId)],
          ["Hash", hex(chain.modelHash)],
          [
            "Now",
            now === undefined
              ? "not known to this caller"
              : now === chain.modelHash
                ? "the same model decides now"
                : "another model decides now",
          ],
          [
            "Action rule",
            rows === undefined ? "" : rows.actionGlob === "" ? "none matched" : code(rows.actionGlob),
          ],
          [
            "Target rule",
            rows === undefined ? "" : rows.targetGlob === "" ? "none matched" : code(rows.targetGlob),
          ],
        ]),
  ]);
};

const Steps = ({ chain }: { readonly chain: Chain }): JSX.Element =>
  h("section", { "aria-labelledby": "steps" }, [
    h("h3", { id: "steps" }, "Steps of reasoning"),
    h(
      "ol",
      null,
      chain.steps.map(({ name, detail }, at) =>
        h("li", { key: at }, h("strong", null, shown(name)), " ", shown(detail)),
      ),
    ),
  ]);

/** In the server's words: nothing here is concluded by the page. */
const Proof = ({
  verified,
  steps,
  ledgerPosition,
  checkpoint,
  inclusionProof,
  envelope,
}: Verification): JSX.Element =>
  h("div", null, [
    h(
      "p",
      { class: verified ? "said" : "problem damage" },
      `GET /audit/{id}/verification answers "verified": ${String(verified)}, at ledger position ${ledgerPosition}.`,
    ),
    table({
      caption: "What the server verified, in this order",
      columns: [
        { head: "Step", kind: "name", cell: ({ name }) => shown(name) },
        {
          head: "Outcome",
          cell: ({ outcome }) => {
            const name = enumName("STEP_OUTCOME", outcome);
            return h("span", { class: `outcome ${name}` }, shown(name));
          },
        },
        { head: "Detail", cell: ({ detail }) => shown(detail) },
      ],
      items: steps,
      keyOf: ({ name }) => name,
      empty: "No step was tried.",
    }),
    h("details", null, [
      h("summary", null, "Evidence, to verify elsewhere"),
      h("h4", null, "Signed checkpoint"),
      lines(checkpoint),
      h("h4", null, `Inclusion proof, ${inclusionProof.length} hashes from the leaf's sibling to the root`),
      h(
        "ol",
        null,
        inclusionProof.map((hash, at) => h("li", { key: at }, hex(hash))),
      ),
      h("h4", null, "Envelope, base64"),
      envelope === "" ? h("p", null, "It could not be opened.") : lines(envelope),
    ]),
  ]);

const proofOf = ({ outcome }: Asked<Verification>): JSX.Element => {
  if (outcome === undefined) return h("p", { class: "quiet" }, "Verifying…");
  return outcome.kind === "answer" ? h(Proof, outcome.body) : problemPanel(outcome.problem);
};

const Asking = ({ chain }: { readonly chain: Chain }): JSX.Element =>
  h("section", { "aria-labelledby": "asked" }, [
    h("h3", { id: "asked" }, "What was asked"),
    facts([
      ["Verdict", verdict(chain.verdict)],
      ["Reason", code(chain.reason)],
      ["Time, UTC", shownTime(chain.time)],
      ["Action", code(chain.action)],
      ["Target", code(chain.target)],
      ["Subject", chain.subject === "" ? "anonymous" : shown(chain.subject)],
      ["Level", level(chain.level)],
      ["Caller", chain.caller === "" ? "anonymous" : shown(chain.caller)],
      ["Tenant", shown(chain.tenant)],
      ["Session", chain.session === "" ? "" : shown(chain.session)],
      ["Least level of the target", chain.minLevel.endsWith("UNSPECIFIED") ? "" : level(chain.minLevel)],
      ["Input", `${chain.inputBytes} bytes`],
      ["SHA-256 of the input", hex(chain.inputDigest)],
      ["Decided in", `${chain.durationUs} µs`],
      ...Object.entries(chain.metadata).map(([name, value]) => [`Metadata ${name}`, shown(value)] as const),
    ]),
  ]);

export const Decision = ({
  ask,
  id,
  tenant,
}: {
  readonly ask: Ask;
  readonly id: string;
  readonly tenant: string;
}): JSX.Element => {
  const path = `/audit/${encodeURIComponent(id)}`;
  const { outcome } = useGet<Answer>(ask, { path, query: { tenant } });
  const verification = useGet<Verification>(ask, { path: `${path}/verification`, query: { tenant } });
  const heading = h("h2", { id: "title", tabIndex: -1 }, "Decision ", code(id));
  const proof = h("section", { "aria-labelledby": "proof" }, [
    h("h3", { id: "proof" }, "Verification"),
    proofOf(verification),
  ]);
  if (outcome === undefined) return h("section", null, heading, h("p", { class: "quiet" }, "Reading…"));
  if (outcome.kind === "problem") return h("section", null, heading, problemPanel(outcome.problem), proof);
  const { chain, modelRows } = outcome.body;
  return h("section", { "aria-labelledby": "title" }, [
    heading,
    h(Asking, { chain }),
    h(Sum, { chain, bias: modelRows?.bias }),
    h(Model, { ask, chain, rows: modelRows }),
    h(Steps, { chain }),
    proof,
    h("section", { "aria-labelledby": "record" }, [
      h("h3", { id: "record" }, "The record"),
      facts([
        ["Hash", hex(chain.record.hash)],
        ["Signature", hex(chain.record.signature)],
        ["Signed by key", hex(chain.record.publicKey)],
        ["Ledger position", shown(chain.record.position)],
        ["Kind", `${chain.record.kind}, version ${chain.record.schemaVersion}`],
      ]),
    ]),
  ]);
};
