/**
 * Maps client certificates to principal ids. Pure. TLS has already verified chain, dates and possession. A SPIFFE id
 * `spiffe://<origin>/<principal id>` takes precedence; without one each DNS name `N` maps to `dns:N`. Source:
 * docs/spec/tokens.md §4; SPIFFE-ID §2, X509-SVID §2. At most `certificateNamesMax` DNS names.
 */
import { certificateNamesMax } from "../limits.ts";
import { canonicalSubject } from "@sigil/core/record";
import { refuse } from "./claims.ts";

/** The parts of `tls.PeerCertificate` that name the holder. */
export type PeerNames = {
  /** As Node prints it: `DNS:a.example, URI:spiffe://…`; a name with unusual characters is quoted. */
  readonly subjectaltname?: string | undefined;
  /** The certificate itself, DER. */
  readonly raw?: Uint8Array | undefined;
};

const spiffeScheme = "spiffe://";
const dnsName = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

const unmapped = (rule: string): never => refuse("CERTIFICATE_UNMAPPED", rule);

type AltName = { readonly type: string; readonly value: string };

/** Refuses a list with a quoted name: it has characters not allowed here and could be made to look like two names. */
const parseAltNames = (text: string): readonly AltName[] => {
  if (text.includes('"')) return unmapped("the certificate's alternative names hold unusual characters");
  return text.split(", ").map((entry) => {
    const colon = entry.indexOf(":");
    return { type: entry.slice(0, colon), value: entry.slice(colon + 1) };
  });
};

/** A SPIFFE id of this deployment's trust domain is another spelling of its path. */
const principalOfSpiffe = (uri: string, origin: string): string => {
  const spelling = canonicalSubject(uri, origin);
  if (spelling.kind === "refused") return unmapped(`the certificate's SPIFFE id ${spelling.rule}`);
  return spelling.text.startsWith("spiffe:/")
    ? unmapped(`the certificate's trust domain must be "${origin}"`)
    : spelling.text;
};

/** The principal id for a host name; undefined if it is no host name. */
export const principalOfHost = (name: string): string | undefined => {
  const host = name.toLowerCase();
  return dnsName.test(host) ? `dns:${host}` : undefined;
};

/**
 * Candidate principal ids of the certificate; exactly one of them must be enrolled.
 * @throws unauthenticated CERTIFICATE_UNMAPPED if there is none.
 */
export const principalsOfCertificate = (certificate: PeerNames, origin: string): readonly string[] => {
  const names = parseAltNames(certificate.subjectaltname ?? "");
  const uris = names.filter(({ type }) => type === "URI");
  const [spiffe] = uris.filter(({ value }) => value.startsWith(spiffeScheme));
  if (spiffe !== undefined) {
    if (uris.length > 1) unmapped("a certificate with a SPIFFE id must have no other URI");
    return [principalOfSpiffe(spiffe.value, origin)];
  }
  const hosts = names
    .filter(({ type }) => type === "DNS")
    .flatMap(({ value }) => principalOfHost(value) ?? []);
  const ids = [...new Set(hosts)];
  if (ids.length === 0) unmapped("the certificate has neither a SPIFFE id nor a DNS name");
  if (ids.length > certificateNamesMax)
    unmapped(`the certificate has more than ${certificateNamesMax} DNS names`);
  return ids;
};
