/**
 * A request's message from what HTTP carries of it, as protobuf's bytes: path, query, body, `Idempotency-Key`.
 * ProtoJSON is read by protobuf's own library over the contracts, strictly; then the bytes go the way of any gRPC
 * request.
 */
import {
  fromJson,
  fromJsonString,
  mergeFromJson,
  ScalarType,
  toBinary,
  type DescField,
  type DescMessage,
  type FileRegistry,
  type JsonObject,
  type JsonValue,
  type Message,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { assert, invalidField, SigilFault } from "../../errors.ts";
import { fieldNamed, holdsLongs, refuseMember, requireExactLongs, requireJson } from "./json-fault.ts";
import type { Route } from "./routes.ts";
import { decodeCapture, decodePart, type Capture } from "./template.ts";

/** As it came, but for the transfer. */
export type Carried = {
  readonly route: Route;
  readonly captures: readonly Capture[];
  /** Without "?". */
  readonly query: string;
  /** Of a route with a body. */
  readonly body: string;
  /** Undefined when the header is absent, and on a GET, which ignores it. */
  readonly idempotencyKey: string | undefined;
  /** Where a stream goes on, of one that can; undefined from where its request says. */
  readonly lastEventId: string | undefined;
};

/** @throws the fault with its path; the library's own error when it has none. */
const readText = (type: DescMessage, text: string, registry: FileRegistry): Message => {
  try {
    const message = fromJsonString(type, text, { registry });
    if (holdsLongs(type)) requireExactLongs(type, JSON.parse(text) as JsonValue);
    return message;
  } catch (error) {
    if (error instanceof SigilFault) throw error;
    requireJson(text);
    refuseMember(type, JSON.parse(text) as JsonValue);
    throw error;
  }
};

/** Whether its JSON form is one value that text can be. */
const isText = ({ fieldKind, message }: DescField): boolean =>
  fieldKind === "scalar" || fieldKind === "enum" || message?.typeName === "google.protobuf.Timestamp";

/** Text of a URL as the JSON that means it. */
const jsonOf = (field: DescField, text: string): JsonValue => {
  const isBool = field.scalar === ScalarType.BOOL && (text === "true" || text === "false");
  if (isBool) return text === "true";
  return field.enum !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : text;
};

/** Puts a value where a dotted path of field names leads. @throws invalidField. */
const put = (type: DescMessage, into: JsonObject, name: string, text: string): void => {
  const [first = "", ...rest] = name.split(".");
  const field = fieldNamed(type, first);
  if (field === undefined) return invalidField(name, `is no field of ${type.typeName}`);
  const key = field.name;
  if (rest.length > 0) {
    const inner = field.fieldKind === "message" ? field.message : undefined;
    if (inner === undefined || isText(field)) return invalidField(name, "has no fields");
    const object = (into[key] ??= {}) as JsonObject;
    return put(inner, object, rest.join("."), text);
  }
  if (field.fieldKind === "list" && field.listKind !== "message") {
    const items = (into[key] ??= []) as JsonValue[];
    items.push(jsonOf(field, text));
  } else if (!isText(field)) invalidField(name, "cannot be given in a URL");
  else if (Object.hasOwn(into, key)) invalidField(name, "occurs twice");
  else into[key] = jsonOf(field, text);
};

/** Of `name=value&…`, as forms write it. @throws invalidField. */
const readQuery = (type: DescMessage, query: string, into: JsonObject): void => {
  for (const pair of query.split("&").filter((each) => each !== "")) {
    const at = pair.indexOf("=");
    const [name, value] = at < 0 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)];
    const decoded = decodePart("query", name.replaceAll("+", " "));
    put(type, into, decoded, decodePart(decoded, value.replaceAll("+", " ")));
  }
};

const readBody = ({ route, body }: Carried, registry: FileRegistry): Message => {
  const { input } = route.rpc;
  if (route.body === "") return fromJson(input, {});
  if (route.body === "*") return readText(input, body, registry);
  const field = fieldNamed(input, route.body);
  assert(field?.fieldKind === "message", `${route.template.text}: its body is no message`);
  const whole = reflect(input);
  whole.set(field, reflect(field.message, readText(field.message, body, registry)));
  return whole.message;
};

/** The text of a field of the body, undefined where it is not given. */
const textAt = (type: DescMessage, message: Message, name: string): string | undefined => {
  const [first = "", ...rest] = name.split(".");
  const field = fieldNamed(type, first);
  const whole = reflect(type, message);
  if (field === undefined || !whole.isSet(field)) return undefined;
  if (field.fieldKind === "message") return textAt(field.message, whole.get(field).message, rest.join("."));
  const value = whole.get(field);
  return typeof value === "object" ? undefined : String(value);
};

/** Of the path or a header, which the body may repeat. @throws invalidField when it says otherwise. */
const requireSame = (
  type: DescMessage,
  message: Message,
  name: string,
  text: string,
  where: string,
): void => {
  const inBody = textAt(type, message, name);
  if (inBody !== undefined && inBody !== text)
    invalidField(name, `must be what ${where} says, or be left out`);
};

const idempotencyField = "idempotency_key";
const resumeField = "from_position";

/** Whether the stream of an RPC says where to go on after each message. */
export const resumes = ({ rpc }: Route): boolean =>
  rpc.methodKind === "server_streaming" &&
  fieldNamed(rpc.input, resumeField) !== undefined &&
  fieldNamed(rpc.output, "next_position") !== undefined;

/** @throws invalidField. */
export const requestBytes = (carried: Carried, registry: FileRegistry): Uint8Array => {
  const { route, captures, query, idempotencyKey, lastEventId } = carried;
  const { input } = route.rpc;
  const message = readBody(carried, registry);
  const given: JsonObject = {};
  if (route.body === "") readQuery(input, query, given);
  else if (query !== "") invalidField("query", "must be empty: the body gives the fields");
  for (const capture of captures) {
    const text = decodeCapture(capture);
    requireSame(input, message, capture.field, text, "the path");
    put(input, given, capture.field, text);
  }
  if (idempotencyKey !== undefined) {
    if (fieldNamed(input, idempotencyField) === undefined)
      invalidField("Idempotency-Key", "this call takes none: leave the header out");
    requireSame(input, message, idempotencyField, idempotencyKey, "the header");
    given[idempotencyField] = idempotencyKey;
  }
  // An EventSource asks again as it asked first, and says how far it has come.
  if (lastEventId !== undefined && resumes(route)) given[resumeField] = lastEventId;
  if (Object.keys(given).length > 0) {
    try {
      mergeFromJson(input, message, given, { registry });
      requireExactLongs(input, given);
    } catch (error) {
      if (error instanceof SigilFault) throw error;
      refuseMember(input, given);
      throw error;
    }
  }
  return toBinary(input, message);
};
