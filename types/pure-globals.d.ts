/**
 * The few globals of every JavaScript host that the pure files may use, declared here because the language library
 * does not hold them and Node's own types must not come in with them. Read by tsconfig.pure.json alone.
 */
interface TextEncoder {
  readonly encoding: "utf-8";
  encode(text?: string): Uint8Array<ArrayBuffer>;
}
declare const TextEncoder: { new (): TextEncoder };

interface TextDecoder {
  readonly encoding: string;
  decode(bytes?: Uint8Array): string;
}
declare const TextDecoder: {
  new (label?: "utf-8", options?: { readonly fatal?: boolean; readonly ignoreBOM?: boolean }): TextDecoder;
};

declare function structuredClone<Value>(value: Value): Value;

/** Cancellation as a question: the pure files pass it on and may ask, they start nothing that it could stop. */
interface AbortSignal {
  readonly aborted: boolean;
}
