/** Connects the ledger's events to health, log and metrics; and live inspections. Called only by server.ts. */
import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import type { Metrics } from "../gateway/metrics.ts";
import { inspectionOf } from "../deployment/inspection.ts";
import type { Ledger, LedgerObserver, LedgerStatus } from "../ledger/ledger.ts";
import { createInspectionService, type InspectionService } from "../deployment/backup/inspection.ts";
import { describeError } from "../errors.ts";
import type { Log } from "../rpc/call/environment.ts";
import type { Health } from "../rpc/transport/health.ts";
import type { Stopping } from "./stopping.ts";

type Watched = {
  readonly log: Logger;
  readonly limited: Log;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly stopping: Stopping;
};

export const observeLedger = ({ log, limited, metrics, health, stopping }: Watched): LedgerObserver => {
  const onStatus = (status: LedgerStatus): void => {
    health.set(status.kind === "serving" && !stopping.isAnnounced ? "serving" : "notServing");
    if (status.kind === "refused")
      log.fatal({ rule: describeError(status.error) }, "the ledger will not serve");
    else if (status.kind === "recovering") log.error({ rule: status.rule }, "the ledger checks itself");
    else log.info({ status: status.kind }, "ledger");
  };
  return {
    onStatus,
    onGroup: metrics.onGroup,
    onErased: (tenant, records) => log.warn({ tenant, records: String(records) }, "tenant erased"),
    onFault: (cause) => limited.error({ err: cause }, "a fault inside the ledger"),
    onVerifyFailure: (error) => {
      metrics.onVerifyFailure(error.kind === "recordCorrupt" ? error.step : error.kind);
      limited.error({ rule: describeError(error) }, "a stored record fails its proof");
    },
  };
};

/** Must be disposed of before the ledger: a failing read would stop it. */
export const wireInspections = (ledger: Ledger, directory: string, log: Logger): InspectionService =>
  createInspectionService({
    ledger,
    rules: () => inspectionOf(ledger.reader.origin, directory),
    newId: randomUUID,
    monotonicMs: () => performance.now(),
    onEnd: ({ size }, { total, first }) => {
      const fields = { size: String(size), found: total, position: String(first?.position ?? "") };
      if (total === 0) log.info(fields, "inspected: everything holds");
      else log.error({ ...fields, rule: first?.rule }, "inspected: damage was found");
    },
  });
