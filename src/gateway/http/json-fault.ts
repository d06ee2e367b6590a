/**
 * Where a JSON text breaks its contract: the path of the member, which protobuf's own reader does not tell, and the
 * numbers that it takes though JSON's reader has rounded them. At most `jsonDepthMax` deep. Source: the ProtoJSON
 * format.
 */
import {
  fromJson,
  ScalarType,
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
} from "@bufbuild/protobuf";
import { visit } from "jsonc-parser";
import { invalidField } from "../../errors.ts";

/** What protobuf's reader takes. */
const jsonDepthMax = 100;

const inside = (path: string, key: string): string => (path === "" ? key : `${path}.${key}`);

const pathOf = (steps: readonly (string | number)[]): string => {
  let path = "";
  for (const step of steps) path = typeof step === "number" ? `${path}[${step}]` : inside(path, step);
  return path;
};

/** @throws invalidField for what is no JSON, is nested too deep, or names a member twice. */
export const requireJson = (text: string): void => {
  const seen = new Map<string, Set<string>>();
  let depth = 0;
  const enter = (): void => {
    depth += 1;
    if (depth > jsonDepthMax) invalidField("", `the body must not be nested deeper than ${jsonDepthMax}`);
  };
  const leave = (): void => void (depth -= 1);
  visit(
    text,
    {
      onError: (_code, _offset, _length, line, column) =>
        invalidField("", `the body is not JSON: line ${line + 1}, column ${column + 1}`),
      onObjectBegin: enter,
      onArrayBegin: enter,
      onObjectEnd: leave,
      onArrayEnd: leave,
      onObjectProperty: (name, _offset, _length, _line, _column, pathTo) => {
        const object = JSON.stringify(pathTo());
        const names = seen.get(object) ?? new Set();
        if (names.has(name)) invalidField(pathOf([...pathTo(), name]), "occurs twice");
        seen.set(object, names.add(name));
      },
    },
    { disallowComments: true, allowTrailingComma: false },
  );
};

/** By either of its names. */
export const fieldNamed = ({ fields }: DescMessage, key: string): DescField | undefined =>
  fields.find(({ name, jsonName }) => name === key || jsonName === key);

export const isObject = (json: JsonValue | undefined): json is JsonObject =>
  typeof json === "object" && json !== null && !Array.isArray(json);

/** Messages with a JSON form of their own are read as one value. */
const isPlain = (type: DescMessage): boolean => !type.typeName.startsWith("google.protobuf.");

type Visit = (type: DescMessage, json: JsonObject, path: string) => void;

/** Messages that a value of a field holds, each with its path. */
const below = (field: DescField, json: JsonValue, path: string, see: Visit): void => {
  const type = field.message;
  if (type === undefined || !isPlain(type)) return;
  if (field.fieldKind === "message" && isObject(json)) see(type, json, path);
  else if (field.fieldKind === "list" && Array.isArray(json)) {
    for (const [index, item] of json.entries()) if (isObject(item)) see(type, item, `${path}[${index}]`);
  } else if (field.fieldKind === "map" && isObject(json)) {
    for (const [key, value] of Object.entries(json)) if (isObject(value)) see(type, value, inside(path, key));
  }
};

const messageRule = /^cannot decode [^:]*? from JSON: /;

/** @throws invalidField with the path of the first member that cannot be read. */
export const refuseMember: (type: DescMessage, json: JsonValue, path?: string) => void = (
  type,
  json,
  path = "",
) => {
  if (!isObject(json)) return invalidField(path, "must be a JSON object");
  const seen = new Set<string>();
  for (const [key, value] of Object.entries(json)) {
    const here = inside(path, key);
    const field = fieldNamed(type, key);
    if (field === undefined) return invalidField(here, `is no field of ${type.typeName}`);
    const name = field.oneof?.name ?? field.name;
    if (seen.has(name))
      return invalidField(here, "is given a second time, by another name or member of a oneof");
    seen.add(name);
    below(field, value, here, (inner, object, place) => refuseMember(inner, object, place));
    try {
      fromJson(type, { [key]: value });
    } catch (error) {
      const said = error instanceof Error ? error.message.replace(messageRule, "") : "";
      return invalidField(here, said);
    }
  }
};

const longTypes: ReadonlySet<ScalarType | undefined> = new Set([
  ScalarType.INT64,
  ScalarType.UINT64,
  ScalarType.SINT64,
  ScalarType.FIXED64,
  ScalarType.SFIXED64,
]);

const longDigits = /^-?\d{1,20}$/;

const requireLong = (json: JsonValue, path: string): void => {
  if (typeof json === "number" && !Number.isSafeInteger(json))
    invalidField(
      path,
      "must be a whole number, and beyond ±(2^53−1) in a string: JSON's numbers are rounded",
    );
  if (typeof json === "string" && !longDigits.test(json)) invalidField(path, "must be digits");
};

/** @throws invalidField for a 64-bit number that was not read as it was written. */
export const requireExactLongs: (type: DescMessage, json: JsonValue, path?: string) => void = (
  type,
  json,
  path = "",
) => {
  if (!isObject(json)) return;
  for (const [key, value] of Object.entries(json)) {
    const field = fieldNamed(type, key);
    if (field === undefined) continue;
    const here = inside(path, key);
    if (longTypes.has(field.scalar)) {
      const items = Array.isArray(value) ? value : isObject(value) ? Object.values(value) : [value];
      for (const item of items) requireLong(item, here);
    }
    below(field, value, here, (inner, object, place) => requireExactLongs(inner, object, place));
  }
};

const withLongs = new WeakMap<DescMessage, boolean>();

/** Whether a message or one in it holds 64-bit numbers. */
export const holdsLongs = (type: DescMessage): boolean => {
  const known = withLongs.get(type);
  if (known !== undefined) return known;
  // A type that holds itself holds none by that.
  withLongs.set(type, false);
  const holds = type.fields.some(
    ({ scalar, message }) =>
      longTypes.has(scalar) || (message !== undefined && isPlain(message) && holdsLongs(message)),
  );
  withLongs.set(type, holds);
  return holds;
};
