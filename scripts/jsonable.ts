/**
 * Adds toJSON to messages for `JSON.stringify`, in proto3 JSON: 64-bit integers as text and bytes in base64. The
 * generated constructors of messages call `jsonable` (scripts/message-json.ts). The method is not enumerable, so
 * copies, comparisons and loops over fields ignore it.
 */

const base64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");

const hasOwnJson = (value: object): boolean => "toJSON" in value && typeof value.toJSON === "function";

/** JSON of a value of unknown type. An invalid Date becomes null, like NaN. */
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

/** One shared property descriptor per message type, since a closure per message would slow every call. */
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

/** @public JSON.stringify never throws: a message with a time outside Date's range is written field by field. */
export const jsonable = <Message extends object>(type: Messages<Message>, message: Message): Message =>
  Object.defineProperty(message, "toJSON", descriptorOf(type));

const plain = describe(function toJSON(this: object) {
  return plainFields(this);
});

/** As `jsonable`, for values that are not messages. */
export const plainJsonable = <Value extends object>(value: Value): Value =>
  Object.defineProperty(value, "toJSON", plain);
