/**
 * Self-contained JSON Schema 2020-12: compiled by Ajv, restricted to features with the same meaning in every
 * implementation. Beyond the specification: unknown keywords are refused; `$ref` must point into the schema itself
 * (nothing is fetched); dynamic references are unknown; `format` is an annotation. At most `jsonSchemaCharactersMax`
 * characters.
 *
 * Compiling some schemas takes seconds and `uniqueItems` over objects is quadratic, so schema-thread.ts runs this code
 * in a worker thread under a time limit. Patterns are matched in linear time.
 */
import { Ajv2020, type Options, type ValidateFunction } from "ajv/dist/2020.js";
import { type CborValue, jsonView } from "@sigil/core/cbor";
import { anyMap, refuseField } from "@sigil/core/record";
import { jsonSchemaCharactersMax, jsonSchemaRuleCharactersMax } from "../../limits.ts";
import { abbreviate, atPointer, formatPointer, quoted } from "./json-pointer.ts";
import { linearPattern } from "./linear-pattern.ts";

export type CompiledSchema = {
  /**
   * Why the payload is refused, with a JSON pointer, or null. The payload is validated as `jsonView`: byte strings as
   * base64 text, integers beyond 2^53 as decimal text.
   */
  readonly refusalOf: (payload: CborValue) => string | null;
};

/**
 * Treatment of patterns that no linear engine can match: refused in proposed schemas; matched by JavaScript's engine
 * under the time limit in schemas approved before this rule.
 */
export type OnSlowPattern = "refuse" | "allow";

type Step = string | number;
type JsonObject = Readonly<Record<string, unknown>>;

const dialect = "https://json-schema.org/draft/2020-12/schema";
const schemaField = "payload.schema";

/**
 * Property names inherited by every JavaScript object. Ajv and its deep comparison read some of them, so that such keys
 * could bypass validation or compare as equal; payloads with them are refused under a schema.
 */
const inherited: ReadonlySet<string> = new Set(Object.getOwnPropertyNames(Object.prototype));

const options: Options = {
  strictSchema: true,
  strictNumbers: true,
  // Ajv's strict checks refuse what the specification allows.
  strictTypes: false,
  strictTuples: false,
  strictRequired: false,
  allowMatchingProperties: true,
  validateFormats: false,
  ownProperties: true,
  // Both make validation faster but compilation much slower and the code larger.
  inlineRefs: false,
  code: { optimize: false },
  logger: false,
};

/** Ajv's own keywords, and references that depend on the referring context. */
const notInDialect = [
  "nullable",
  "$async",
  "$dynamicRef",
  "$dynamicAnchor",
  "$recursiveRef",
  "$recursiveAnchor",
];

/** The meta-schema, compiled on first use: that takes a tenth of a second. */
let dialectAjv: Ajv2020 | undefined;

/** A new instance per schema, so that schemas cannot refer to each other or to the meta-schema. */
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

/** Adapts linear patterns to Ajv's regExp option. */
const readPattern = (source: string, onSlowPattern: OnSlowPattern) => {
  const pattern = linearPattern(source);
  if (pattern.kind === "linear") return { test: pattern.test, toString: () => `/${source}/u` };
  if (onSlowPattern === "allow") return new RegExp(source, "u");
  throw new SyntaxError(
    `pattern "${source}" ${pattern.rule}, so that matching it could take longer than linear time`,
  );
};

const isObject = (value: unknown): value is JsonObject => typeof value === "object" && value !== null;

/** Visits every key of every object, outermost first. Depth is bounded, since the value came from canonical CBOR. */
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

/** Whether a URI fragment pointer ("#/$defs/a") resolves to a possible schema. */
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

/** Refuses what Ajv would accept or resolve outside the schema. */
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

/** The message of a compiler error. */
const messageOf = (cause: unknown): string => {
  // Stack overflow by thousands of nested alternatives or definitions.
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

/** Names the offending key if Ajv points only at its object. */
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
    // A schema that recurses without descending into the payload overflows the stack.
    return `${atPointer("")} cannot be checked: the schema does not come to an end`;
  }
  // The last error is the outermost: the `anyOf`, not its branches.
  const error = validate.errors?.at(-1);
  const message = abbreviate(error?.message ?? "must match the schema", jsonSchemaRuleCharactersMax);
  return `${atPointer(error?.instancePath ?? "")} ${message}${keyAtFault(error?.params ?? {})}`;
};

/** @throws malformedRecord with field "payload.schema" if the schema is too long. */
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
 * Unreferenced definitions are only checked against the meta-schema.
 * @throws malformedRecord with field "payload.schema" and the reason.
 */
export const compileSchema = (schema: CborValue, onSlowPattern: OnSlowPattern = "refuse"): CompiledSchema => {
  checkSchemaSize(schema);
  const view = jsonView(anyMap(schema, schemaField)) as JsonObject;
  checkNarrowed(view);
  checkDialect(view);
  const validate = compile(view, onSlowPattern);
  return { refusalOf: (payload) => refusalOf(validate, payload) };
};
