/**
 * CloudEvents in Kafka messages, binary mode: attributes are headers `ce_…`, the type of the data is `content-type`.
 * Pure. Source: the CloudEvents binding for Kafka 1.0.2 §3.2; docs/spec/event.md §2.
 */

const prefix = "ce_";
const dataTypeHeader = "content-type";
const dataTypeAttribute = "datacontenttype";
/** No attribute: position below which everything was acknowledged when the message was published. */
export const settledHeader = "sigil-settled";

export type Header = readonly [name: string, value: string];

/** Of an attribute. Values are UTF-8 as they are: this binding encodes nothing. */
export const kafkaHeaderName = (attribute: string): string =>
  attribute === dataTypeAttribute ? dataTypeHeader : prefix + attribute;

/** More than the headers and the body that a relay counts: key, lengths, and the header that is no attribute. */
export const messageBytesKept = 3 * 512 + 256;

export type ReadHeaders = {
  readonly attributes: Readonly<Record<string, string>>;
  /** Undefined if no relay wrote it. */
  readonly settled: bigint | undefined;
};

export const readKafkaHeaders = (headers: readonly Header[]): ReadHeaders => {
  const attributes: Record<string, string> = {};
  let settled: bigint | undefined;
  for (const [name, value] of headers) {
    if (name.startsWith(prefix)) attributes[name.slice(prefix.length)] = value;
    else if (name === dataTypeHeader) attributes[dataTypeAttribute] = value;
    else if (name === settledHeader && /^\d{1,20}$/.test(value)) settled = BigInt(value);
  }
  return { attributes, settled };
};
