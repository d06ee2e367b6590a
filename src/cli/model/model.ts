/** `sigil model`: the active trust model. */
import { GetActiveModelResponse, type TrustModel } from "@sigil/client";
import { toHex } from "@sigil/core/bytes";
import { exitCodes, jsonFlag, usage, type Command } from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { levelName } from "../call/decision.ts";
import { formatPairs, formatTable } from "../terminal/terminal.ts";

const byName = <Value>(table: Readonly<Record<string, Value>>): readonly (readonly [string, Value])[] =>
  Object.entries(table).sort(([a], [b]) => (a < b ? -1 : 1));

const formatModel = (model: TrustModel): readonly string[] => {
  const { review } = model;
  const weights = byName(model.weights).map(([feature, weight]) => [feature, String(weight)]);
  const actions = byName(model.actions).map(([glob, { risk, minLevel }]) => [
    glob,
    String(risk),
    levelName(minLevel),
  ]);
  const targets = byName(model.targets).map(([glob, value]) => [glob, String(value)]);
  return [
    formatPairs([
      ["bias", String(model.bias)],
      ["threshold", String(model.threshold)],
      ["review", review === undefined ? "none" : `${review.low} to ${review.high}`],
      ["rate", `${model.rateLimit} checks in ${model.rateWindowMs} ms`],
    ]),
    formatTable([{ title: "FEATURE" }, { title: "WEIGHT", align: "right" }], weights),
    formatTable([{ title: "ACTION" }, { title: "RISK", align: "right" }, { title: "LEAST LEVEL" }], actions),
    formatTable([{ title: "TARGET" }, { title: "SENSITIVITY", align: "right" }], targets),
  ];
};

export const modelGet: Command = {
  name: "model get",
  about: "Show the active trust model. Takes level Observer.",
  flags: { ...jsonFlag, ...connectionFlags },
  examples: [
    "sigil model get --key .sigil/keys/observer.pem --principal observer",
    "sigil model get --json > candidate.json   # a starting point for sigil simulate",
  ],
  run: async (given, terminal) => {
    const response = await withConnection(given, terminal, ({ trust }) => trust.getActiveModel({}));
    if (given.has("json")) {
      terminal.print(JSON.stringify(GetActiveModelResponse.toJSON(response), undefined, 2));
      return exitCodes.ok;
    }
    const { id, hash, ledgerPosition, model } = response;
    if (model === undefined) return usage("the server answered without a model");
    const record = formatPairs([
      ["id", id],
      ["hash", toHex(hash)],
      ["position", String(ledgerPosition)],
    ]);
    terminal.print([record, ...formatModel(model)].join("\n\n"));
    return exitCodes.ok;
  },
};
