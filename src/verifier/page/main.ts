/**
 * The page: takes what its reader trusts and files that are dropped on it, and shows of each what it proves, why the
 * decision was made, and every step. Text becomes text alone.
 */
import { fromHex, parseHash, toHex, utf8Encode } from "@sigil/core/bytes";
import { verifyForeign } from "@sigil/core/keys";
import { evidenceBytesMax } from "@sigil/core/limits";
import { parsePolicy } from "@sigil/core/merkle";
import { FEATURES, rowsFor } from "@sigil/core/model";
import { visibleText as shown } from "@sigil/core/record";
import { verifyEvidence, type EvidenceTrust, type EvidenceVerdict } from "@sigil/core/verify";

type Child = Node | string;

/** @param name of a class, or "" for none. */
const element = <Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  name: string,
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] => {
  const made = document.createElement(tag);
  if (name !== "") made.className = name;
  made.append(...children);
  return made;
};

const table = (titles: readonly string[], rows: readonly (readonly Child[])[]): HTMLElement =>
  element(
    "table",
    "",
    element("thead", "", element("tr", "", ...titles.map((title) => element("th", "", title)))),
    element(
      "tbody",
      "",
      ...rows.map((row) => element("tr", "", ...row.map((cell) => element("td", "", cell)))),
    ),
  );

type Fact = readonly [name: string, value: string | undefined];

const facts = (all: readonly Fact[]): HTMLElement =>
  element(
    "dl",
    "",
    ...all.flatMap(([name, value]) =>
      value === undefined || value === "" ? [] : [element("dt", "", name), element("dd", "", shown(value))],
    ),
  );

const logits = (value: number | undefined): string =>
  value === undefined ? "" : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;

/** What was decided, and what the model made of it. */
const decisionOf = ({ record, chain, model }: EvidenceVerdict["findings"]): readonly Child[] => {
  if (record === undefined) return [];
  const { body, position, hash } = record;
  const named: readonly Fact[] = [
    ["record", `${body.kind} ${body.id}`],
    ["tenant", body.tenant],
    ["time", new Date(body.ts).toISOString()],
    ["position", String(position)],
    ["hash", toHex(hash)],
  ];
  if (chain === undefined) return [element("h3", "", "The record"), facts(named)];
  const { request, features, contributions, z, score, threshold, verdict, reason } = chain;
  const rows = model === undefined ? undefined : rowsFor(request, model.body.payload);
  const who = (name: string): string => (name === "" ? "(anonymous)" : name);
  return [
    element("h3", "", "The decision"),
    facts([
      ["verdict", verdict],
      ["reason", reason],
      ["action", request.action],
      ["target", request.target],
      ["subject", `${who(request.subject)}, ${request.loa}`],
      ["caller", who(request.caller)],
      ["session", request.session],
      ...named,
    ]),
    element("h3", "", "Why"),
    facts([
      ["score", score === null ? undefined : `${score.toFixed(4)}, of ${threshold ?? "–"} that it takes`],
      ["z", z === null ? undefined : `${logits(z)} logits: the bias and what each feature adds`],
      ["action row", rows && (rows.actionGlob === "" ? "none matches" : rows.actionGlob)],
      ["target row", rows && (rows.targetGlob === "" ? "none matches" : rows.targetGlob)],
    ]),
    table(
      ["Feature", "Value", "Logits"],
      [
        ...(rows === undefined ? [] : [["bias", "", logits(rows.bias)]]),
        ...FEATURES.filter((name) => features[name] !== undefined).map((name) => [
          name,
          (features[name] ?? 0).toFixed(3),
          logits(contributions[name]),
        ]),
      ],
    ),
  ];
};

const stepsOf = ({ steps }: EvidenceVerdict): readonly Child[] => [
  element("h3", "", "Steps"),
  table(
    ["Step", "Outcome", "Detail"],
    steps.map(({ name, outcome, detail }) => [name, element("span", outcome, outcome), shown(detail)]),
  ),
];

const fileView = (name: string, verdict: EvidenceVerdict): HTMLElement => {
  const { holds, steps } = verdict;
  const failed = steps.find(({ outcome }) => outcome === "failed");
  const isDoubted = failed?.name === "trust";
  const said = holds
    ? "Verified"
    : isDoubted
      ? "Not vouched for"
      : `Refused by the step ${failed?.name ?? ""}`;
  // What a refused file says of itself is not repeated as if it were so.
  const decision = holds || isDoubted ? decisionOf(verdict.findings) : [];
  return element(
    "section",
    "file",
    element("h2", holds ? "verified" : "refused", `${said}: ${shown(name)}`),
    ...decision,
    ...stepsOf(verdict),
  );
};

const wrongView = (name: string, rule: string): HTMLElement =>
  element("section", "file", element("h2", "refused", shown(name)), element("p", "", shown(rule)));

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const picker = Object.assign(document.createElement("input"), { type: "file", multiple: true, id: "files" });
const genesis = Object.assign(document.createElement("input"), {
  type: "text",
  id: "genesis",
  spellcheck: false,
});
const policy = Object.assign(document.createElement("textarea"), {
  id: "policy",
  rows: 4,
  spellcheck: false,
});
const results = element("div", "");
results.id = "results";
results.setAttribute("aria-live", "polite");
const drop = element("label", "drop", "Drop evidence files here, or choose them: ", picker);

/** @throws Error naming what is wrong. */
const readTrust = (): EvidenceTrust => {
  const [hex, terms] = [genesis.value.trim(), policy.value];
  return {
    ...(hex === "" ? {} : { genesis: parseHash(fromHex(hex)) }),
    ...(terms.trim() === ""
      ? {}
      : { policy: parsePolicy(utf8Encode(terms.endsWith("\n") ? terms : `${terms}\n`)) }),
  };
};

let files: readonly File[] = [];
/** Of the newest showing; an older one that ends later is forgotten. */
let showing = 0;

const viewOf = async (file: File): Promise<HTMLElement> => {
  try {
    const trust = readTrust();
    if (file.size > evidenceBytesMax)
      return wrongView(file.name, "It is longer than an evidence file may be.");
    const bytes = new Uint8Array(await file.arrayBuffer());
    return fileView(file.name, await verifyEvidence(bytes, trust, { verify: verifyForeign }));
  } catch (error) {
    return wrongView(file.name, messageOf(error));
  }
};

const show = async (): Promise<void> => {
  showing += 1;
  const own = showing;
  const views: HTMLElement[] = [];
  for (const file of files) views.push(await viewOf(file));
  if (own === showing) results.replaceChildren(...views);
};

const take = (given: Iterable<File>): void => {
  files = [...given];
  void show();
};

picker.addEventListener("change", () => take(picker.files ?? []));
for (const field of [genesis, policy]) field.addEventListener("change", () => void show());
for (const name of ["dragover", "drop", "dragleave"] as const) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") take(event.dataTransfer?.files ?? []);
  });
}

document
  .getElementById("root")
  ?.append(
    element("h1", "", "Verify evidence"),
    element(
      "p",
      "note",
      "Everything happens on this page: nothing is sent, and nobody is asked. What a file proves rests on what you have from elsewhere.",
    ),
    drop,
    element("label", "", "Hash of the genesis record, 64 hexadecimal digits", genesis),
    element(
      "label",
      "",
      "Or a policy (C2SP tlog-policy): the log’s key, and the witnesses that must have cosigned",
      policy,
    ),
    results,
  );
