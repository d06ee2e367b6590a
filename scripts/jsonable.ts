/**
 * Messages that `JSON.stringify` takes: as proto3 JSON writes them, 64-bit integers as text and bytes in base64. The
 * generated constructors of messages call `jsonable` (scripts/message-json.ts). The method is not enumerable: it is in
 * no copy, no comparison and no loop over fields.
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

type Messages<Message> = { readonly toJSON: (message: Message) => unknown };

/** One method and one descriptor for all messages of a type: a closure for each message would cost every call. */
const descriptors = new WeakMap<object, PropertyDescriptor>();

const describe = (toJSON: (this: never) => unknown): PropertyDescriptor => ({
  value: toJSON,
  configurable: true,
  writable: true,
});

const descriptorOf = <Message extends object>(type: Messages<Message>): PropertyDescriptor => {
  const known = descriptors.get(type);
  if (known !== undefined) return known;
  const made = describe(function toJSON(this: Message) {
    try {
      return type.toJSON(this);
    } catch {
      return plainFields(this);
    }
  });
  descriptors.set(type, made);
  return made;
};

/** @public Never throws in JSON.stringify: a message with a time outside a Date's range is written field by field. */
export const jsonable = <Message extends object>(type: Messages<Message>, message: Message): Message =>
  Object.defineProperty(message, "toJSON", descriptorOf(type));

const plain = describe(function toJSON(this: object) {
  return plainFields(this);
});

/** The same for what is no message. */
export const plainJsonable = <Value extends object>(value: Value): Value =>
  Object.defineProperty(value, "toJSON", plain);
