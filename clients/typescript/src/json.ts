/**
 * Messages that `JSON.stringify` takes: as proto3 JSON writes them, 64-bit integers as text and bytes in base64. The generated
 * constructors of messages call `jsonable` (scripts/client-json.ts). The method is not enumerable: it is in no copy, no
 * comparison and no loop over fields. Pure.
 */

const base64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");

const hasOwnJson = (value: object): boolean => "toJSON" in value && typeof value.toJSON === "function";

/** What a value is in JSON where nobody knows its type. A time that is none is null, as a number that is none. */
const plainJson = (value: unknown): unknown => {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null || hasOwnJson(value)) return value;
  if (value instanceof Uint8Array) return base64(value);
  if (Array.isArray(value)) return value.map(plainJson);
  return plainFields(value);
};

const plainFields = (value: object): object =>
  Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plainJson(field)]));

const withJson = <Message extends object>(message: Message, toJSON: () => unknown): Message =>
  Object.defineProperty(message, "toJSON", { value: toJSON, configurable: true, writable: true });

/** @public Never throws in JSON.stringify: a message with a time outside a Date's range is written field by field. */
export const jsonable = <Message extends object>(
  type: { readonly toJSON: (message: Message) => unknown },
  message: Message,
): Message =>
  withJson(message, function toJSON(this: Message) {
    try {
      return type.toJSON(this);
    } catch {
      return plainFields(this);
    }
  });

/** The same for what is no message. */
export const plainJsonable = <Value extends object>(value: Value): Value =>
  withJson(value, function toJSON(this: Value) {
    return plainFields(this);
  });
