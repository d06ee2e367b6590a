/**
 * JSON Schema 2020-12 that stands on its own: compiled by Ajv, narrowed to what says the same to every implementation.
 * Beyond the specification: an unknown keyword is refused; `$ref` points into the schema itself (nothing is fetched);
 * dynamic references are unknown; `format` is an annotation. At most `jsonSchemaCharactersMax` characters.
 *
 * Compiling takes seconds for some schemas and `uniqueItems` over objects is quadratic: schema-thread.ts calls what is
 * here in a thread of its own, under a time limit. Patterns are matched in linear time.
 */
import { Ajv2020, type Options, type ValidateFunction } from "ajv/dist/2020.js";
import { type CborValue, jsonView } from "@sigil/core/cbor";
import { anyMap, refuseField } from "@sigil/core/record";
import { jsonSchemaCharactersMax, jsonSchemaRuleCharactersMax } from "../../limits.ts";
import { abbreviate, atPointer, formatPointer, quoted } from "./json-pointer.ts";
import { linearPattern } from "./linear-pattern.ts";

export type CompiledSchema = {
  /**
   * Why the payload is refused, with a JSON pointer into it, or null. The schema sees it as `jsonView` shows it: byte
   * strings as base64 text, integers beyond 2^53 as decimal text.
   */
  readonly refusalOf: (payload: CborValue) => string | null;
};

/**
 * What becomes of a pattern that no linear engine can match: refused where a schema is proposed; matched by
 * JavaScript's own engine, under the time limit, where a quorum approved it before there was the rule.
 */
export type OnSlowPattern = "refuse" | "allow";

type Step = string | number;
type JsonObject = Readonly<Record<string, unknown>>;

const dialect = "https://json-schema.org/draft/2020-12/schema";
const schemaField = "payload.schema";

/**
 * Names that every JavaScript object answers to. Ajv and its deep comparison ask objects for some of them, so that a
 * payload could have a key pass unseen or pass for equal; under a schema such keys are refused instead.
 */
const inherited: ReadonlySet<string> = new Set(Object.getOwnPropertyNames(Object.prototype));

const options: Options = {
  strictSchema: true,
  strictNumbers: true,
  // What the specification allows is not for a linter to refuse.
  strictTypes: false,
  strictTuples: false,
  strictRequired: false,
  allowMatchingProperties: true,
  validateFormats: false,
  ownProperties: true,
  // Both only make the code faster, by making the compiling much slower and the code larger.
  inlineRefs: false,
  code: { optimize: false },
  logger: false,
};

/** Ajv's own additions, and references whose meaning hangs on who refers. */
const notInDialect = [
  "nullable",
  "$async",
  "$dynamicRef",
  "$dynamicAnchor",
  "$recursiveRef",
  "$recursiveAnchor",
];

/** The dialect's own schema, compiled when it is first needed: that takes a tenth of a second. */
let dialectAjv: Ajv2020 | undefined;

/** One for each schema, so that no schema can refer to another, and none to the dialect's own. */
const freshAjv = (onSlowPattern: OnSlowPattern): Ajv2020 => {
  const regExp = Object.assign((source: string) => readPattern(source, onSlowPattern), {
    code: "readPattern",
  });
  const ajv = new Ajv2020({
    ...options,
    code: { ...options.code, regExp },
    meta: false,
    validateSchema: false,
  });
  for (const keyword of notInDialect) ajv.removeKeyword(keyword);
  // Ajv resolves anchors but does not list the keyword.
  ajv.addKeyword({ keyword: "$anchor", schemaType: "string" });
  return ajv;
};

/** As Ajv asks for it: its text names it among the others. */
const readPattern = (source: string, onSlowPattern: OnSlowPattern) => {
  const pattern = linearPattern(source);
  if (pattern.kind === "linear") return { test: pattern.test, toString: () => `/${source}/u` };
  if (onSlowPattern === "allow") return new RegExp(source, "u");
  throw new SyntaxError(
    `pattern "${source}" ${pattern.rule}, so that matching it could take longer than linear time`,
  );
};

const isObject = (value: unknown): value is JsonObject => typeof value === "object" && value !== null;

/** Visits every key of every object, outermost first. Depth is bounded: the value came from canonical CBOR. */
const eachKey = (
  value: unknown,
  visit: (path: readonly Step[], entry: unknown) => void,
  path: Step[] = [],
): void => {
  if (!isObject(value)) return;
  for (const [key, entry] of Object.entries(value)) {
    path.push(key);
    if (!Array.isArray(value)) visit(path, entry);
    eachKey(entry, visit, path);
    path.pop();
  }
};

const refuseSchema = (path: readonly Step[], rule: string): never =>
  refuseField(
    schemaField,
    "",
    `${atPointer(formatPointer(path))} ${abbreviate(rule, jsonSchemaRuleCharactersMax)}`,
  );

const unescapeStep = (step: string): string => step.replaceAll("~1", "/").replaceAll("~0", "~");

/** Whether a pointer as a URI fragment ("#/$defs/a") leads to something that can be a schema. */
const leadsToSchema = (root: JsonObject, fragment: string): boolean => {
  let target: unknown = root;
  for (const step of decodeURIComponent(fragment).split("/").slice(1).map(unescapeStep)) {
    if (!isObject(target) || !Object.hasOwn(target, step)) return false;
    target = target[step];
  }
  return typeof target === "boolean" || (isObject(target) && !Array.isArray(target));
};

const isResolvable = (root: JsonObject, reference: string): boolean => {
  if (!reference.startsWith("#/")) return reference.startsWith("#");
  try {
    return leadsToSchema(root, reference);
  } catch {
    return false; // malformed percent-encoding
  }
};

/** What Ajv would let pass, or would take from outside the schema. */
const checkNarrowed = (root: JsonObject): void =>
  eachKey(root, (path, entry) => {
    const key = path.at(-1);
    if (typeof key === "string" && inherited.has(key)) refuseSchema(path, "is a key that no schema may use");
    if (typeof entry !== "string") return;
    if (key === "$schema" && (path.length > 1 || entry !== dialect)) {
      refuseSchema(path, `must be "${dialect}", and only at the top`);
    }
    if (key === "$id" && path.length > 1) refuseSchema(path, "must be at the top only");
    if (key === "$ref" && !isResolvable(root, entry)) {
      refuseSchema(path, 'must lead to a part of this schema: "#", "#/…" or "#anchor"');
    }
  });

/** What a failing compiler says, for people. */
const messageOf = (cause: unknown): string => {
  // Thousands of alternatives or definitions, one inside the other.
  if (cause instanceof RangeError) return "is too intricate to compile";
  return cause instanceof Error ? cause.message : "cannot be compiled";
};

const checkDialect = (schema: JsonObject): void => {
  dialectAjv ??= new Ajv2020(options);
  if (dialectAjv.validateSchema(schema) === true) return;
  const error = dialectAjv.errors?.at(-1);
  refuseField(
    schemaField,
    "",
    `${atPointer(error?.instancePath ?? "")} ${abbreviate(error?.message ?? "is no schema", jsonSchemaRuleCharactersMax)}`,
  );
};

const compile = (schema: JsonObject, onSlowPattern: OnSlowPattern): ValidateFunction => {
  try {
    return freshAjv(onSlowPattern).compile(schema);
  } catch (cause) {
    return refuseField(schemaField, "", abbreviate(messageOf(cause), jsonSchemaRuleCharactersMax));
  }
};

/** The key at fault, where Ajv points at the object that has it. */
const keyAtFault = (params: JsonObject): string => {
  const key = params["additionalProperty"] ?? params["unevaluatedProperty"] ?? params["propertyName"];
  return typeof key === "string" ? `, which has ${quoted(key)}` : "";
};

const refusalOf = (validate: ValidateFunction, payload: CborValue): string | null => {
  const view = jsonView(payload);
  let reserved: string | null = null;
  eachKey(view, (path) => {
    const key = path.at(-1);
    if (typeof key === "string" && inherited.has(key)) reserved ??= formatPointer(path);
  });
  if (reserved !== null) return `${atPointer(reserved)} is a key that a kind with a schema cannot have`;
  try {
    if (validate(view)) return null;
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    // A schema that refers to itself without going deeper into the payload ends at the stack's limit.
    return `${atPointer("")} cannot be checked: the schema does not come to an end`;
  }
  // The last one is the outermost: the `anyOf`, not what each of its branches missed.
  const error = validate.errors?.at(-1);
  const message = abbreviate(error?.message ?? "must match the schema", jsonSchemaRuleCharactersMax);
  return `${atPointer(error?.instancePath ?? "")} ${message}${keyAtFault(error?.params ?? {})}`;
};

/** @throws malformedRecord with field "payload.schema" for what is too long to be looked at any further. */
export const checkSchemaSize = (schema: CborValue): void => {
  const characters = JSON.stringify(jsonView(anyMap(schema, schemaField))).length;
  if (characters > jsonSchemaCharactersMax) {
    refuseField(
      schemaField,
      "",
      `must be at most ${jsonSchemaCharactersMax} characters as JSON, has ${characters}`,
    );
  }
};

/**
 * Definitions that nothing refers to are only held to the dialect's own schema.
 * @throws malformedRecord with field "payload.schema" and what makes it no schema of the dialect.
 */
export const compileSchema = (schema: CborValue, onSlowPattern: OnSlowPattern = "refuse"): CompiledSchema => {
  checkSchemaSize(schema);
  const view = jsonView(anyMap(schema, schemaField)) as JsonObject;
  checkNarrowed(view);
  checkDialect(view);
  const validate = compile(view, onSlowPattern);
  return { refusalOf: (payload) => refusalOf(validate, payload) };
};
