/** What one caller, one tenant and all together may take of the server: made from the configuration, counted in the metrics. */
import { randomUUID } from "node:crypto";
import type { Config } from "./config.ts";
import type { Metrics } from "./gateway/metrics.ts";
import {
  streamsForRoot,
  uploadsForRoot,
  uploadsMax,
  uploadsPerCallerMax,
  uploadsPerTenantMax,
} from "./record/limits.ts";
import { Intake } from "./rpc/intake.ts";
import { Places } from "./rpc/places.ts";
import { Replies } from "./rpc/replies.ts";

export type Bounds = {
  readonly intake: Intake;
  readonly replies: Replies;
  readonly streams: Places;
  readonly uploads: Places;
};

export const createBounds = (config: Config, metrics: Pick<Metrics, "onRefused" | "watchBounds">): Bounds => {
  const intake = new Intake({
    messageBytesMax: config.message_bytes_max,
    bytesMax: config.intake_bytes_max,
    bytesPerConnectionMax: config.intake_bytes_per_connection_max,
    newId: randomUUID,
    onRefused: metrics.onRefused,
  });
  const replies = new Replies(
    {
      messageBytesMax: config.message_bytes_max,
      bytesMax: config.reply_bytes_max,
      bytesPerCallerMax: config.reply_bytes_per_caller_max,
    },
    () => performance.now(),
  );
  const streams = new Places({
    what: "streams",
    perCallerMax: config.streams_per_caller_max,
    perTenantMax: config.streams_per_tenant_max,
    max: config.streams_max,
    forRoot: Math.min(streamsForRoot, config.streams_max - 1),
    reasons: { caller: "STREAMS_PER_CALLER", tenant: "STREAMS_PER_TENANT", all: "STREAMS" },
  });
  const uploads = new Places({
    what: "uploads",
    perCallerMax: uploadsPerCallerMax,
    perTenantMax: uploadsPerTenantMax,
    max: uploadsMax,
    forRoot: uploadsForRoot,
    reasons: { caller: "UPLOADS_PER_CALLER", tenant: "UPLOADS_PER_TENANT", all: "UPLOADS" },
  });
  metrics.watchBounds({
    sigil_intake_bytes: () => intake.budget.bytesUsed,
    sigil_intake_waiting: () => intake.budget.waiting,
    sigil_reply_bytes: () => replies.budget.bytesUsed,
    sigil_reply_waiting: () => replies.budget.waiting,
    sigil_streams: () => streams.taken,
  });
  return { intake, replies, streams, uploads };
};
