/** `sigil audit replay`: a decision worked out again by the model that it names, value by value. */
import { ReplayDecisionResponse, ReplayOutcome, type ReplayedScalar } from "@sigil/client";
import { toHex } from "@sigil/core/bytes";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { tenantFlag } from "../call/listing.ts";
import { exitCodes, jsonFlag, type Command } from "../terminal/command.ts";
import { formatTable, type Style, type Terminal } from "../terminal/terminal.ts";

const outcomes: ReadonlyMap<ReplayOutcome, readonly [string, Style]> = new Map([
  [ReplayOutcome.REPLAY_OUTCOME_EQUAL, ["equal", "green"]],
  [ReplayOutcome.REPLAY_OUTCOME_DIFFERENT, ["DIFFERENT", "red"]],
  [ReplayOutcome.REPLAY_OUTCOME_PARTIAL, ["partial", "yellow"]],
  [ReplayOutcome.REPLAY_OUTCOME_AS_RECORDED, ["as recorded", "dim"]],
]);

const scalarText = (scalar: ReplayedScalar | undefined): string =>
  scalar?.value === undefined ? "–" : String(scalar.value.value);

const textOf = (outcome: ReplayOutcome): readonly [string, Style] =>
  outcomes.get(outcome) ?? ["unknown", "red"];

const formatReplay = (response: ReplayDecisionResponse, { paint }: Terminal): string => {
  const { outcome, values, modelHash, modelPosition } = response;
  const rows = values.map(({ field, outcome, recorded, recomputed }) => {
    const [text, style] = textOf(outcome);
    return [field, scalarText(recorded), scalarText(recomputed), { text, style, paint }];
  });
  const [text, style] = textOf(outcome);
  const by =
    modelPosition === undefined ? "no model decided" : `model ${toHex(modelHash)} at ${modelPosition}`;
  return [
    `${paint(style, text.toUpperCase())}  ${by}`,
    "",
    formatTable(
      [{ title: "VALUE" }, { title: "RECORDED" }, { title: "RECOMPUTED" }, { title: "OUTCOME" }],
      rows,
    ),
  ].join("\n");
};

/** An outcome that this version does not know is no agreement. */
const agreed: readonly ReplayOutcome[] = [
  ReplayOutcome.REPLAY_OUTCOME_EQUAL,
  ReplayOutcome.REPLAY_OUTCOME_PARTIAL,
];

export const auditReplay: Command = {
  name: "audit replay",
  about:
    "Work a decision out again from its record and the model that it names, and compare each value. partial says that\n" +
    "nothing differs, and that the entropy was taken as recorded, since the input was not kept. The server does it; sigil\n" +
    "verify does it here.",
  words: ["AUDIT_ID"],
  flags: { ...tenantFlag, ...jsonFlag, ...connectionFlags },
  examples: [
    "sigil audit replay 0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11",
    "sigil audit replay 0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11 --json",
  ],
  exits: ["0  equal, or partial", "1  something differs", "2  not found, damaged, or no answer"],
  run: async (given, terminal) => {
    const request = { auditId: given.words[0] ?? "", tenant: given.text("tenant") ?? "" };
    const response = await withConnection(given, terminal, ({ audit }) => audit.replayDecision(request));
    terminal.print(
      given.has("json")
        ? JSON.stringify(ReplayDecisionResponse.toJSON(response))
        : formatReplay(response, terminal),
    );
    return agreed.includes(response.outcome) ? exitCodes.ok : exitCodes.no;
  },
};
