/**
 * Connections by the client CA that verified them, so that they are closed when the CA is removed. A CA is identified
 * by name and key: renewing its certificate keeps connections. Source: docs/operating/tls.md.
 */
import { createHash, X509Certificate } from "node:crypto";
import type { Server as NetServer } from "node:net";
import { TLSSocket, type DetailedPeerCertificate } from "node:tls";

/** A handshake that began under the previous CAs ends within two minutes. */
const removedKeptMs = 10 * 60_000;
/** OpenSSL's limit on chain length. */
const chainCertificatesMax = 100;

type AuthorityId = string;

const idOf = ({ subject, publicKey }: X509Certificate): AuthorityId =>
  createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .update(subject)
    .digest("hex");

/** The known chain from the peer's certificate to its verified root. */
const chainOf = (socket: TLSSocket): ReadonlySet<AuthorityId> => {
  const ids = new Set<AuthorityId>();
  let at: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  for (let count = 0; at?.raw !== undefined && count < chainCertificatesMax; count += 1) {
    ids.add(idOf(new X509Certificate(at.raw)));
    // A root is its own issuer, which ends the chain.
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
      // Connections without a valid certificate depend on no CA.
      if (!(socket instanceof TLSSocket) || !socket.authorized) return;
      if (this.#removed.size > 0 && !this.#isAdmitted(socket)) {
        socket.destroy();
        return;
      }
      this.#open.add(socket);
      socket.once("close", () => this.#open.delete(socket));
    });
  }

  /** Closes the connections of removed CAs immediately, including their calls. @returns how many. */
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
