/**
 * Where Envoy's check request names the subject: `source.principal`, the client certificate that Envoy verified, or
 * `metadata:FILTER/KEY/…`, metadata of a verifying filter. Never a header, which the client controls.
 */
export type SubjectSource =
  | { readonly kind: "principal" }
  /** `keys` is the path in the filter's namespace; at least one. */
  | { readonly kind: "metadata"; readonly filter: string; readonly keys: readonly string[] };

const certificate = "source.principal";
const metadata = /^metadata:([^/]+)\/([^/]+(?:\/[^/]+)*)$/;

/** @returns undefined if it is neither. */
export const parseSubjectSource = (text: string): SubjectSource | undefined => {
  if (text === certificate) return { kind: "principal" };
  const [, filter, keys] = metadata.exec(text) ?? [];
  if (filter === undefined || keys === undefined) return undefined;
  return { kind: "metadata", filter, keys: keys.split("/") };
};

export const formatSubjectSource = (source: SubjectSource): string =>
  source.kind === "principal" ? certificate : `metadata:${[source.filter, ...source.keys].join("/")}`;
