/**
 * What certificates and client authorities say to the operator: when they end, and whether what is on disk is served.
 */
import { Counter, Gauge, type Registry } from "prom-client";
import type { TlsFacts } from "../rpc/transport/tls-renewal.ts";

export const watchTls = (facts: () => TlsFacts, registers: Registry[]): void => {
  new Gauge({
    name: "sigil_tls_expiry_timestamp_seconds",
    help: "When the first certificate of tls.cert, or of tls.client_ca, ends: seconds since 1970.",
    labelNames: ["file"],
    registers,
    collect() {
      const { certificateExpiryMs, clientCaExpiryMs } = facts();
      if (certificateExpiryMs !== null) this.set({ file: "cert" }, certificateExpiryMs / 1000);
      if (clientCaExpiryMs !== null) this.set({ file: "client_ca" }, clientCaExpiryMs / 1000);
    },
  });
  new Gauge({
    name: "sigil_tls_current",
    help: "1 while what is served is what the files held when they were read last, 0 after a refusal.",
    registers,
    collect() {
      this.set(facts().isCurrent ? 1 : 0);
    },
  });
  new Counter({
    name: "sigil_tls_reloads_total",
    help: "Changed certificates, by what became of them.",
    labelNames: ["result"],
    registers,
    collect() {
      this.reset();
      const { renewed, refused } = facts().results;
      this.inc({ result: "renewed" }, renewed);
      this.inc({ result: "refused" }, refused);
    },
  });
};
