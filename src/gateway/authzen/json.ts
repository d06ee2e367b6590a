/** JSON as AuthZEN takes it: strictly JSON, each member once, members that nobody knows passed over. */
import { fromJsonString, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { invalidField } from "../../errors.ts";
import { isObject, requireJson } from "../http/json-fault.ts";

/**
 * @throws invalidField for what is no JSON object, holds a member twice or a number beyond a double, or is nested too
 * deep.
 */
export const readObject = (text: string): JsonObject => {
  if (text.trim() === "") invalidField("", "the body must not be empty");
  try {
    fromJsonString(ValueSchema, text);
  } catch (cause) {
    requireJson(text);
    invalidField("", "the body holds a number out of range", { cause });
  }
  return requireObject(JSON.parse(text) as JsonValue, "");
};

/** @param field empty for the body itself. @throws invalidField. */
export const requireObject = (json: JsonValue, field: string): JsonObject =>
  isObject(json) ? json : invalidField(field, `${field === "" ? "the body " : ""}must be a JSON object`);

/** A member of its own, undefined where it has none. */
export const memberOf = (object: JsonObject, name: string): JsonValue | undefined =>
  Object.hasOwn(object, name) ? object[name] : undefined;

/** @throws invalidField. */
export const optionalObject = (object: JsonObject, name: string, field: string): JsonObject | undefined => {
  const member = memberOf(object, name);
  return member === undefined ? undefined : requireObject(member, field);
};

/** @throws invalidField. */
export const objectOf = (object: JsonObject, name: string): JsonObject =>
  optionalObject(object, name, name) ?? invalidField(name, "must be given");

/** @param path stands before the member's name. @throws invalidField. */
export const textOf = (object: JsonObject, name: string, path: string): string => {
  const member = memberOf(object, name);
  if (typeof member === "string") return member;
  return invalidField(path + name, member === undefined ? "must be given" : "must be a string");
};
