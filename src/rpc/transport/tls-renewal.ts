/**
 * Hot reload of certificates and client CAs: reread when the files change or on request, checked as one set, and
 * applied atomically. Only connections of a removed CA are closed.
 */
import type { Server as NetServer } from "node:net";
import type { Server as TlsServer, TlsOptions } from "node:tls";
import { describeError, SigilFault } from "../../errors.ts";
import type { Log } from "../call/environment.ts";
import { watchFiles } from "./file-watch.ts";
import { AdmittedConnections } from "./tls-admitted.ts";
import { expiryMs, isSameSet, readTls, untimely, type TlsPaths, type TlsSet } from "./tls-files.ts";
import { contextOf, serverOptionsOf, TlsCredentials } from "./tls.ts";

export type TlsResult = "renewed" | "unchanged" | "refused";

/** For metrics; times in Unix milliseconds. */
export type TlsFacts = {
  readonly certificateExpiryMs: number | null;
  readonly clientCaExpiryMs: number | null;
  /** Whether the files on disk are the ones in use. */
  readonly isCurrent: boolean;
  readonly results: Readonly<Record<"renewed" | "refused", number>>;
};

export type TlsRenewalOptions = {
  readonly paths: TlsPaths;
  readonly set: TlsSet;
  readonly log: Log;
  readonly nowMs: () => number;
  readonly monotonicMs: () => number;
  readonly lookMs?: number;
};

const describeSet = ({ chain, authorities }: TlsSet): object => ({
  subject: chain[0]?.subject.replaceAll("\n", ", "),
  serial: chain[0]?.serialNumber,
  until: chain[0]?.validToDate.toISOString(),
  authorities: authorities.length,
});

export class TlsRenewal implements AsyncDisposable {
  readonly credentials: TlsCredentials;
  readonly #options: TlsRenewalOptions;
  readonly #admitted: AdmittedConnections;
  readonly #watching: Disposable;
  readonly #results = { renewed: 0, refused: 0 };
  readonly #servers = new Set<TlsServer>();
  #set: TlsSet;
  /** The last logged refusal, to log it only once. */
  #refusal = "";
  #turn: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(options: TlsRenewalOptions) {
    const { set, paths, log, lookMs, monotonicMs } = options;
    this.#options = options;
    this.#set = set;
    this.credentials = new TlsCredentials(set.tls);
    this.#admitted = new AdmittedConnections(set.authorities, monotonicMs);
    this.#warn(set);
    this.#watching = watchFiles({
      paths: [paths.cert, paths.key, paths.clientCa].filter((path) => path !== ""),
      onChange: () => void this.renew("changed"),
      onFault: (cause) =>
        log.warn({ err: cause }, "certificates are looked at once a minute: no notice of changes"),
      ...(lookMs === undefined ? {} : { lookMs }),
    });
  }

  get facts(): TlsFacts {
    const { chain, authorities } = this.#set;
    return {
      certificateExpiryMs: expiryMs(chain),
      clientCaExpiryMs: expiryMs(authorities),
      isCurrent: this.#refusal === "",
      results: this.#results,
    };
  }

  /** A listener of the gRPC server. */
  watch(listener: NetServer): void {
    this.#admitted.watch(listener);
  }

  /** Current options for a Node TLS server. */
  get serverOptions(): TlsOptions {
    return serverOptionsOf(this.#set.tls);
  }

  /** Registers such a server for later updates. */
  serve(server: TlsServer): void {
    this.watch(server);
    this.#servers.add(server);
    server.once("close", () => this.#servers.delete(server));
  }

  /** Rereads the files, one read at a time. Never throws. With `asked` the outcome is always logged. */
  renew(why: "asked" | "changed"): Promise<TlsResult> {
    const result = this.#turn.then(() => this.#renew(why));
    this.#turn = result;
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#watching[Symbol.dispose]();
    await this.#turn;
  }

  async #renew(why: "asked" | "changed"): Promise<TlsResult> {
    const { paths, log } = this.#options;
    if (this.#isClosed) return "unchanged";
    try {
      const set = await readTls(paths);
      if (set === null || isSameSet(set.tls, this.#set.tls)) {
        if (this.#refusal !== "" || why === "asked") log.info({}, "certificates are unchanged");
        this.#refusal = "";
        return "unchanged";
      }
      this.#put(set);
      return "renewed";
    } catch (cause) {
      this.#refuse(cause, why);
      return "refused";
    }
  }

  #put(set: TlsSet): void {
    // Apply the new set before closing connections of removed CAs, so that they cannot reconnect.
    this.credentials.renew(set.tls);
    for (const server of this.#servers) server.setSecureContext(contextOf(set.tls));
    this.#set = set;
    this.#refusal = "";
    this.#results.renewed += 1;
    const ended = this.#admitted.replace(set.authorities);
    this.#options.log.info({ ...describeSet(set), ended }, "certificates renewed");
    this.#warn(set);
  }

  #refuse(cause: unknown, why: "asked" | "changed"): void {
    const rule = cause instanceof SigilFault ? describeError(cause.error) : String(cause);
    if (why === "changed" && rule === this.#refusal) return;
    this.#refusal = rule;
    this.#results.refused += 1;
    this.#options.log.error(
      { rule, ...describeSet(this.#set) },
      "new certificates refused; the old ones serve on",
    );
  }

  #warn(set: TlsSet): void {
    for (const rule of untimely(set, this.#options.nowMs())) {
      this.#options.log.warn({ rule }, "a certificate is not valid now");
    }
  }
}
