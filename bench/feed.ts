/**
 * `npm run bench -- --feed`: the relay and the projection beside what bounds them, in rounds that take turns, and what
 * a destination that is down costs those who ask. Ratios are within a round. NATS, Kafka, ElasticMQ for SQS,
 * PostgreSQL, FerretDB and Moto are started for it, NATS and PostgreSQL with their syncs on; without them it says what
 * it leaves out.
 */
import { dynamoMissing } from "../test/contract/dynamo-server.ts";
import { kafkaMissing } from "../test/contract/kafka-server.ts";
import { mongoMissing } from "../test/contract/mongo-server.ts";
import { natsMissing } from "../test/contract/nats-server.ts";
import { postgresMissing } from "../test/contract/postgres.ts";
import { sqsMissing } from "../test/contract/sqs-server.ts";
import { measureOutage } from "./feed-checks.ts";
import { measureLag } from "./feed-lag.ts";
import { measurePublishing } from "./feed-publish.ts";
import { measureKafka } from "./feed-publish-kafka.ts";
import { measureSqs } from "./feed-publish-sqs.ts";
import { measureDynamoRebuild, measureMongoRebuild, measureRebuild } from "./feed-rebuild.ts";
import type { FeedScale } from "./feed-scale.ts";

export const feedParts = ["nats", "kafka", "sqs", "rebuild", "mongo", "dynamo", "lag", "outage"] as const;
export type FeedPart = (typeof feedParts)[number];

type Part = {
  readonly title: string;
  /** Why it cannot be measured here. */
  readonly missing: string | undefined;
  readonly measure: (scale: FeedScale) => Promise<readonly string[]>;
};

const parts: Readonly<Record<FeedPart, Part>> = {
  nats: { title: "publishing to NATS", missing: natsMissing, measure: measurePublishing },
  kafka: { title: "publishing to Kafka", missing: kafkaMissing, measure: measureKafka },
  sqs: { title: "publishing to SQS", missing: sqsMissing, measure: measureSqs },
  rebuild: { title: "filling PostgreSQL", missing: postgresMissing, measure: measureRebuild },
  mongo: { title: "filling FerretDB, for MongoDB", missing: mongoMissing, measure: measureMongoRebuild },
  dynamo: { title: "filling Moto, for DynamoDB", missing: dynamoMissing, measure: measureDynamoRebuild },
  lag: { title: "lag from check to row", missing: natsMissing ?? postgresMissing, measure: measureLag },
  outage: { title: "checks while the destination is down", missing: undefined, measure: measureOutage },
};

const full = { rounds: 5, records: 5000, runMs: 3000 } as const;
const quick = { rounds: 1, records: 500, runMs: 500 } as const;

/** Shows each part as it is done. */
export const measureFeed = async (
  chosen: readonly FeedPart[],
  { isQuick, directory }: { readonly isQuick: boolean; readonly directory: string },
): Promise<void> => {
  const scale = { ...(isQuick ? quick : full), directory };
  for (const name of chosen) {
    const { title, missing, measure } = parts[name];
    console.error(title);
    const lines = missing === undefined ? await measure(scale) : [missing];
    console.log(`${title}\n${lines.map((line) => `  ${line}`).join("\n")}`);
  }
};
