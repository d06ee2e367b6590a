/**
 * Reads a trust model file in either of two forms: as printed by `sigil model get --json`, or the record's payload as
 * printed by `sigil canon get trust_model/active --system`. Every command that takes a model accepts both, so that the
 * simulated file is the one proposed. Duplicate keys are refused, since parsers could pick either.
 */
import { getNodeValue, parseTree, type Node, type ParseError } from "jsonc-parser";
import { LevelOfAccess, TrustModel } from "@sigil/client";
import { nearest } from "../../config/nearest.ts";
import { usage } from "../terminal/command.ts";

/** @throws usage. */
export const parseJson = (text: string, what: string): Node => {
  const errors: ParseError[] = [];
  const node = parseTree(text, errors, { disallowComments: true });
  return node === undefined || errors.length > 0 ? usage(`${what} is not JSON`) : node;
};

const membersOf = ({ children = [] }: Node): readonly (readonly [string, Node])[] =>
  children.flatMap(({ children: [name, value] = [] }) =>
    name === undefined || value === undefined ? [] : [[String(name.value), value] as const],
  );

const refuseRepeated = (node: Node, what: string): void => {
  const members = node.type === "object" ? membersOf(node) : [];
  const names = members.map(([name]) => name);
  const repeated = names.find((name, at) => names.indexOf(name) !== at);
  if (repeated !== undefined) usage(`${what}: "${repeated}" occurs twice`);
  for (const child of node.type === "object" ? members.map(([, value]) => value) : (node.children ?? [])) {
    refuseRepeated(child, what);
  }
};

type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const common = ["bias", "weights", "threshold", "review", "actions", "targets"];
const answerFields = [...common, "rateWindowMs", "rateLimit"];
const payloadFields = [...common, "rate"];

const requireFields = (
  model: Fields,
  fields: readonly string[],
  optional: readonly string[],
  what: string,
): void => {
  for (const name of Object.keys(model)) {
    if (fields.includes(name)) continue;
    usage(`${what}: "${name}" is not a field of a model; did you mean "${nearest(name, fields)}"?`);
  }
  const missing = fields.find((name) => !Object.hasOwn(model, name) && !optional.includes(name));
  if (missing !== undefined) usage(`${what}: "${missing}" is missing from the model`);
};

const levelPrefix = "LEVEL_OF_ACCESS_";

const mapValues = (value: unknown, field: string, what: string, map: (item: Fields) => unknown): Fields => {
  if (!isFields(value)) return usage(`${what}: "${field}" must be an object`);
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      isFields(item) ? map(item) : usage(`${what}: ${field}["${key}"] must be an object`),
    ]),
  );
};

/** Converts a model from an answer to its record's payload. */
const payloadOfAnswer = (model: Fields, what: string): Fields => {
  requireFields(model, answerFields, ["review", "bias"], what);
  const { bias = 0, rateWindowMs, rateLimit, review, actions, ...rest } = model;
  return {
    bias,
    ...rest,
    review: review ?? null,
    // The JSON form of a message omits a number that is 0.
    actions: mapValues(actions, "actions", what, ({ minLevel, risk = 0, ...rule }) => ({
      ...rule,
      risk,
      min_loa: String(minLevel).replace(levelPrefix, "").toLowerCase(),
    })),
    rate: { window_ms: Number(rateWindowMs), limit: Number(rateLimit) },
  };
};

export type ModelFile = {
  /** The payload of a trust_model record as JSON; unchanged text if the file has that form. */
  readonly payloadJson: string;
  readonly payload: Fields;
};

/**
 * @param what names the file in error messages.
 * @throws usage unless the text holds a model: bare, in an answer's "model", or in "payload" beside an "id".
 */
export const parseModelFile = (text: string, what: string): ModelFile => {
  const root = parseJson(text, what);
  refuseRepeated(root, what);
  const members = new Map(root.type === "object" ? membersOf(root) : []);
  const node = members.get("model") ?? members.get("payload") ?? root;
  const model: unknown = getNodeValue(node);
  if (!isFields(model)) return usage(`${what} holds no model`);
  if (Object.hasOwn(model, "rateWindowMs") || Object.hasOwn(model, "rateLimit")) {
    const payload = payloadOfAnswer(model, what);
    return { payload, payloadJson: JSON.stringify(payload, undefined, 2) };
  }
  requireFields(model, payloadFields, [], what);
  return { payload: model, payloadJson: text.slice(node.offset, node.offset + node.length) };
};

const levelOf = (name: unknown, glob: string, what: string): LevelOfAccess => {
  const found = Object.entries(LevelOfAccess).find(
    ([level]) => typeof name === "string" && level === levelPrefix + name.toUpperCase(),
  );
  return typeof found?.[1] === "number"
    ? found[1]
    : usage(
        `${what}: actions["${glob}"].min_loa must be guest, observer, operator, mentor or root, not ${JSON.stringify(name)}`,
      );
};

/** The model as a request message. The server checks its rules. @throws usage. */
export const readModelFile = (text: string, what: string): TrustModel => {
  const { payload } = parseModelFile(text, what);
  const { rate, review, actions, ...rest } = payload;
  if (!isFields(rate)) return usage(`${what}: "rate" must be an object`);
  if (!isFields(actions)) return usage(`${what}: "actions" must be an object`);
  return TrustModel.fromJSON({
    ...rest,
    ...(review === null ? {} : { review }),
    actions: Object.fromEntries(
      Object.entries(actions).map(([glob, rule]) => [
        glob,
        isFields(rule)
          ? { risk: rule["risk"], minLevel: levelOf(rule["min_loa"], glob, what) }
          : usage(`${what}: actions["${glob}"] must be an object`),
      ]),
    ),
    rateWindowMs: rate["window_ms"],
    rateLimit: rate["limit"],
  });
};
