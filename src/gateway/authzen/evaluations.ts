/**
 * What a request to evaluate asks: the questions of its evaluations, by defaults and members of their own.
 * At most `batchItemsMax`. Source: AuthZEN Authorization API 1.0, §6 and §7.
 */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { CheckRequest } from "@sigil/proto/sigil/trust/v1/trust";
import { invalidField, SigilFault } from "../../errors.ts";
import { batchItemsMax } from "../../limits.ts";
import { memberOf, objectOf, optionalObject, readObject, requireObject, textOf } from "./json.ts";
import { actionName, entityName, type Entity, type NameRules } from "./names.ts";
import { Digests, pathOf, unreadParts, type Unread } from "./unread.ts";

/** One evaluation: a check, and what it carries that a check does not. */
export type Evaluation = {
  readonly kind: "fit";
  readonly check: CheckRequest;
  /** Of what no model reads; undefined where there is nothing. */
  readonly digest: string | undefined;
  /** Where that stood. */
  readonly unread: readonly string[];
};

/** An item that is not a valid check. */
export type Unfit = { readonly kind: "unfit"; readonly message: string };
export type Item = Evaluation | Unfit;

export const semantics = ["execute_all", "deny_on_first_deny", "permit_on_first_permit"] as const;
export type Semantic = (typeof semantics)[number];

export type Many = { readonly kind: "many"; readonly semantic: Semantic; readonly items: readonly Item[] };
export type Asked = { readonly kind: "one"; readonly evaluation: Evaluation } | Many;

export type ReadRules = {
  readonly names: NameRules;
  /** Of properties and contexts of one request, what defaults repeat written out. */
  readonly unreadBytesMax: number;
};

const entityOf = (object: JsonObject, field: string): Entity => ({
  type: textOf(object, "type", `${field}.`),
  id: textOf(object, "id", `${field}.`),
});

const readEvaluation = (given: JsonObject, names: NameRules, digests: Digests): Evaluation => {
  const [subject, action, resource] = [
    objectOf(given, "subject"),
    objectOf(given, "action"),
    objectOf(given, "resource"),
  ];
  const check = CheckRequest.fromPartial({
    subject: entityName(entityOf(subject, "subject"), names.subjectType, "subject"),
    action: actionName(textOf(action, "name", "action."), names.actionPrefix, "action.name"),
    target: entityName(entityOf(resource, "resource"), names.resourceType, "resource"),
  });
  const parts = {
    subject: optionalObject(subject, "properties", "subject.properties"),
    action: optionalObject(action, "properties", "action.properties"),
    resource: optionalObject(resource, "properties", "resource.properties"),
    context: optionalObject(given, "context", "context"),
  };
  const present = unreadParts.filter((part) => parts[part] !== undefined);
  const unread: Unread = Object.fromEntries(present.map((part) => [part, parts[part]]));
  return { kind: "fit", check, digest: digests.of(unread), unread: present.map(pathOf) };
};

const readItem = (read: () => Evaluation): Item => {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof SigilFault) || error.error.kind !== "invalidField") throw error;
    return { kind: "unfit", message: error.message };
  }
};

const members = ["subject", "action", "resource", "context"] as const;

const readSemantic = (body: JsonObject): Semantic => {
  const options = optionalObject(body, "options", "options");
  const given = options === undefined ? undefined : memberOf(options, "evaluations_semantic");
  if (given === undefined) return "execute_all";
  const known = semantics.find((each) => each === given);
  return known ?? invalidField("options.evaluations_semantic", `must be one of ${semantics.join(", ")}`);
};

/** The members that an item does not have are the request's. @throws invalidField. */
const withDefaults = (body: JsonObject, item: JsonValue): JsonObject => {
  const own = requireObject(item, "evaluations");
  const merged: Record<string, JsonValue> = {};
  for (const name of members) {
    const value = memberOf(Object.hasOwn(own, name) ? own : body, name);
    if (value !== undefined) merged[name] = value;
  }
  return merged;
};

/** @throws invalidField. */
export const readOne = (text: string, { names, unreadBytesMax }: ReadRules): Evaluation =>
  readEvaluation(readObject(text), names, new Digests(unreadBytesMax));

/** Without evaluations, or with none in them, it is one. @throws invalidField. */
export const readMany = (text: string, { names, unreadBytesMax }: ReadRules): Asked => {
  const body = readObject(text);
  const digests = new Digests(unreadBytesMax);
  const semantic = readSemantic(body);
  const { evaluations: given = [] } = body;
  if (!Array.isArray(given)) return invalidField("evaluations", "must be an array");
  if (given.length === 0) return { kind: "one", evaluation: readEvaluation(body, names, digests) };
  if (given.length > batchItemsMax)
    return invalidField("evaluations", `must be at most ${batchItemsMax}, got ${given.length}`);
  for (const name of members) optionalObject(body, name, name);
  const items = given.map((item) => readItem(() => readEvaluation(withDefaults(body, item), names, digests)));
  return { kind: "many", semantic, items };
};
