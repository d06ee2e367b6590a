/**
 * Where a question of Envoy names whom it is about: `source.principal`, the client certificate that Envoy verified, or
 * `metadata:FILTER/KEY/…`, what a filter that verifies wrote of the request. Never a header: whoever sends the request
 * writes it.
 */
export type SubjectSource =
  | { readonly kind: "principal" }
  /** `keys` lead down from the filter's namespace; one at least. */
  | { readonly kind: "metadata"; readonly filter: string; readonly keys: readonly string[] };

const certificate = "source.principal";
const metadata = /^metadata:([^/]+)\/([^/]+(?:\/[^/]+)*)$/;

/** @returns undefined for what is neither. */
export const parseSubjectSource = (text: string): SubjectSource | undefined => {
  if (text === certificate) return { kind: "principal" };
  const [, filter, keys] = metadata.exec(text) ?? [];
  if (filter === undefined || keys === undefined) return undefined;
  return { kind: "metadata", filter, keys: keys.split("/") };
};

export const formatSubjectSource = (source: SubjectSource): string =>
  source.kind === "principal" ? certificate : `metadata:${[source.filter, ...source.keys].join("/")}`;
