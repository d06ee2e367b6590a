/**
 * Connections that a client authority admitted, so that they end when it is removed. An authority is its name and its
 * key: one whose certificate is renewed stays. Source: docs/operating/tls.md.
 */
import { createHash, X509Certificate } from "node:crypto";
import type { Server as NetServer } from "node:net";
import { TLSSocket, type DetailedPeerCertificate } from "node:tls";

/** A handshake that began under the authorities before ends within two minutes. */
const removedKeptMs = 10 * 60_000;
/** OpenSSL refuses longer chains. */
const chainCertificatesMax = 100;

type AuthorityId = string;

const idOf = ({ subject, publicKey }: X509Certificate): AuthorityId =>
  createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .update(subject)
    .digest("hex");

/** From the peer's own certificate to the root that it was verified by, as far as it is known. */
const chainOf = (socket: TLSSocket): ReadonlySet<AuthorityId> => {
  const ids = new Set<AuthorityId>();
  let at: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  for (let count = 0; at?.raw !== undefined && count < chainCertificatesMax; count += 1) {
    ids.add(idOf(new X509Certificate(at.raw)));
    // A root is its own issuer.
    at = at.issuerCertificate === at ? undefined : at.issuerCertificate;
  }
  return ids;
};

export class AdmittedConnections {
  readonly #open = new Set<TLSSocket>();
  readonly #removed = new Map<AuthorityId, number>();
  readonly #nowMs: () => number;
  #current: ReadonlySet<AuthorityId>;

  /** `nowMs` is monotonic. */
  constructor(authorities: readonly X509Certificate[], nowMs: () => number) {
    this.#current = new Set(authorities.map(idOf));
    this.#nowMs = nowMs;
  }

  watch(listener: NetServer): void {
    listener.on("secureConnection", (socket: unknown) => {
      // Without a certificate that holds nobody was admitted by anybody.
      if (!(socket instanceof TLSSocket) || !socket.authorized) return;
      if (this.#removed.size > 0 && !this.#isAdmitted(socket)) {
        socket.destroy();
        return;
      }
      this.#open.add(socket);
      socket.once("close", () => this.#open.delete(socket));
    });
  }

  /** @returns how many connections ended, at once and with their calls: nobody may ask anything in a removed name. */
  replace(authorities: readonly X509Certificate[]): number {
    const next = new Set(authorities.map(idOf));
    const nowMs = this.#nowMs();
    for (const [id, atMs] of this.#removed) {
      if (next.has(id) || nowMs - atMs > removedKeptMs) this.#removed.delete(id);
    }
    const removed = [...this.#current].filter((id) => !next.has(id));
    for (const id of removed) this.#removed.set(id, nowMs);
    this.#current = next;
    if (removed.length === 0) return 0;
    const ended = [...this.#open].filter((socket) => !this.#isAdmitted(socket));
    for (const socket of ended) socket.destroy();
    return ended.length;
  }

  #isAdmitted(socket: TLSSocket): boolean {
    const chain = [...chainOf(socket)];
    return chain.some((id) => this.#current.has(id)) && !chain.some((id) => this.#removed.has(id));
  }
}
